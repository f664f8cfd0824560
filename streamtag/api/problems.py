"""Errors as RFC 9457 problem documents: what was wrong, where, and how to mend it."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic_core import PydanticSerializationError
from starlette.exceptions import HTTPException

from streamtag.api.scoring import OverloadedError
from streamtag.api.strict import MOST_PROBLEMS
from streamtag.control.approval import ApprovalError
from streamtag.control.freeze import FrozenError
from streamtag.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
    SettingsError,
    StreamtagError,
    UnavailableError,
)

__all__ = [
    "MEDIA_TYPE",
    "TITLES",
    "ForbiddenError",
    "PreconditionError",
    "UnauthorizedError",
    "answer",
    "install",
    "problem",
]

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_MOST_SAID = 500
"""Characters of one problem of a field."""


class UnauthorizedError(StreamtagError):
    """Nobody is known by what the request brings."""


class ForbiddenError(StreamtagError):
    """Whoever asks may not do this."""


class PreconditionError(StreamtagError):
    """The request rests on a state that is not the present one."""


_STATUS: Sequence[tuple[type[StreamtagError], int, str]] = (
    (UnauthorizedError, 401, "who asks is not known"),
    (ForbiddenError, 403, "not allowed"),
    (NotFoundError, 404, "not found"),
    (ConflictError, 409, "somebody else was first"),
    (PreconditionError, 412, "the state has changed"),
    (ApprovalError, 403, "needs a second person"),
    (FrozenError, 423, "frozen"),
    (RefusedError, 422, "refused"),
    (OverloadedError, 429, "too much at once"),
    (UnavailableError, 503, "a service does not answer"),
    (SettingsError, 400, "not understood"),
)


TITLES: Mapping[int, str] = {
    408: "too slow",
    413: "too long",
    **{status: title for _, status, title in reversed(_STATUS)},
}
"""What each status means; of several meanings the first above."""


def install(app: FastAPI, routes: Sequence[APIRoute]) -> None:
    """Every error of the app becomes a problem document; ``routes`` are all of them."""
    app.state.routes = routes
    app.add_exception_handler(StreamtagError, answer)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(UnicodeEncodeError, _of_unicode)
    app.add_exception_handler(PydanticSerializationError, _of_answer)
    app.add_exception_handler(Exception, _of_fault)


def problem(status: int, title: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    """A problem document as a response."""
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return _Document(content, status, headers, MEDIA_TYPE)


class _Document(JSONResponse):
    """In ASCII: what is quoted from a request may be no text that UTF-8 could hold (a lone surrogate)."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":")).encode()


def answer(request: Request, error: Exception) -> JSONResponse:
    """One of our errors as a problem document."""
    assert isinstance(error, StreamtagError), "installed for these"
    status, title = next(((s, t) for kind, s, t in _STATUS if isinstance(error, kind)), (500, "failed"))
    more: dict[str, Any] = {"hint": error.hint} if error.hint else {}
    if isinstance(error, RefusedError) and error.problems:
        more["problems"] = list(error.problems[:MOST_PROBLEMS])
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    if isinstance(error, OverloadedError):
        headers = {"Retry-After": str(error.retry_after_s)}
    return problem(status, title, error.message, headers, **more, **_of_protocol(request, error.message))


def _of_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError), "installed for these"
    # Never what was sent: it may be content.
    found = error.errors()
    problems = [_shortened(f"{'.'.join(map(str, one['loc']))}: {one['msg']}") for one in found[:MOST_PROBLEMS]]
    detail = f"{len(found)} fields of the request are not valid"
    return problem(422, "not valid", detail, problems=problems, **_of_protocol(request, "; ".join(problems)))


def _shortened(said: str) -> str:
    """The name of an unknown field may be as long as the request."""
    return said if len(said) <= _MOST_SAID else f"{said[:_MOST_SAID]} …"


def _of_unicode(request: Request, _error: Exception) -> JSONResponse:
    said = "the request holds a lone surrogate (\\ud800 to \\udfff), which is no text"
    return problem(422, "not valid", said, **_of_protocol(request, said))


def _of_answer(request: Request, _error: Exception) -> JSONResponse:
    # Not what it was: that quotes the answer. Nor the path: it may hold names.
    route = getattr(request.scope.get("route"), "path", "none")
    log.error("the answer to %s %s cannot be written as JSON", request.method, route)
    return _failed(request)


def _of_fault(request: Request, _error: Exception) -> JSONResponse:
    """Whatever nobody has thought of; the server logs it. What adds the headers of all answers has seen none."""
    response = _failed(request)
    response.headers.update({"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"})
    return response


def _failed(request: Request) -> JSONResponse:
    said = "the server failed at it; its log says how"
    return problem(500, "failed", said, **_of_protocol(request, said))


def _of_protocol(request: Request, said: str) -> dict[str, Any]:
    """What the Open Inference Protocol has in the place of a problem document."""
    return {"error": said} if request.url.path.startswith("/v2/") else {}


def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException), "installed for these"
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # Starlette names the methods of one route; others may serve the same path.
        path, routes = request.url.path, request.app.state.routes
        found = {method for route in routes if route.path_regex.match(path) for method in route.methods or ()}
        headers["Allow"] = ", ".join(sorted(found)) or headers.get("Allow", "")
    title = TITLES[429] if error.status_code == 429 else "not possible"
    said = str(error.detail)
    return problem(error.status_code, title, said, headers or None, **_of_protocol(request, said))
