"""Whatever goes wrong gets a problem document that is short, names what was wrong, and gives nothing away."""

import json
import logging
import tracemalloc
from typing import Any

import pytest
from api_rig import Api

from streamtag.api import routes_session
from streamtag.control.tokens import Role
from streamtag.errors import RefusedError

pytest_plugins = ("api_fixture",)

MANY = 50_000
UNKNOWN = {f"k{i}": 0 for i in range(MANY)}

TENSOR = {"name": "text", "shape": [MANY], "datatype": "BYTES"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/moderations", {"input": [0] * MANY}),
        ("/v1/moderations", {"input": [{}] * MANY}),
        ("/v1/moderations", {"input": ["x", *[0] * MANY]}),
        ("/v1/score", {"events": [{}] * MANY}),
        ("/v1/score", {"events": [{"text": "x", **UNKNOWN}]}),
        ("/v1/score", {"events": [{"text": "x", "id": "a b"}] * 10_000}),
        ("/v1/score", {"events": [{"text": "x"}], **UNKNOWN}),
        (
            "/v2/models/tiny/infer",
            {"inputs": [{"name": "text", "shape": [MANY], "datatype": "BYTES", "data": [7] * MANY}]},
        ),
        ("/v1/thresholds/preview", {"labels": dict.fromkeys(UNKNOWN, "x")}),
        ("/v1/thresholds/preview", {"thresholds": {"labels": {}, "segments": [{}] * MANY}}),
        ("/v1/thresholds/preview", {"thresholds": {"labels": {}, **UNKNOWN}}),
        ("/v1/tokens", {"name": "x", "role": "viewer", "labels": [0] * MANY}),
    ],
)
def test_a_request_that_is_wrong_in_many_places_costs_no_more_than_one_that_is_right(
    api: Api, path: str, body: Any
) -> None:
    client, content = api.as_(Role.ADMIN), json.dumps(body).encode()
    sent = {"Content-Type": "application/json"}
    client.post(path, content=b"{}", headers=sent)  # what is made once
    tracemalloc.start()
    try:
        found = client.post(path, content=content, headers=sent)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.status_code == 422
    assert len(found.json()["problems"]) <= 100
    assert len(found.content) < 20_000
    assert most < 35 * 2**20


def test_a_stranger_learns_little_from_signing_in_with_much(api: Api) -> None:
    sent = api.anonymous.post("/v1/session", json=UNKNOWN)
    assert sent.status_code == 413
    few = api.anonymous.post("/v1/session", json={f"k{i}": 0 for i in range(300)})
    assert few.json()["problems"] == ["body: an object has more than 100 fields"]


def test_the_name_of_an_unknown_field_is_told_in_part(api: Api) -> None:
    found = api.as_(Role.VIEWER).post("/v1/score", json={"events": [{"text": "x"}], "y" * 100_000: 0})
    [problem] = found.json()["problems"]
    assert problem.startswith("body.yyy")
    assert len(problem) < 600


def test_of_many_problems_a_hundred_are_told(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise RefusedError("no", problems=[str(i) for i in range(1_000)])

    monkeypatch.setattr(api.access, "token", refused)
    assert len(api.as_(Role.VIEWER).get("/v1/labels").json()["problems"]) == 100


def test_a_failure_nobody_thought_of_is_a_problem_document_that_gives_nothing_away(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("quite-private-words")

    monkeypatch.setattr(api.access, "token", broken)
    for path in ("/v1/labels", "/v2/models/tiny"):
        found = api.as_(Role.VIEWER).get(path)
        assert found.status_code == 500
        assert found.headers["content-type"] == "application/problem+json"
        assert (found.headers["cache-control"], found.headers["x-content-type-options"]) == ("no-store", "nosniff")
        assert (found.json()["status"], found.json()["title"]) == (500, "failed")
        assert ("error" in found.json()) == path.startswith("/v2")
        assert "private" not in found.text


def test_an_answer_that_cannot_be_written_is_told_and_not_quoted(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(routes_session, "_document", lambda _: {"name": "quite-private-words \ud800"})
    with caplog.at_level(logging.ERROR):
        found = api.as_(Role.VIEWER).get("/v1/session")
    assert found.status_code == 500
    assert found.headers["content-type"] == "application/problem+json"
    assert "private" not in found.text + caplog.text
    assert "GET /v1/session cannot be written" in caplog.text
