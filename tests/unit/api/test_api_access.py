"""Who may do what: every route, every role, no token, an expired and a revoked one."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api_rig import Api
from fastapi import Request
from fastapi.testclient import TestClient

from streamtag.api.access import _KNOWN_S, _WITHOUT_REDIS_S
from streamtag.api.problems import ForbiddenError
from streamtag.api.routes_audit import _events
from streamtag.control.tokens import Role
from streamtag.errors import NotFoundError, RefusedError, UnavailableError

pytest_plugins = ("api_fixture",)

NEEDS: dict[tuple[str, str], Role | None] = {
    ("get", "/v2/health/live"): None,
    ("get", "/v2/health/ready"): None,
    ("post", "/v1/session"): None,
    ("get", "/v1/session/oidc"): None,
    ("get", "/v1/session/oidc/callback"): None,
    ("get", "/v1/session/oidc/configured"): None,
    ("delete", "/v1/session"): Role.VIEWER,
    ("patch", "/v1/thresholds"): Role.OPERATOR,
    ("put", "/v1/thresholds"): Role.OPERATOR,
    ("post", "/v1/thresholds/restore"): Role.OPERATOR,
    ("post", "/v1/releases/promote"): Role.OPERATOR,
    ("post", "/v1/releases/return"): Role.OPERATOR,
    ("post", "/v1/change-requests"): Role.OPERATOR,
    ("post", "/v1/change-requests/{number}/approve"): Role.OPERATOR,
    ("post", "/v1/change-requests/{number}/reject"): Role.OPERATOR,
    ("post", "/v1/change-requests/{number}/withdraw"): Role.OPERATOR,
    ("post", "/v1/change-requests/{number}/comment"): Role.REVIEWER,
    ("post", "/v1/change-requests/{number}/publish"): Role.OPERATOR,
    ("post", "/v1/change-requests/{number}/restore"): Role.OPERATOR,
    ("post", "/v1/fleet/resume"): Role.OPERATOR,
    ("post", "/v1/freeze"): Role.OPERATOR,
    ("post", "/v1/breakers/{label}/close"): Role.OPERATOR,
    ("post", "/v1/freeze/lift"): Role.OPERATOR,
    ("get", "/v1/tokens"): Role.ADMIN,
    ("post", "/v1/tokens"): Role.ADMIN,
    ("delete", "/v1/tokens/{name}"): Role.ADMIN,
    ("get", "/v1/access-log"): Role.ADMIN,
    ("post", "/v1/dead-letters/replays"): Role.OPERATOR,
    ("get", "/v1/dead-letters/{partition}/{offset}/content"): Role.REVIEWER,
    **{
        ("post", f"/v1/experiments{path}"): Role.OPERATOR
        for path in ("", "/{number}/share", "/{number}/stop", "/{number}/promote")
    },
    **{
        ("post", path): Role.VIEWER
        for path in (
            "/v1/moderations",
            "/v1/score",
            "/v1/thresholds/preview",
            "/v2/models/{name}/infer",
            "/v2/models/{name}/versions/{version}/infer",
        )
    },
    **{
        ("get", path): Role.VIEWER
        for path in (
            "/v1/labels",
            "/v1/labels/{label}",
            "/v1/session",
            "/v1/thresholds",
            "/v1/thresholds/revisions",
            "/v1/thresholds/revisions/{number}",
            "/v1/releases",
            "/v1/releases/current",
            "/v1/experiments",
            "/v1/experiments/{number}",
            "/v1/experiments/{number}/history",
            "/v1/fleet",
            "/v1/dead-letters",
            "/v1/dead-letters/groups",
            "/v1/dead-letters/{partition}/{offset}",
            "/v1/change-requests",
            "/v1/change-requests/{number}",
            "/v1/freeze",
            "/v1/breakers",
            "/v1/audit",
            "/v1/audit/verify",
            "/v1/changes",
            "/v1/labels/{label}/segments",
            "/v1/windows",
            "/v1/rates",
            "/v1/ledger",
            "/v1/models",
            "/v1/models/{name}/{version}",
            "/v1/models/{name}/{version}/reports/{report_id}",
            "/v1/models/{name}/{version}/reports/{report_id}/page",
            "/v2",
            "/v2/models/{name}",
            "/v2/models/{name}/versions/{version}",
            "/v2/models/{name}/ready",
            "/v2/models/{name}/versions/{version}/ready",
        )
    },
}
"""What each route must need; a new route has to be added here."""

UNTRIED = {
    ("get", "/v1/changes"),
    ("get", "/v1/ledger"),
    *((method, path) for method, path in NEEDS if path.startswith("/v1/dead-letters") and method == "get"),
}
"""Answers never end, or wait for Kafka, once the token is good: refusals are tried all the same."""


def routes(api: Api) -> set[tuple[str, str]]:
    document: dict[str, Any] = api.anonymous.get("/openapi.json").json()
    return {(method, path) for path, methods in document["paths"].items() for method in methods}


def test_the_table_has_every_route(api: Api) -> None:
    assert routes(api) == set(NEEDS)


def ask(client: TestClient, method: str, path: str) -> int:
    url = path.format(name="x", version="1", number=1, label="spam", partition=0, offset=0, report_id="0" * 12)
    body: dict[str, object] | None = None if method in ("get", "delete") else {}
    return client.request(method, url, json=body).status_code


def test_without_a_good_token_every_route_but_the_health_checks_is_refused(api: Api) -> None:
    api.now = 100.0
    gone = api.as_(Role.ADMIN, expires_at=datetime.now(UTC) + timedelta(days=1))
    yesterday = datetime.now(UTC) - timedelta(days=1)
    late = api.tokens.create(
        "late", Role.ADMIN, by="anna", now=yesterday, expires_at=yesterday + timedelta(milliseconds=1)
    )
    api.tokens.revoke("admin-0", by="anna")
    for (method, path), role in NEEDS.items():
        for client in (api.anonymous, api.client("st_made-up"), api.client(late), gone):
            assert (ask(client, method, path) == 401) == (role is not None), (method, path)


@pytest.mark.parametrize("role", list(Role))
def test_each_role_may_do_what_the_table_says_and_nothing_else(api: Api, role: Role) -> None:
    client = api.as_(role)
    for (method, path), needed in NEEDS.items():
        allowed = needed is None or role.includes(needed)
        if allowed and (method, path) in UNTRIED:
            continue
        found = ask(client, method, path)
        assert (found == 403) == (not allowed), (method, path, found)
        assert found != 401, (method, path)


def test_a_refusal_is_remembered_with_who_and_what_and_nothing_else(api: Api) -> None:
    viewer = api.as_(Role.VIEWER)
    assert viewer.patch("/v1/thresholds", json={"labels": {"spam": 0.4}, "reason": "x"}).status_code == 403
    api.anonymous.get("/v1/labels?x=a-secret")
    found = api.as_(Role.ADMIN).get("/v1/access-log").json()["items"]
    assert [(one["action"], one["who"], one["what"]) for one in found][1:3] == [
        ("refused", "nobody known", "GET /v1/labels"),
        ("refused", "viewer-0", "PATCH /v1/thresholds"),
    ]


def test_strangers_push_nothing_out_of_the_access_log_but_one_another(api: Api) -> None:
    api.tokens.note("read content", "rita", "GET /v1/dead-letters/0/7/content")
    for _ in range(1_200):
        api.tokens.note_stranger("GET /v1/labels/" + "x" * 5_000)
    found = api.tokens.access_log(2_000)
    assert [one["who"] for one in found if one["action"] != "refused"] == ["rita"]
    assert len(found) < 1_200
    assert max(len(one["what"]) for one in found) == 200
    first = api.tokens.access_log(10)
    assert api.tokens.access_log(10, before=first[-1]["id"]) == found[10:20]


def test_refusals_push_no_change_of_a_token_and_no_reading_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamtag.control.tokens._ACCESS_LOG", 100)
    api.tokens.create("ci", Role.VIEWER, by="anna")
    api.tokens.note("read content", "rita", "dead letter events/0/7")
    for _ in range(400):
        api.tokens.note_refusal("viewer-0", "PATCH /v1/thresholds")
    api.tokens.note_stranger("GET /v1/labels")
    found = api.tokens.access_log(20_000)
    assert [one["action"] for one in found if one["action"] != "refused"] == ["read content", "token created"]
    assert len(found) < 400
    assert len({one["who"] for one in found}) == 4


def test_pages_of_the_access_log_go_through_all_its_streams(api: Api) -> None:
    notes = (
        lambda: api.tokens.note_refusal("viewer-0", "GET /v1/tokens"),
        lambda: api.tokens.note_stranger("GET /v1/tokens"),
        lambda: api.tokens.note("read content", "rita", "dead letter events/0/7"),
    )
    for number in range(30):
        notes[number % 3 if number < 20 else number % 2]()
        time.sleep(0.002)  # ids are of milliseconds: none is given twice
    everything, found = api.tokens.access_log(1_000), list[dict[str, str]]()
    while page := api.tokens.access_log(7, before=found[-1]["id"] if found else None):
        found += page
    assert found == everything
    assert len(everything) == 30


def test_a_date_without_a_zone_is_refused(api: Api) -> None:
    asked = {"name": "ci", "role": "viewer", "expires_at": "2099-01-01T00:00:00"}
    assert api.as_(Role.ADMIN).post("/v1/tokens", json=asked).status_code == 422


def test_an_end_with_another_offset_is_told_in_utc(api: Api) -> None:
    admin = api.as_(Role.ADMIN)
    for name, ends in (("ci", "2099-01-01T01:00:00+02:00"), ("last", "9999-12-31T23:59:59-10:00")):
        asked = {"name": name, "role": "viewer", "expires_at": ends}
        assert admin.post("/v1/tokens", json=asked).status_code == 201
    listed = {one["name"]: one["expires_at"] for one in admin.get("/v1/tokens").json()["items"]}
    assert listed["ci"] == "2098-12-31T23:00:00Z"


def test_a_token_is_kept_as_a_hash_and_shown_once(api: Api) -> None:
    admin = api.as_(Role.ADMIN)
    made = admin.post("/v1/tokens", json={"name": "ci", "role": "viewer", "labels": ["spam"]})
    secret = made.json()["token"]
    assert made.status_code == 201
    assert api.client(secret).get("/v1/labels").status_code == 200
    listed = admin.get("/v1/tokens").text
    assert secret not in listed
    client: Any = api.store.client
    everything = [client.hgetall(k) for k in client.scan_iter("*tokens")]
    assert everything
    assert secret not in str(everything)
    assert admin.post("/v1/tokens", json={"name": "ci", "role": "viewer"}).status_code == 422


def followed(api: Api, client: TestClient, after: Callable[[], object]) -> list[str]:
    """What a stream of changes says when, behind its first line, ``after`` has happened; three more lines at most."""
    headers = [(name.lower().encode(), value.encode()) for name, value in client.headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/v1/changes", "headers": headers, "app": client.app}

    async def read() -> list[str]:
        events, found = _events(Request(scope, asyncio.Event().wait), api.store, "0-0"), list[str]()  # type: ignore[arg-type]  # nobody hangs up
        async for line in events:
            if not found:
                after()
            found.append(line)
            if len(found) == 4:
                break
        await events.aclose()  # type: ignore[attr-defined]
        return found

    return asyncio.run(read())


def test_a_stream_of_changes_ends_with_the_right_to_read_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamtag.api.routes_audit._ASK_AGAIN_S", 0.0)
    monkeypatch.setattr(api.store, "follow_audit", lambda *_: [])
    assert len(followed(api, api.as_(Role.VIEWER), lambda: None)) == 4
    assert len(followed(api, api.as_(Role.VIEWER), lambda: api.tokens.revoke("viewer-1", by="anna"))) == 1

    def forbidden(_secret: str) -> None:
        raise ForbiddenError("no role is known any more")

    reader = api.as_(Role.VIEWER)
    assert len(followed(api, reader, lambda: monkeypatch.setattr(api.access, "token", forbidden))) == 1

    def away(_secret: str) -> None:
        raise UnavailableError("Redis is away")

    monkeypatch.setattr(api.access, "token", away)
    assert len(followed(api, reader, lambda: None)) == 4


def test_a_revoked_token_is_refused_within_seconds(api: Api) -> None:
    admin, secret = api.as_(Role.ADMIN), api.tokens.create("ci", Role.VIEWER, by="anna")
    assert api.client(secret).get("/v1/labels").status_code == 200
    assert admin.delete("/v1/tokens/ci").json() == {"revoked": "ci"}
    assert admin.delete("/v1/tokens/ci").status_code == 404
    api.now += _KNOWN_S
    assert api.client(secret).get("/v1/labels").status_code == 401


def test_while_redis_is_away_known_tokens_score_and_others_are_told_why_not(api: Api) -> None:
    secret, other = (api.tokens.create(name, Role.VIEWER, by="anna") for name in ("ci", "other"))
    assert api.client(secret).post("/v2/models/tiny/infer", json={}).status_code == 422  # known from now on
    api.server.connected = False
    api.now += _KNOWN_S + 1
    assert api.access.token(secret) is not None
    assert api.client(other).get("/v1/labels").status_code == 503
    assert api.anonymous.get("/v1/labels").status_code == 401
    api.now += _WITHOUT_REDIS_S
    assert api.client(secret).get("/v1/labels").status_code == 503


def test_what_cannot_be_a_token_is_refused_with_every_reason(api: Api) -> None:
    api.tokens.create("ci", Role.VIEWER, by="anna")
    with pytest.raises(RefusedError) as caught:
        api.tokens.create("ci", Role.VIEWER, by="anna", labels=[], expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert len(caught.value.problems) == 3
    with pytest.raises(NotFoundError):
        api.tokens.revoke("nobody", by="anna")
