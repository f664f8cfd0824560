"""Signing in to the console with a token, and out: a cookie that no script can read."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ConfigDict, Field

from streamtag.api.access import COOKIE, Access, Viewer, bearer_of
from streamtag.api.changing import settings_of
from streamtag.api.problems import ForbiddenError, UnauthorizedError
from streamtag.api.strict import RequestBody
from streamtag.control.sessions import LASTS_S, Session
from streamtag.control.tokens import Token

__all__ = ["router", "sign_in"]


class SignIn(RequestBody):
    """A token, once."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=1, max_length=200, description="Made with `streamtag token create`.")


def _same_origin(request: Request) -> None:
    """A page elsewhere must not sign anybody in as somebody else."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ForbiddenError("signing in from another site is not allowed")


router = APIRouter(prefix="/v1/session", tags=["session"])


@router.post("", dependencies=[Depends(_same_origin)])
def open_session(request: Request, response: Response, body: SignIn) -> dict[str, Any]:
    """Sign in: sets a cookie for twelve hours, or as long as the token is valid."""
    access: Access = request.app.state.access
    who = access.token(body.token)
    if who is None:
        access.note_stranger("POST /v1/session")
        raise UnauthorizedError("the token is not valid", hint="`streamtag token create` makes one.")
    return _document(sign_in(request, response, who, body.token))


@router.get("")
def session(request: Request, who: Viewer) -> dict[str, Any]:
    """Who asks, and what a session must repeat with each change (`csrf`)."""
    access: Access = request.app.state.access
    value = request.cookies.get(COOKIE)
    found = None if value is None or bearer_of(request) is not None else access.session(value)
    return _document(found or Session(who, ""))


@router.delete("", status_code=204)
def close_session(request: Request, response: Response, _who: Viewer) -> None:
    """Sign out."""
    access: Access = request.app.state.access
    if value := request.cookies.get(COOKIE):
        access.sessions.close(value)
    response.delete_cookie(COOKIE)


def sign_in(request: Request, response: Response, who: Token, secret: str | None = None) -> Session:
    """Opens a session of ``who`` and sets its cookie; see `SessionStore.open`."""
    access: Access = request.app.state.access
    value, session = access.sessions.open(who, secret)
    # A browser on the machine itself comes without the TLS in front, and not each sends a secure cookie there.
    here = request.url.hostname in ("127.0.0.1", "::1", "localhost")
    secure = request.url.scheme == "https" or (settings_of(request).api.behind_tls and not here)
    response.set_cookie(COOKIE, value, max_age=LASTS_S, httponly=True, samesite="strict", secure=secure)
    return session


def _document(session: Session) -> dict[str, Any]:
    who = session.who
    return {
        "name": who.name,
        "role": who.role,
        "labels": who.labels,
        "expires_at": who.expires_at,
        "csrf": session.csrf or None,
    }
