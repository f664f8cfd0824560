"""The same request with the same key is carried out once, and answered the same again."""

import threading
from typing import Any

import pytest
from api_rig import Api
from control_plane import current

from streamtag.api.idempotency import HEADER
from streamtag.api.routes_thresholds import router
from streamtag.control.tokens import Role
from streamtag.errors import UnavailableError

pytest_plugins = ("api_fixture",)

MOVE = {"labels": {"spam": 0.6}, "reason": "a raid"}


def test_a_change_sent_twice_is_made_once_and_answered_alike(api: Api) -> None:
    client = api.as_(Role.OPERATOR)
    first, again = (client.patch("/v1/thresholds", json=MOVE, headers={HEADER: "k1"}) for _ in range(2))
    assert first.json()["committed"] is True
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert current(api.store).id.number == 2
    other = client.patch("/v1/thresholds", json=MOVE, headers={HEADER: "k2"})
    assert other.json()["committed"] is False


def test_another_request_with_the_key_is_refused_and_another_persons_is_not(api: Api) -> None:
    client, otto = api.as_(Role.OPERATOR), api.as_(Role.OPERATOR)
    assert client.patch("/v1/thresholds", json=MOVE, headers={HEADER: "k1"}).status_code == 200
    different = {**MOVE, "labels": {"spam": 0.65}}
    for method, path, body, more in (
        ("PATCH", "/v1/thresholds", different, {}),
        ("PATCH", "/v1/thresholds", MOVE, {"If-Match": "*"}),
        ("POST", "/v1/releases/return", {"reason": "x"}, {}),
    ):
        refused = client.request(method, path, json=body, headers={HEADER: "k1", **more})
        assert refused.status_code == 422
        assert HEADER in refused.json()["detail"]
    assert otto.patch("/v1/thresholds", json=different, headers={HEADER: "k1"}).json()["committed"] is True


def test_a_request_that_was_refused_may_be_tried_again_with_its_key(api: Api) -> None:
    client = api.as_(Role.OPERATOR)
    wild = {"labels": {"spam": 0.99}, "reason": "x"}
    assert client.patch("/v1/thresholds", json=wild, headers={HEADER: "k1"}).status_code == 422
    assert client.patch("/v1/thresholds", json=MOVE, headers={HEADER: "k1"}).status_code == 200


def test_while_the_first_is_carried_out_the_second_is_told_to_wait(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    client, entered, go = api.as_(Role.OPERATOR), threading.Event(), threading.Event()
    commit = api.store.commit

    def slow(**how: Any) -> Any:
        entered.set()
        assert go.wait(20)
        return commit(**how)

    monkeypatch.setattr(api.store, "commit", slow)
    answers: list[Any] = []
    thread = threading.Thread(
        target=lambda: answers.append(client.patch("/v1/thresholds", json=MOVE, headers={HEADER: "k1"}))
    )
    thread.start()
    assert entered.wait(20)
    assert client.patch("/v1/thresholds", json=MOVE, headers={HEADER: "k1"}).status_code == 409
    go.set()
    thread.join(20)
    assert answers[0].status_code == 200
    assert client.patch("/v1/thresholds", json=MOVE, headers={HEADER: "k1"}).content == answers[0].content


def test_a_revoked_token_gets_no_answer_that_was_kept(api: Api) -> None:
    api.now = 100.0
    client = api.as_(Role.OPERATOR)
    client.patch("/v1/thresholds", json=MOVE, headers={HEADER: "k1"})
    api.tokens.revoke("operator-0", by="anna")
    api.now += 10
    assert client.patch("/v1/thresholds", json=MOVE, headers={HEADER: "k1"}).status_code == 401


def test_what_redis_holds_does_not_name_who_asked_and_ends(api: Api) -> None:
    api.as_(Role.OPERATOR).patch("/v1/thresholds", json=MOVE, headers={HEADER: "a-secret-key"})
    redis: Any = api.store.client
    [key] = redis.scan_iter("*idempotency*")
    assert b"secret" not in key
    assert 0 < redis.ttl(key) <= 86_400


def test_every_route_that_changes_something_takes_the_key(api: Api) -> None:
    document = api.anonymous.get("/openapi.json").json()
    takes = {
        (method, path)
        for path, methods in document["paths"].items()
        for method, route in methods.items()
        if any(one["name"].lower() == HEADER.lower() for one in route.get("parameters", ()))
    }
    changing = {
        (method, path)
        for path, methods in document["paths"].items()
        for method in methods
        if method in ("post", "put", "patch") and path not in ("/v1/session", "/v1/tokens")  # answers hold secrets
    }
    asks = {("post", path) for path in ("/v1/moderations", "/v1/score", "/v1/thresholds/preview")}
    asks |= {("post", path) for path in document["paths"] if path.endswith("/infer")}
    assert takes == changing - asks
    assert router.routes


def test_what_may_have_been_done_is_not_done_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    client, commit = api.as_(Role.OPERATOR), api.store.commit

    def unheard(**how: Any) -> Any:
        commit(**how)
        raise UnavailableError("Redis did not answer in time; whether it was committed is unknown")

    monkeypatch.setattr(api.store, "commit", unheard)
    assert client.patch("/v1/thresholds", json=MOVE, headers={HEADER: "k1"}).status_code == 503
    monkeypatch.undo()
    assert current(api.store).id.number == 2
    back = {"reason": "too much"}
    monkeypatch.setattr(api.store, "commit", unheard)
    assert client.post("/v1/releases/return", json=back, headers={HEADER: "k2"}).status_code == 503
    monkeypatch.undo()
    again = client.post("/v1/releases/return", json=back, headers={HEADER: "k2"})
    assert again.status_code == 409
    assert "nobody knows" in again.json()["detail"]
    assert current(api.store).thresholds.labels["spam"] == 0.5
