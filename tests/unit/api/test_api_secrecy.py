"""Nothing that a request brings, neither content nor secret, is logged, measured, refused aloud or kept in Redis."""

import logging
from typing import Any

import pytest
from api_rig import Api

from streamtag.control.tokens import Role

pytest_plugins = ("api_fixture",)

MARK = "quite-private-words"
BODY = {
    "text": MARK,
    "input": MARK,
    "token": MARK,
    "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [MARK], "other": MARK}],
    "events": [{"text": MARK, "other": MARK}],
    "other": {"other": [MARK]},  # an unknown field is named to whoever sent it; what it holds is not
}
UNTRIED = {"/v1/changes", "/v1/ledger"}


def test_no_route_gives_away_what_it_was_sent(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    admin = api.as_(Role.ADMIN)
    secret = str(admin.headers["authorization"]).removeprefix("Bearer ")
    document: dict[str, Any] = api.anonymous.get("/openapi.json").json()
    answers: list[str] = []
    headers = {"If-Match": MARK, "Idempotency-Key": MARK, "X-CSRF-Token": MARK, "Cookie": f"streamtag_session={MARK}"}
    for path, methods in document["paths"].items():
        for method in methods:
            url = path.format(
                name="tiny", version="1", number=1, label="spam", partition=0, offset=0, report_id="0" * 12
            )
            untried = path in UNTRIED or (path.startswith("/v1/dead-letters") and method == "get")
            for client in (api.client(f"st_{MARK}"), api.anonymous, *(() if untried else (admin,))):
                body = None if method in ("get", "delete") else BODY
                found = client.request(method, url, params={"x": MARK}, json=body, headers=headers)
                if found.status_code >= 400:
                    answers.append(found.text)
    good = {"events": [{"id": "1", "text": f"{MARK} and more"}], "explain": True}
    assert admin.post("/v1/score", json=good).status_code == 200
    assert admin.post("/v1/moderations", json={"input": [MARK, f"{MARK} " * 9_000]}).status_code == 422
    assert admin.post("/v1/score", content=f'{{"other": "{MARK}').status_code == 422
    measured = repr((api.metrics.counts, api.metrics.values, api.metrics.records))
    redis: Any = api.store.client
    kept = repr([(key, redis.dump(key)) for key in redis.scan_iter()])
    # httpx is the client's: what it logs is not ours.
    ours = [record for record in caplog.records if not record.name.startswith("http")]
    logged = "".join(f"{record.getMessage()} {record.__dict__}" for record in ours)
    assert len(answers) > 100
    for where, said in {"answers": "".join(answers), "logs": logged, "metrics": measured, "redis": kept}.items():
        assert secret not in said, where
        if where != "answers":
            assert MARK not in said, where
    aloud = [one for one in answers if MARK in one]
    assert aloud == []
