"""`streamtag api` as a process, beside a tagger: what it changes is live there; what it is told stays private."""

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from pipeline import Ledger, events, wait_covered
from services import wait_until
from workers import Fleet

from streamtag.control.breakers import BreakerLog
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.control.tokens import Role, TokenStore

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

SECRET = "words that nobody else shall see"


@pytest.fixture
def tokens(fleet_store: ControlStore) -> TokenStore:
    return TokenStore(fleet_store)


def latency(client: httpx.Client) -> bool:
    """Whether the only worker has committed events lately, and says how long they took."""
    [worker] = client.get("/v1/fleet").json()["workers"]
    return worker["latency_p99_ms"] is not None and worker["latency_p50_ms"] <= worker["latency_p99_ms"]


def test_a_change_over_http_is_live_in_the_tagger_and_told_to_whoever_listens(
    fleet: Fleet, ledger: Ledger, tokens: TokenStore
) -> None:
    ledger.write(list(events(200, seed=3)))
    fleet.start().wait_ready()
    api, url = fleet.start_api()
    secret = tokens.create("console", Role.OPERATOR, by="anna")
    told: list[dict[str, str]] = []
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}, timeout=20) as client:
        listening = threading.Event()

        def listen() -> None:
            with client.stream("GET", "/v1/changes") as stream:
                for line in stream.iter_lines():
                    listening.set()
                    if line.startswith("data: "):
                        told.append(json.loads(line[6:]))
                        return

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        assert listening.wait(30)
        current = client.get("/v1/thresholds")
        body = {"labels": {"spam": 0.6}, "reason": "incident 4711"}
        changed = client.patch("/v1/thresholds", json=body, headers={"If-Match": current.headers["etag"]})
        assert changed.json()["committed"] is True
        wait_until(lambda: client.get("/v1/releases/current").json()["live"] == "yes", 10, "live everywhere")
        [worker] = client.get("/v1/fleet").json()["workers"]
        assert worker["release"] == changed.json()["release"] == 2
        ledger.write(list(events(50, seed=4)))
        wait_until(lambda: latency(client), 10, "the worker says how long events take")
        thread.join(30)
        assert told[0]["author"] == "console"
        # The API itself decides by it, too.
        score = {"events": [{"id": "1", "text": "a green window"}]}
        wait_until(lambda: client.post("/v1/score", json=score).json()["release"]["number"] == 2, 10, "the API follows")
        wait_covered(ledger, 30)
        found = client.get("/v1/ledger").json()
        assert found["ok"]
        assert sum(row["in"] for row in found["partitions"]) == 250
    assert api.stop() == 0


def test_what_the_api_scores_asks_for_review_while_a_breaker_is_open(
    fleet: Fleet, fleet_store: ControlStore, tokens: TokenStore
) -> None:
    api, url = fleet.start_api()
    secret = tokens.create("console", Role.OPERATOR, by="anna")
    breakers = BreakerLog(fleet_store)
    headers = {"Authorization": f"Bearer {secret}"}
    with (
        httpx.Client(base_url=url, headers=headers, timeout=20) as client,
        openai.OpenAI(api_key=secret, base_url=f"{url}/v1", max_retries=0) as openais,
    ):
        [label, *_] = [one["id"] for one in client.get("/v1/labels").json()["items"]]
        everything = {"labels": {label: 0.0}, "reason": "a test", "force": True}
        assert client.patch("/v1/thresholds", json=everything).status_code == 200

        def asked() -> tuple[str | None, str | None, int | None]:
            """What a tag of the label asks for, by both ways to score, and the number of the breakers."""
            found = client.post("/v1/score", json={"events": [{"text": "a green window"}]}).json()
            [one] = found["results"]
            [moderated] = openais.moderations.create(input="a green window").results
            actions: Any = moderated.to_dict()["category_actions"]
            tags = {tag["label"]: tag["action"] for tag in one["tags"]}
            return tags.get(label), actions.get(label), found["breakers"]

        wait_until(lambda: asked() == ("tag", "tag", None), 10, "the API follows the cut-off")
        breakers.open(label, Who("streamtag (breaker)", "a test"), events=1, alerts=1)
        wait_until(lambda: asked() == ("review", "review", 1), 10, "the API follows the breaker")
        assert client.post(f"/v1/breakers/{label}/close", json={"reason": "a test"}).json()["closed"]
        wait_until(lambda: asked() == ("tag", "tag", None), 10, "the API follows its end")
    assert api.stop() == 0


def test_openais_client_scores_and_nothing_of_it_is_logged_or_measured(fleet: Fleet, tokens: TokenStore) -> None:
    api, url = fleet.start_api()
    secret = tokens.create("ci", Role.VIEWER, by="anna")
    with openai.OpenAI(api_key=secret, base_url=f"{url}/v1", max_retries=0) as client:
        found = client.moderations.create(input=[SECRET, "a green window"])
        assert found.model == "tiny@1"
        assert len(found.results) == 2
        with pytest.raises(openai.UnprocessableEntityError):
            client.moderations.create(input=SECRET * 3_000)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(api_key="st_wrong", base_url=f"{url}/v1", max_retries=0).moderations.create(input=SECRET)
    metrics = httpx.get(f"http://127.0.0.1:{api.port}/metrics").text
    assert re.search(r'streamtag_api_duration_seconds_count\{.*route="/v1/moderations",status="200".*\} 1.0', metrics)
    assert api.stop() == 0
    said = api.log.read_text() + metrics
    assert SECRET not in said
    assert secret not in said


def test_more_than_it_can_score_is_turned_away_and_the_rest_is_answered_in_time(
    fleet: Fleet, tokens: TokenStore
) -> None:
    fleet.overrides |= {"api.max_events": "50", "api.max_waiting": "100"}
    api, url = fleet.start_api()
    headers = {"Authorization": f"Bearer {tokens.create('ci', Role.VIEWER, by='anna')}"}
    body = {"events": [{"text": f"a green window and number {i} " * 60} for i in range(50)]}
    statuses: list[int] = []

    def ask(_: int) -> None:
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            for _ in range(20):
                answer = client.post("/v1/score", json=body)
                statuses.append(answer.status_code)
                if answer.status_code == 429:
                    assert answer.headers["retry-after"] == "1"

    def crowd() -> bool:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask, range(8)))
        return {200, 429} <= set(statuses)

    wait_until(crowd, 60, "some are answered, and some are turned away")
    assert set(statuses) == {200, 429}
    assert api.stop() == 0
