"""OpenID Connect: whose tokens are accepted, for what role, and signing in at a real provider and back."""

import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_rig import Api, running
from issuer import Issuer, issuer
from joserfc.jwk import RSAKey
from oidc_provider_mock import User, run_server_in_thread
from services import wait_until

from streamtag.api.access import COOKIE
from streamtag.api.oidc import _SOONEST_S, OidcProvider
from streamtag.control.tokens import Role
from streamtag.errors import SettingsError, UnavailableError
from streamtag.settings import load_settings

ROLES = "{moderators: operator, readers: viewer}"


@pytest.fixture(scope="module")
def provider() -> Iterator[Issuer]:
    with issuer() as found:
        yield found


@pytest.fixture
def api(tmp_path: Path, provider: Issuer) -> Iterator[Api]:
    settings = {
        "oidc.issuer": provider.url,
        "oidc.client_id": "streamtag",
        "oidc.role_claim": "realm_access.roles",
        "oidc.roles": ROLES,
    }
    with running(tmp_path, **settings) as found:
        yield found


MOVE = {"labels": {"spam": 0.6}, "reason": "a raid"}


def test_a_token_of_the_issuer_may_do_what_its_role_may_in_its_name(api: Api, provider: Issuer) -> None:
    assert api.client(provider.token()).patch("/v1/thresholds", json=MOVE).status_code == 200
    assert api.store.audit(1)[0].fields["author"] == "oidc:olga"
    reader = api.client(provider.token(realm_access={"roles": ["readers"]}))
    assert reader.get("/v1/thresholds").status_code == 200
    assert reader.patch("/v1/thresholds", json=MOVE).status_code == 403
    session = api.client(provider.token(without="preferred_username")).get("/v1/session").json()
    assert (session["name"], session["role"]) == ("oidc:u-1", "operator")


def test_both_kinds_of_tokens_are_known(api: Api, provider: Issuer) -> None:
    assert api.as_(Role.VIEWER).get("/v1/labels").status_code == 200
    assert api.client(provider.token()).get("/v1/labels").status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "http://elsewhere.example"},
        {"aud": "another-client"},
        {"aud": ["another-client"]},
        {"without": "aud"},
        {"without": "iss"},
        {"without": "exp"},
        {"without": "sub"},
        {"exp": int(time.time()) - 3_600},
        {"nbf": int(time.time()) + 3_600},
        {"key": RSAKey.generate_key(2048, auto_kid=True)},
    ],
    ids=lambda changes: "-".join(map(str, changes)),
)
def test_a_token_that_is_not_the_issuers_for_us_and_now_is_refused(
    api: Api, provider: Issuer, changes: dict[str, Any]
) -> None:
    assert api.client(provider.token(**changes)).get("/v1/labels").status_code == 401


def test_neither_no_signature_nor_one_with_the_public_key_as_a_secret_counts(api: Api, provider: Issuer) -> None:
    head, claims, _ = provider.token().split(".")
    public = provider.key.as_pem(private=False)
    confused = f"{encoded({'alg': 'HS256', 'kid': provider.key.kid})}.{claims}"
    signature = hmac.digest(public, confused.encode(), "sha256")
    for forged in (
        f"{head}.{claims}.",
        f"{encoded({'alg': 'none'})}.{claims}.",
        f"{confused}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}",
        "a.b.c",
        "..",
    ):
        assert api.client(forged).get("/v1/labels").status_code == 401, forged


@pytest.mark.parametrize(
    "head",
    [
        {"alg": "RS256", "kid": "1", "crit": 1},
        {"alg": "RS256", "kid": "1", "crit": [{}]},
        {"alg": {}, "kid": []},
        {"alg": "RS256", "kid": "1", "b64": 0},
        [],
        None,
    ],
    ids=str,
)
def test_whatever_a_stranger_writes_into_a_head_is_refused(api: Api, head: Any) -> None:
    bodies: tuple[Any, ...] = ({}, [], 1)
    for claims in bodies:
        assert api.client(f"{encoded(head)}.{encoded(claims)}.AAAA").get("/v1/labels").status_code == 401


def encoded(header: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")


def test_who_has_no_role_may_do_nothing_and_is_told_why(api: Api, provider: Issuer) -> None:
    for roles in ([], ["others"], "others", None, 7, [["moderators"]]):
        found = api.client(provider.token(realm_access={"roles": roles})).get("/v1/labels")
        assert found.status_code == 403, roles
        assert "no role is known for olga" in found.json()["detail"]
    assert api.client(provider.token(preferred_username="a\nb")).get("/v1/labels").status_code == 403
    assert {one["who"] for one in api.tokens.access_log()} == {"nobody known"}


def known(provider: Issuer, now: list[float]) -> tuple[OidcProvider, int]:
    """One that knows the provider's keys, by a clock that is set by hand; and how often they have been asked for."""
    raw = {"oidc.issuer": provider.url, "oidc.client_id": "streamtag", "oidc.role_claim": "realm_access.roles"}
    settings = load_settings(environ={}, overrides={**raw, "oidc.roles": ROLES}).settings.oidc
    found = OidcProvider(settings, clock=lambda: now[0])
    assert found.bearer(provider.token()) is not None
    return found, provider.looked


def test_new_keys_are_found_and_unknown_ones_do_not_make_us_ask_for_ever(provider: Issuer) -> None:
    now = [0.0]
    found, looked = known(provider, now)
    for _ in range(5):
        assert found.bearer(provider.token(key=RSAKey.generate_key(2048, auto_kid=True))) is None
    assert provider.looked == looked
    provider.rotate()
    assert found.bearer(provider.token()) is None  # too soon after the last look
    now[0] += _SOONEST_S
    assert found.bearer(provider.token()) is not None
    assert provider.looked == looked + 1


def test_without_the_provider_known_keys_stand_and_others_are_told(tmp_path: Path) -> None:
    with issuer() as gone:
        token = gone.token()
        settings = {"oidc.issuer": gone.url, "oidc.client_id": "streamtag", "oidc.role_claim": "realm_access.roles"}
        before = OidcProvider(load_settings(environ={}, overrides={**settings, "oidc.roles": ROLES}).settings.oidc)
        assert before.bearer(token) is not None
    assert before.bearer(token) is not None
    with running(tmp_path, **settings, **{"oidc.roles": ROLES}) as api:
        assert api.client(token).get("/v1/labels").status_code == 503
        assert api.as_(Role.VIEWER).get("/v1/labels").status_code == 200


@pytest.mark.parametrize("keys", [{}, {"keys": [{"kty": "none"}]}, {"keys": 1}])
def test_keys_that_are_none_are_no_answer_and_known_ones_stand(keys: dict[str, Any]) -> None:
    with issuer() as found:
        now = [0.0]
        before, _ = known(found, now)
        token, answer = found.token(), found.answer
        setattr(found, "answer", lambda path: keys if path == "/jwks" else answer(path))  # noqa: B010 - a method
        now[0] += 100_000
        assert before.bearer(token) is not None
        with pytest.raises(UnavailableError, match="does not answer as it should"):
            known(found, now)


def test_a_provider_that_is_slow_keeps_nobody_waiting_whose_key_is_known(
    provider: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    found, looked = known(provider, now)
    assert found.bearer(provider.token(exp=1)) is None
    now[0] += _SOONEST_S
    assert found.bearer(provider.token(exp=1)) is None
    assert provider.looked == looked, "an old token says nothing about keys"
    asked, go = threading.Event(), threading.Event()

    def slow(_url: str) -> dict[str, Any]:
        asked.set()
        assert go.wait(20)
        raise UnavailableError("too late")

    monkeypatch.setattr(found, "_get", slow)
    stranger = threading.Thread(target=found.bearer, args=("a.b.c",))
    stranger.start()
    assert asked.wait(20)
    try:
        assert found.bearer(provider.token()) is not None  # and returns while the other one waits
        assert found.bearer("a.b.c") is None
    finally:
        go.set()
        stranger.join(20)


def test_while_no_keys_are_known_strangers_make_nobody_look_again_so_soon_nor_wait(
    provider: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, looks, go = [0.0], list[str](), threading.Event()
    raw = {"oidc.issuer": provider.url, "oidc.client_id": "streamtag", "oidc.role_claim": "realm_access.roles"}
    found = OidcProvider(
        load_settings(environ={}, overrides={**raw, "oidc.roles": ROLES}).settings.oidc, clock=lambda: now[0]
    )

    def away(url: str) -> dict[str, Any]:
        looks.append(url)
        if len(looks) == 2:
            assert go.wait(20)
        raise UnavailableError("away")

    def refused() -> None:
        with pytest.raises(UnavailableError):
            found.bearer("a.b.c")

    monkeypatch.setattr(found, "_get", away)
    for _ in range(20):
        refused()
    assert len(looks) == 1
    now[0] += _SOONEST_S
    looking = threading.Thread(target=refused)
    looking.start()
    try:
        wait_until(lambda: len(looks) == 2, 20, "another look is under way")
        begun = time.monotonic()
        refused()  # and does not wait for the look that is under way
        assert time.monotonic() - begun < 15
    finally:
        go.set()
        looking.join(20)
    monkeypatch.undo()
    assert len(looks) == 2
    now[0] += _SOONEST_S
    assert found.bearer(provider.token()) is not None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"oidc.issuer": "http://login.example", "oidc.client_id": "x"}, "https"),
        ({"oidc.issuer": "https://login.example"}, "client_id is missing"),
        ({"oidc.issuer": "https://login.example", "oidc.client_id": "x", "oidc.roles": "{a: king}"}, "operator"),
    ],
)
def test_settings_that_would_let_anybody_in_are_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={}, overrides=settings)
    assert said in str(caught.value)


def test_signing_in_at_a_real_provider_opens_the_same_session(tmp_path: Path) -> None:
    users = [
        User(sub="u-1", claims={"preferred_username": "olga", "roles": ["moderators"]}),
        User(sub="u-2", claims={"preferred_username": "eve", "roles": []}),
    ]
    with run_server_in_thread(user_claims=users, require_nonce=True) as server:
        settings = {"oidc.issuer": f"http://localhost:{server.server_port}", "oidc.client_id": "streamtag"}
        settings |= {"oidc.client_secret": "s3cret", "oidc.roles": ROLES}
        with running(tmp_path, **settings) as api:
            browser = api.anonymous
            back = signed_in_there(browser, "u-1")
            stranger = api.client("x")  # somebody whom the address was sent to
            assert stranger.get(back).status_code == 401
            arrived = browser.get(back, follow_redirects=False)
            assert (arrived.status_code, arrived.headers["location"]) == (303, "/console/")
            assert "httponly" in arrived.headers["set-cookie"].lower()
            session = browser.get("/v1/session").json()
            assert (session["name"], session["role"]) == ("oidc:olga", "operator")
            headers = {"X-CSRF-Token": session["csrf"]}
            assert browser.patch("/v1/thresholds", json=MOVE).status_code == 403
            assert browser.patch("/v1/thresholds", json=MOVE, headers=headers).status_code == 200
            assert browser.get(back, follow_redirects=False).status_code == 401  # once
            browser.cookies.delete(COOKIE)
            assert browser.get(signed_in_there(browser, "u-2"), follow_redirects=False).status_code == 403
            assert browser.get("/v1/session").status_code == 401
            refused = [one for one in api.tokens.access_log() if one["what"] == "GET /v1/session/oidc/callback"]
            assert [one["who"] for one in refused] == ["nobody known"]


def signed_in_there(browser: Any, sub: str) -> str:
    """Where the provider sends the browser back to."""
    there = browser.get("/v1/session/oidc", follow_redirects=False)
    assert there.status_code == 302
    url = httpx.URL(there.headers["location"])
    assert url.params["code_challenge_method"] == "S256"
    back = httpx.URL(httpx.post(url, data={"sub": sub}).headers["location"])
    return str(back.copy_with(scheme=None, host=None)) if back.host == "testserver" else str(back)


def test_without_a_provider_there_is_nowhere_to_go(tmp_path: Path) -> None:
    with running(tmp_path) as api:
        assert api.anonymous.get("/v1/session/oidc").status_code == 404
        assert api.anonymous.get("/v1/session/oidc/callback?state=x&code=y").status_code == 404
        assert api.client("a.b.c").get("/v1/labels").status_code == 401
