"""Signing in to the console at an OpenID Connect provider: there, and back with the same cookie session."""

import hmac
import secrets
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse

from streamtag.api.access import Access
from streamtag.api.changing import settings_of, store_of
from streamtag.api.problems import ForbiddenError, UnauthorizedError
from streamtag.api.routes_session import sign_in
from streamtag.control.connection import guarded
from streamtag.control.store import ControlStore
from streamtag.control.tokens import digest
from streamtag.errors import NotFoundError

__all__ = ["router"]

router = APIRouter(prefix="/v1/session/oidc", tags=["session"])

_STATE = "streamtag_oidc"
_LASTS_S = 600
"""So long somebody may take to sign in over there."""


class _Begun(msgspec.Struct, frozen=True):
    """A sign-in that has begun; Redis holds it under the digest of its state."""

    nonce: str
    verifier: str


@router.get("", status_code=302, response_class=RedirectResponse)
def begin(request: Request) -> RedirectResponse:
    """Go to the provider to sign in. 404 where none is configured (`oidc.issuer`)."""
    provider = _provider(request)
    state, begun = secrets.token_urlsafe(32), _Begun(secrets.token_urlsafe(32), secrets.token_urlsafe(48))
    url = provider.login_url(_back(request), state=state, nonce=begun.nonce, verifier=begun.verifier)
    store = store_of(request)
    with guarded(store.where, "begin a sign-in"):
        store.client.set(_key(store, state), msgspec.json.encode(begun), ex=_LASTS_S)
    response = RedirectResponse(url, 302)
    # lax: the provider's page sends the browser back. It proves that it is the browser that went.
    secure = _back(request).startswith("https:")
    response.set_cookie(_STATE, state, max_age=_LASTS_S, httponly=True, samesite="lax", secure=secure)
    return response


@router.get("/configured")
def configured(request: Request) -> dict[str, bool]:
    """Whether one can sign in at a provider."""
    access: Access = request.app.state.access
    return {"configured": access.oidc is not None}


@router.get("/callback", status_code=303, response_class=RedirectResponse)
def callback(
    request: Request,
    state: Annotated[str, Query(max_length=500)],
    code: Annotated[str, Query(max_length=5_000, description="Of the provider; missing where it refuses.")] = "",
) -> RedirectResponse:
    """Come back from the provider: opens a session and goes on to the console."""
    provider, store = _provider(request), store_of(request)
    if not hmac.compare_digest(request.cookies.get(_STATE, "").encode(), state.encode()):
        raise UnauthorizedError("this browser did not begin this sign-in", hint="Sign in again.")
    with guarded(store.where, "go on with a sign-in"):
        raw: Any = store.client.getdel(_key(store, state))  # once, whoever comes again
    if raw is None or not code:
        raise UnauthorizedError("the sign-in took too long, was refused, or was done already", hint="Sign in again.")
    begun = msgspec.json.decode(raw, type=_Begun)
    access: Access = request.app.state.access
    try:
        who = provider.signed_in(code, _back(request), nonce=begun.nonce, verifier=begun.verifier)
    except (UnauthorizedError, ForbiddenError):
        access.note_stranger("GET /v1/session/oidc/callback")  # whom no role of ours names, anybody may be
        raise
    response = RedirectResponse("/console/", 303)
    response.delete_cookie(_STATE)
    sign_in(request, response, who)
    return response


def _provider(request: Request) -> Any:
    access: Access = request.app.state.access
    if access.oidc is None:
        raise NotFoundError("no OpenID Connect provider is configured", hint="Set oidc.issuer, or sign in by token.")
    return access.oidc


def _back(request: Request) -> str:
    url = request.url_for("callback")
    return str(url.replace(scheme="https") if settings_of(request).api.behind_tls else url)


def _key(store: ControlStore, state: str) -> str:
    return f"{store.keys.prefix}oidc:{digest(state)}"
