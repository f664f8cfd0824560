"""The FastAPI app: routes, errors, limits. Everything it needs is passed in."""

import time
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
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
    routes_models,
    routes_oidc,
    routes_releases,
    routes_scoring,
    routes_session,
    routes_stats,
    routes_thresholds,
    routes_tokens,
)
from streamtag.api.access import Access
from streamtag.api.admitting import BodyLimit, Crowd, Known
from streamtag.api.explaining import Explaining
from streamtag.api.openapi import describe
from streamtag.api.scoring import Scoring
from streamtag.console import site
from streamtag.control.liveness import LivenessProbe
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
    routes_models,
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
    app.state.liveness = LivenessProbe(parts.store, parts.settings, shared=True)
    problems.install(app, api_routes())
    for router in routers():
        app.include_router(router)
    describe(app, api_routes())
    site.install(app)
    api = parts.settings.api
    app.add_middleware(BodyLimit, most=api.max_body_bytes)
    app.add_middleware(Known, caller=parts.access.caller)
    coming = Crowd.coming(api.max_body_bytes)
    app.add_middleware(Crowd, most=api.max_requests, most_bytes=api.max_request_bytes, most_coming=coming)
    app.add_middleware(_Measured, parts=parts)
    return app


def routers() -> list[APIRouter]:
    """All of them."""
    return [module.router for module in _ROUTES]


def api_routes() -> list[APIRoute]:
    """Of all of them."""
    return [route for router in routers() for route in router.routes if isinstance(route, APIRoute)]


class _Measured:
    """Counts and times answers up to their first byte, and adds the headers that all of them have."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, answered = time.perf_counter(), False

        async def measured(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                self._record(scope, started, message["status"])
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._app(scope, receive, measured)
        finally:
            if not answered:
                self._record(scope, started, 500)

    def _record(self, scope: Scope, started: float, status: int) -> None:
        # The pattern of the route, never the path: names in it would make series without end.
        route = getattr(scope.get("route"), "path", "none")
        facts = {"method": scope["method"], "route": route, "status": str(status)}
        self._parts.metrics.record("streamtag.api.duration", time.perf_counter() - started, **facts)
        self._parts.metrics.set("streamtag.api.waiting", self._parts.scoring.waiting)
