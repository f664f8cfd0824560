"""Scoring over HTTP: the answers are the stream's, and too much at once is turned away in time."""

import json
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from api_rig import LABELS, Api, running
from openai.types import ModerationTextInputParam

from streamtag.api.scoring import OverloadedError, Scored, Scoring
from streamtag.control.breakers import BreakerLog
from streamtag.control.proposal import Who
from streamtag.control.tokens import Role
from streamtag.domain.scores import from_micro
from streamtag.errors import UnavailableError
from streamtag.events.content import ContentEvent
from streamtag.tagger.infer import infer

pytest_plugins = ("api_fixture",)

TEXTS = ["a green window", "good morning to all", "win a prize now", "", "ünïcode ☂"]


def expected(api: Api) -> list[dict[str, float]]:
    micro, refused = infer([ContentEvent(id="x", text=text) for text in TEXTS], api.scorer)
    assert not refused
    return [dict(zip(LABELS, row, strict=True)) for row in from_micro(micro).tolist()]


def test_the_unchanged_client_of_openai_reads_the_answer(api: Api) -> None:
    secret = api.tokens.create("ci", Role.VIEWER, by="anna")
    client = openai.OpenAI(api_key=secret, base_url="http://testserver/v1", http_client=api.anonymous, max_retries=0)
    answer = client.moderations.create(input=TEXTS)
    assert answer.model == "tiny@1"
    found: Any = answer.to_dict()["results"]
    assert [one["category_scores"] for one in found] == expected(api)
    for one in found:
        flags, scores = one["categories"], one["category_scores"]
        assert flags == {label: score >= 0.5 for label, score in scores.items()}
        assert one["flagged"] == any(flags.values())
    [single] = client.moderations.create(input=TEXTS[0]).results
    assert single.to_dict()["category_scores"] == expected(api)[0]
    part: ModerationTextInputParam = {"type": "text", "text": TEXTS[1]}
    [parts] = client.moderations.create(input=[part]).results
    assert parts.to_dict()["category_scores"] == expected(api)[1]


def test_score_answers_as_a_tag_event_would(api: Api) -> None:
    client = api.as_(Role.VIEWER)
    found = client.post("/v1/score", json={"events": [{"id": "7", "text": t, "lang": "en"} for t in TEXTS]}).json()
    assert found["release"]["bundle"]["name"] == "tiny"
    assert found["release"]["number"] == 1
    assert [one["scores"] for one in found["results"]] == expected(api)
    for one in found["results"]:
        assert one["id"] == "7"
        assert one["tags"] == [
            {"label": label, "score": score, "threshold": 0.5, "action": "tag"}
            for label, score in one["scores"].items()
            if score >= 0.5
        ]
        assert one["thresholds"] == dict.fromkeys(LABELS, 0.5)


def test_each_event_is_answered_with_the_cut_offs_that_held_for_it(api: Api) -> None:
    move = {"labels": {"spam": 0.9}, "when": {"lang": "de"}, "reason": "x", "force": True}
    assert api.as_(Role.OPERATOR).patch("/v1/thresholds", json=move).status_code == 200
    asked = {"events": [{"text": TEXTS[0], "lang": lang} for lang in ("de", "en")]}
    found = api.as_(Role.VIEWER).post("/v1/score", json=asked).json()["results"]
    assert [one["thresholds"] for one in found] == [{"spam": 0.9, "greeting": 0.5}, dict.fromkeys(LABELS, 0.5)]


def test_the_open_inference_protocol(api: Api) -> None:
    client = api.as_(Role.VIEWER)
    assert client.get("/v2").json()["name"] == "streamtag"
    about = client.get("/v2/models/tiny/versions/1").json()
    assert about["parameters"]["labels"] == list(LABELS)
    tensor = {"name": "text", "shape": [len(TEXTS)], "datatype": "BYTES", "data": TEXTS}
    body = {"id": "9", "inputs": [tensor]}
    found = client.post("/v2/models/tiny/infer", json=body).json()
    scores, tagged, review = found["outputs"]
    assert (found["id"], found["model_version"], scores["shape"]) == ("9", "1", [len(TEXTS), len(LABELS)])
    assert scores["data"] == [s for one in expected(api) for s in one.values()]
    assert tagged["data"] == [s >= 0.5 for s in scores["data"]]
    assert review["data"] == [False] * len(tagged["data"])
    assert [one["name"] for one in about["outputs"]] == ["scores", "tagged", "review"]
    only = client.post("/v2/models/tiny/infer", json={**body, "outputs": [{"name": "tagged"}]}).json()
    assert [one["name"] for one in only["outputs"]] == ["tagged"]
    assert client.post("/v2/models/other/infer", json=body).status_code == 404
    wrong = {"inputs": [{**tensor, "shape": [3]}]}
    assert "its shape is [3]" in client.post("/v2/models/tiny/infer", json=wrong).text
    numbers = {"inputs": [{**tensor, "shape": [1], "data": [7]}]}
    assert client.post("/v2/models/tiny/infer", json=numbers).status_code == 422
    unknown = {**body, "outputs": [{"name": "magic"}]}
    assert "magic" in client.post("/v2/models/tiny/infer", json=unknown).text


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ([{"name": "scores"}] * 2, "scores is there 2 times"),
        ([{"name": "scores"}] * 100, "at most 3 items"),
        ([{}], "name: Field required"),
    ],
)
def test_outputs_are_looked_at_before_anything_is_scored(
    api: Api, monkeypatch: pytest.MonkeyPatch, outputs: list[dict[str, str]], said: str
) -> None:
    def scored(*_: object, **__: object) -> Any:
        pytest.fail("scored in vain")

    monkeypatch.setattr(api.scoring, "submit", scored)
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["x"]}
    found = api.as_(Role.VIEWER).post("/v2/models/tiny/infer", json={"inputs": [tensor], "outputs": outputs})
    assert found.status_code == 422
    assert said in found.text


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [10**4_000] * 1_000},
        {"shape": [10**9 + 1]},
        {"shape": []},
        {"shape": [1, 1, 1]},
        {"data": [7] * 100_001},
    ],
    ids=["long", "large", "none", "three", "too many"],
)
def test_a_shape_is_that_of_texts(api: Api, change: dict[str, Any]) -> None:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["x"], **change}
    begun = time.perf_counter()
    found = api.as_(Role.VIEWER).post("/v2/models/tiny/infer", json={"inputs": [tensor]})
    assert found.status_code == 422
    assert len(found.json()["problems"]) == 1
    assert len(found.content) < 2_000
    assert time.perf_counter() - begun < 5


def test_an_id_that_is_no_text_is_refused(api: Api) -> None:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["x"]}
    client, sent = api.as_(Role.VIEWER), {"Content-Type": "application/json"}
    for given in ("\ud800", "a b", "x" * 201):
        content = json.dumps({"id": given, "inputs": [tensor]})
        assert client.post("/v2/models/tiny/infer", content=content, headers=sent).status_code == 422, given
    assert client.post("/v2/models/tiny/infer", json={"id": "", "inputs": [tensor]}).json()["id"] == ""


def actions(api: Api) -> tuple[int | None, list[dict[str, str]]]:
    """What each label that a text gets asks for, told alike by all three ways to score; and the breakers' number."""
    client = api.as_(Role.VIEWER)
    answer = client.post("/v1/score", json={"events": [{"text": text} for text in TEXTS]}).json()
    found = [{tag["label"]: tag["action"] for tag in one["tags"]} for one in answer["results"]]
    secret = api.tokens.create(f"ci-{len(api.tokens.all())}", Role.VIEWER, by="anna")
    openais = openai.OpenAI(api_key=secret, base_url="http://testserver/v1", http_client=api.anonymous, max_retries=0)
    moderated: Any = openais.moderations.create(input=TEXTS).to_dict()["results"]
    assert [one["category_actions"] for one in moderated] == found
    assert [{label for label, flag in one["categories"].items() if flag} for one in moderated] == [*map(set, found)]
    tensor = {"name": "text", "shape": [len(TEXTS)], "datatype": "BYTES", "data": TEXTS}
    wanted = {"inputs": [tensor], "outputs": [{"name": "review"}]}
    [review] = client.post("/v2/models/tiny/infer", json=wanted).json()["outputs"]
    assert review["data"] == [one.get(label) == "review" for one in found for label in LABELS]
    return answer["breakers"], found


def test_tags_of_a_label_whose_breaker_is_open_ask_for_review_until_it_is_closed(api: Api) -> None:
    # Everything is tagged, so that both labels have something to ask for.
    change = {"labels": dict.fromkeys(LABELS, 0.0), "reason": "x", "force": True}
    assert api.as_(Role.OPERATOR).patch("/v1/thresholds", json=change).status_code == 200
    breakers = BreakerLog(api.store)
    assert actions(api) == (None, [{"spam": "tag", "greeting": "tag"}] * len(TEXTS))
    breakers.open("spam", Who("streamtag (breaker)", "50 of 100 events"), events=100, alerts=50)
    assert actions(api) == (1, [{"spam": "review", "greeting": "tag"}] * len(TEXTS))
    breakers.close("spam", Who("anna", "as it should be"))
    assert actions(api) == (None, [{"spam": "tag", "greeting": "tag"}] * len(TEXTS))


SECRET = "quite private words"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/moderations", {"input": []}, 422),
        ("/v1/moderations", {"input": [{"type": "image_url", "image_url": {"url": SECRET}}]}, 422),
        ("/v1/moderations", {"input": 7}, 422),
        ("/v1/score", {"events": []}, 422),
        ("/v1/score", {"events": [{"text": SECRET, "other": SECRET}]}, 422),
        ("/v1/score", {"events": [{"text": SECRET, "id": SECRET + "\n"}]}, 422),
        ("/v1/score", {"events": [{"text": "x" * 70_000}, {"text": SECRET}]}, 422),
        ("/v1/score", {"events": [{"text": SECRET}] * 1_001}, 422),
        ("/v1/score", SECRET, 422),
    ],
)
def test_a_bad_request_gets_a_problem_document_without_its_content(api: Api, path: str, body: Any, status: int) -> None:
    found = api.as_(Role.VIEWER).post(path, json=body)
    assert found.status_code == status
    assert found.headers["content-type"] == "application/problem+json"
    assert SECRET not in found.text
    assert found.json()["status"] == status


def test_json_that_is_none_and_requests_that_are_too_long_are_refused(api: Api, tmp_path: Path) -> None:
    client = api.as_(Role.VIEWER)
    assert client.post("/v1/score", content=b"{", headers={"Content-Type": "application/json"}).status_code == 422
    with running(tmp_path / "small", **{"api.max_body_bytes": "1000"}) as small:
        client = small.as_(Role.VIEWER)
        assert client.post("/v1/score", json={"events": [{"text": "x" * 2_000}]}).status_code == 413
        assert client.post("/v1/score", json={"events": [{"text": "x"}]}).status_code == 200


def slow(api: Api, **options: Any) -> tuple[Scoring, threading.Event, threading.Event]:
    """Scoring whose thread waits, once it has begun, until it is let go on."""
    begun, go_on = threading.Event(), threading.Event()

    def active() -> Any:
        if threading.current_thread().name == "scoring":
            begun.set()
            assert go_on.wait(20)
        return api.scoring.active()

    made = Scoring(active, **{"batch": 4, "max_events": 6, "deadline_s": 60.0, **options})
    made.start()
    return made, begun, go_on


def events(count: int) -> list[ContentEvent]:
    return [ContentEvent(id=str(i), text="x") for i in range(count)]


def test_what_finds_no_room_is_turned_away_and_the_others_are_answered(api: Api) -> None:
    scoring, begun, go_on = slow(api)
    try:
        answers = [scoring.submit(events(3))]
        assert begun.wait(30)
        answers.append(scoring.submit(events(3)))
        assert scoring.waiting == 6
        with pytest.raises(OverloadedError, match="no room for 1 more"):
            scoring.submit(events(1))
        go_on.set()
        assert [len(one.result(30).events) for one in answers] == [3, 3]
        assert len(scoring.submit(events(6)).result(30).events) == 6
        assert scoring.waiting == 0
    finally:
        go_on.set()
        scoring.close()


def test_what_has_waited_for_too_long_is_not_scored_any_more(api: Api) -> None:
    now = [0.0]
    scoring, begun, go_on = slow(api, clock=lambda: now[0], deadline_s=1.0)
    try:
        first = scoring.submit(events(4))
        assert begun.wait(30)
        late = scoring.submit(events(2))
        now[0] = 2.0
        go_on.set()
        assert len(first.result(30).events) == 4
        with pytest.raises(OverloadedError, match="longer than the deadline"):
            late.result(30)
        assert scoring.waiting == 0
    finally:
        go_on.set()
        scoring.close()


def test_what_would_be_late_is_turned_away_at_once(api: Api) -> None:
    now = [0.0]
    scoring, begun, go_on = slow(api, clock=lambda: now[0], deadline_s=1.0, max_events=100)
    try:
        first = scoring.submit(events(4))
        assert begun.wait(30)
        now[0] = 4.0  # a second an event, of which the newest run counts a fifth
        go_on.set()
        first.result(30)
        begun.clear()
        go_on.clear()
        second = scoring.submit(events(6))
        assert begun.wait(30)
        with pytest.raises(OverloadedError, match="longer than the deadline allows"):
            scoring.submit(events(1))
        go_on.set()
        assert len(second.result(30).events) == 6
        assert len(scoring.submit(events(1)).result(30).events) == 1
    finally:
        go_on.set()
        scoring.close()


def test_over_http_that_is_429_with_a_time_to_come_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    client = api.as_(Role.VIEWER)

    def refuse(_events: object, **_how: object) -> "Future[Scored]":
        raise OverloadedError("no room")

    monkeypatch.setattr(api.scoring, "submit", refuse)
    found = client.post("/v1/moderations", json={"input": "x"})
    assert (found.status_code, found.headers["retry-after"]) == (429, "1")


def test_a_request_is_decided_by_one_release_and_a_failure_reaches_who_asked(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = api.as_(Role.VIEWER)

    def broken(_texts: object) -> Any:
        raise UnavailableError("no release")

    monkeypatch.setattr(api.scoring, "_score", broken)
    found = client.post("/v1/score", json={"events": [{"text": "x"}]})
    assert (found.status_code, found.json()["detail"]) == (503, "no release")
    monkeypatch.undo()
    assert client.post("/v1/score", json={"events": [{"text": "x"}]}).status_code == 200
    assert json.dumps(api.metrics.records)  # requests are measured
    assert len(api.metrics.records["streamtag.api.duration"]) == 2


def test_a_text_that_the_model_fails_on_is_named_and_the_others_are_scored(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = type(api.scorer).score

    def picky(self: Any, texts: Any, features: Any) -> Any:
        found = score(self, texts, features)
        found[[t == "bad" for t in texts]] = np.nan
        return found

    monkeypatch.setattr(type(api.scorer), "score", picky)
    client = api.as_(Role.VIEWER)
    found = client.post("/v1/score", json={"events": [{"text": "good"}, {"text": "bad"}]}).json()["results"]
    assert found[0]["error"] is None
    assert found[1]["scores"] == {}
    assert "not a probability" in found[1]["error"]
    assert client.post("/v1/moderations", json={"input": ["good", "bad"]}).status_code == 422
