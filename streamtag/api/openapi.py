"""What the OpenAPI document says beside what FastAPI finds: errors, all of one form, and what workers say."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.routing import APIRoute

from streamtag.api.access import needed_role
from streamtag.api.problems import MEDIA_TYPE, TITLES
from streamtag.control.fleet import Heartbeat
from streamtag.control.tokens import Role

__all__ = ["WORKER", "describe"]

_PLACE = "#/components/schemas/{name}"
(WORKER,), _STRUCTS = msgspec.json.schema_components([Heartbeat], ref_template=_PLACE)
"""Schema of a heartbeat."""

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string", "description": "The kind of problem, always the same words."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was wrong, and where."},
        "hint": {"type": "string", "description": "How to mend it."},
        "problems": {"type": "array", "items": {"type": "string"}, "description": "What was wrong, up to 100."},
    },
}
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "Always Bearer."}},
    429: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
}


def describe(app: FastAPI, routes: Sequence[APIRoute]) -> None:
    """Has the document of ``app`` name every problem that its routes may answer with, and hold the schemas above."""
    made = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        found = made()
        schemas = found.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(_STRUCTS, Problem=_PROBLEM)
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for route in routes:
            for method in route.methods or ():
                answers = found["paths"][route.path_format][method.lower()]["responses"]
                answers.update({str(status): _answer(status, answers) for status in _statuses(route, method)})
        return found

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation does it


def _statuses(route: APIRoute, method: str) -> Iterator[int]:
    role = needed_role(route.endpoint)
    if role is not None:
        yield from (401, 403)
    if route.path.startswith("/v2/health"):
        yield 503
        return
    yield from (400, 404, 422, 503)
    if method in _CHANGING:
        yield from (401, 403, 408, 413)
        yield from (409, 412, 423) if role is not Role.VIEWER else (409,)
    yield 429


def _answer(status: int, present: dict[str, Any]) -> dict[str, Any]:
    if status == 503 and "503" in present:
        return dict(present["503"])
    answer: dict[str, Any] = {
        "description": TITLES[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in _HEADERS:
        answer["headers"] = _HEADERS[status]
    return answer
