"""The FastAPI app: routes, errors, limits. Everything it needs is passed in."""

import asyncio
import re
import time
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
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
from streamtag.api.explaining import Explaining
from streamtag.api.openapi import describe
from streamtag.api.scoring import OverloadedError, Scoring
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


_UNTOLD = 65_536
_UPLOAD_S = 10.0
_SCORING = re.compile(r"/v1/(moderations|score)|/v2/models/.*/infer")


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
    app.state.liveness = LivenessProbe(parts.store, parts.settings)
    problems.install(app, api_routes())
    for router in routers():
        app.include_router(router)
    describe(app, api_routes())
    site.install(app)
    app.add_middleware(_BodyLimit, most=parts.settings.api.max_body_bytes)
    api = parts.settings.api
    app.add_middleware(_Crowd, most=api.max_requests, most_bytes=api.max_request_bytes)
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


class _Crowd:
    """Turns scoring requests away while too many are being answered, before anything of them is read.

    What is read takes its turn in the event loop, where no deadline counts. Their length says how long that takes, and
    scoring, too: so it is bounded beside their number; one that is longer than the bound is let in alone.
    """

    def __init__(self, app: ASGIApp, most: int, most_bytes: int) -> None:
        self._app = app
        self._most, self._most_bytes = most, most_bytes
        self._now = self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not _SCORING.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        length = _length(scope)
        if self._now >= self._most or (self._now and self._bytes + length > self._most_bytes):
            error = OverloadedError(f"{self._now} requests are being answered", hint="Come again a little later.")
            await problems.answer(Request(scope), error)(scope, receive, send)
            return
        self._now, self._bytes = self._now + 1, self._bytes + length
        try:
            await self._app(scope, receive, send)
        finally:
            self._now, self._bytes = self._now - 1, self._bytes - length


def _length(scope: Scope) -> int:
    """What a request says of its length; of one that comes in pieces, a guess."""
    told = Headers(scope=scope).get("content-length", "")
    return int(told) if told.isdecimal() else _UNTOLD


class _BodyLimit:
    """Refuses a body that is too long, also one that does not say its length, or too slow; notes when it was here.

    One that is never sent to its end would hold its place among those that are answered for ever.
    """

    def __init__(self, app: ASGIApp, most: int, most_s: float = _UPLOAD_S) -> None:
        self._app = app
        self._most, self._most_s = most, most_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen, deadline, state = 0, 0.0, scope.setdefault("state", {})

        async def limited() -> Message:
            nonlocal seen, deadline
            if "arrived" in state:
                return await receive()
            now = asyncio.get_running_loop().time()
            deadline = deadline or now + self._most_s
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the request was not sent to its end within {self._most_s:g} s") from None
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise HTTPException(413, f"the request is longer than {self._most} bytes (api.max_body_bytes)")
            if not message.get("more_body", False):
                # From here on its time is ours: what a slow client takes to send is not.
                state["arrived"] = time.monotonic()
            return message

        await self._app(scope, limited, send)
