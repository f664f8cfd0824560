"""Signing in to the console: a cookie, what it allows, and what a page elsewhere cannot do with it."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from api_rig import Api, running
from fastapi.testclient import TestClient

from streamtag.api.access import COOKIE
from streamtag.console.site import HEADERS
from streamtag.control.tokens import Role

pytest_plugins = ("api_fixture",)

MOVE = {"labels": {"spam": 0.6}, "reason": "a raid"}


def signed_in(api: Api, role: Role = Role.OPERATOR, **token: object) -> tuple[TestClient, str]:
    """A browser with the cookie, and what it must repeat."""
    secret = api.tokens.create("olga", role, by="anna", **token)  # type: ignore[arg-type]
    browser = TestClient(api.anonymous.app, raise_server_exceptions=False)
    opened = browser.post("/v1/session", json={"token": secret})
    assert opened.status_code == 200
    return browser, opened.json()["csrf"]


def test_a_token_opens_a_session_whose_cookie_no_script_can_read(api: Api) -> None:
    secret = api.tokens.create("olga", Role.OPERATOR, by="anna", labels=["spam"])
    opened = api.anonymous.post("/v1/session", json={"token": secret})
    assert {"name": "olga", "role": "operator", "labels": ["spam"]}.items() <= opened.json().items()
    cookie = opened.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert secret not in opened.headers["set-cookie"]
    stored = b"".join(bytes(api.store.client.get(key) or b"") for key in api.store.client.scan_iter("*session*"))  # type: ignore[arg-type]
    assert stored
    assert api.anonymous.cookies[COOKIE].encode() not in stored
    assert secret.encode() not in stored


@pytest.mark.parametrize(
    ("url", "secure"),
    [("https://tags.example", True), ("http://tags.example", True), ("http://127.0.0.1:8484", False)],
)
def test_behind_tls_the_cookie_is_for_tls_alone_but_on_the_machine_itself(
    tmp_path: Path, url: str, secure: bool
) -> None:
    with running(tmp_path, **{"api.behind_tls": "true"}) as api:
        secret = api.tokens.create("olga", Role.VIEWER, by="anna")
        opened = TestClient(api.anonymous.app, base_url=url).post("/v1/session", json={"token": secret})
        assert ("secure" in opened.headers["set-cookie"].lower()) == secure


def test_a_session_reads_with_the_cookie_alone_and_changes_only_with_what_it_repeats(api: Api) -> None:
    browser, csrf = signed_in(api)
    assert browser.get("/v1/thresholds").status_code == 200
    assert browser.get("/v1/session").json()["csrf"] == csrf
    for headers in ({}, {"X-CSRF-Token": "wrong"}, {"X-CSRF-Token": ""}):
        refused = browser.patch("/v1/thresholds", json=MOVE, headers=headers)
        assert refused.status_code == 403, headers
    assert browser.patch("/v1/thresholds", json=MOVE, headers={"X-CSRF-Token": csrf}).status_code == 200
    assert browser.get("/v1/thresholds").json()["author"] == "olga"


def test_the_value_of_another_session_does_not_count(api: Api) -> None:
    browser, _ = signed_in(api)
    secret = api.tokens.create("otto", Role.OPERATOR, by="anna")
    other = TestClient(api.anonymous.app).post("/v1/session", json={"token": secret}).json()["csrf"]
    assert browser.patch("/v1/thresholds", json=MOVE, headers={"X-CSRF-Token": other}).status_code == 403


@pytest.mark.parametrize("login", ["Basic b2xnYTp4", "Bearer", "Bearer "])
def test_what_a_proxy_asks_for_besides_is_no_bearer_and_the_session_counts(api: Api, login: str) -> None:
    browser, csrf = signed_in(api)
    headers = {"Authorization": login}
    assert browser.get("/v1/session", headers=headers).json()["csrf"] == csrf
    assert browser.patch("/v1/thresholds", json=MOVE, headers={**headers, "X-CSRF-Token": csrf}).status_code == 200


@pytest.mark.parametrize("end", ["signed out", "revoked", "expired"])
def test_a_session_ends(api: Api, end: str) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)  # time enough to sign in on a busy machine
    browser, csrf = signed_in(api, expires_at=soon if end == "expired" else None)
    if end == "signed out":
        assert browser.delete("/v1/session", headers={"X-CSRF-Token": csrf}).status_code == 204
        assert COOKIE not in browser.cookies
    elif end == "revoked":
        api.tokens.revoke("olga", by="anna")
    else:
        while datetime.now(UTC) < soon:
            time.sleep(0.05)
    assert browser.get("/v1/thresholds").status_code == 401


def test_a_page_elsewhere_can_sign_nobody_in(api: Api) -> None:
    secret = api.tokens.create("olga", Role.OPERATOR, by="anna")
    sent = {"Sec-Fetch-Site": "cross-site"}
    assert api.anonymous.post("/v1/session", json={"token": secret}, headers=sent).status_code == 403
    assert api.anonymous.post("/v1/session", json={"token": "st_wrong"}).status_code == 401
    assert api.tokens.access_log()[0]["what"] == "POST /v1/session"


def test_the_console_is_served_to_anybody_under_a_strict_policy(api: Api) -> None:
    page = api.anonymous.get("/")
    assert page.url.path == "/console/"
    assert page.status_code == 200
    for name, value in HEADERS.items():
        assert page.headers[name] == value
    assert "unsafe" not in page.headers["content-security-policy"]
    assert api.anonymous.get("/console/app.js").headers["content-type"].startswith("text/javascript")
    assert api.anonymous.get("/console/../control/tokens.py").status_code == 404


def test_without_a_provider_the_page_offers_the_token_alone(api: Api) -> None:
    assert api.anonymous.get("/v1/session/oidc/configured").json() == {"configured": False}
    assert api.anonymous.get("/v1/session/oidc", follow_redirects=False).status_code == 404
