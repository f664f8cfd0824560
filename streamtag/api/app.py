"""The FastAPI app: routes, errors, limits. Everything it needs is passed in."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamtag import __version__
from streamtag.api import (
    problems,
    routes_audit,
    routes_breakers,
    routes_changes,
    routes_dead_letters,
    routes_experiments,
    routes_fleet,
    routes_inference,
    routes_oidc,
    routes_releases,
    routes_scoring,
    routes_session,
    routes_stats,
    routes_thresholds,
    routes_tokens,
)
from streamtag.api.access import Access
from streamtag.api.explaining import Explaining
from streamtag.api.openapi import describe_problems
from streamtag.api.scoring import Scoring
from streamtag.console import site
from streamtag.control.metrics import MetricSink
from streamtag.control.store import ControlStore
from streamtag.settings import Settings

__all__ = ["Parts", "build", "routers"]

_ABOUT = """
Tags content and security events with many labels, and changes what decides. Every request but the health checks brings
`Authorization: Bearer …`; `streamtag token create` makes tokens. Errors are RFC 9457 problem documents.
"""


_ROUTES = (
    routes_scoring,
    routes_inference,
    routes_thresholds,
    routes_changes,
    routes_breakers,
    routes_releases,
    routes_experiments,
    routes_fleet,
    routes_stats,
    routes_dead_letters,
    routes_audit,
    routes_session,
    routes_oidc,
    routes_tokens,
)


@dataclass(frozen=True)
class Parts:
    """What the routes work with."""

    settings: Settings
    store: ControlStore
    access: Access
    scoring: Scoring
    explaining: Explaining
    metrics: MetricSink


def build(parts: Parts) -> FastAPI:
    """The app; `Scoring` must be started, and is closed by whoever did."""
    app = FastAPI(
        title="streamtag",
        version=__version__,
        description=_ABOUT,
        # Swagger's pages load scripts from elsewhere; the document itself is served.
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings, app.state.store = parts.settings, parts.store
    app.state.access, app.state.scoring = parts.access, parts.scoring
    app.state.explaining = parts.explaining
    problems.install(app, api_routes())
    for router in routers():
        app.include_router(router)
    describe_problems(app, api_routes())
    site.install(app)
    app.add_middleware(_BodyLimit, most=parts.settings.api.max_body_bytes)
    app.middleware("http")(_measured(parts))
    return app


def routers() -> list[APIRouter]:
    """All of them."""
    return [module.router for module in _ROUTES]


def api_routes() -> list[APIRoute]:
    """Of all of them."""
    return [route for router in routers() for route in router.routes if isinstance(route, APIRoute)]


def _measured(parts: Parts) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    async def measure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        started, status = time.perf_counter(), 500
        try:
            response = await call_next(request)
            status = response.status_code
        finally:
            # The pattern of the route, never the path: names in it would make series without end.
            route = getattr(request.scope.get("route"), "path", "none")
            facts = {"method": request.method, "route": route, "status": str(status)}
            parts.metrics.record("streamtag.api.duration", time.perf_counter() - started, **facts)
            parts.metrics.set("streamtag.api.waiting", parts.scoring.waiting)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return measure


class _BodyLimit:
    """Refuses a body that is longer than allowed, also one that says nothing of its length; notes when it was here."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen, state = 0, scope.setdefault("state", {})

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise HTTPException(413, f"the request is longer than {self._most} bytes (api.max_body_bytes)")
            # From here on its time is ours: what a slow client takes to send is not.
            state["arrived"] = time.monotonic()
            return message

        await self._app(scope, limited, send)
