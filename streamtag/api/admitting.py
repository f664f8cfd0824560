"""What is let in, and how much of it is read: who asks is known first, and room is taken by what has come.

Three layers, from the outside: `Crowd` bounds what is scored at once, `Known` turns strangers away before anything of
their request is read, `BodyLimit` bounds its length and the time that it takes.
"""

import asyncio
import re
import time
from collections.abc import Callable

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamtag.api import problems
from streamtag.api.scoring import OverloadedError
from streamtag.errors import StreamtagError

__all__ = ["BodyLimit", "Crowd", "Known"]

_UPLOAD_S = 10.0
_SIGN_IN = "/v1/session"
_SIGN_IN_BYTES = 4_000
"""A token and its braces; anybody may send it."""
_CHANGE_BYTES = 4_000_000
"""Cut-offs of as many segments as a request may have."""
_COMING = 4
"""So many of the longest scoring requests may be half here at once: they take memory, and nobody's turn."""
_SCORING = re.compile(r"/v1/(moderations|score)|/v2/models/.*/infer")
_BODIES = frozenset({"POST", "PUT", "PATCH"})


class Crowd:
    """Turns scoring requests away while too many are being answered.

    What has come takes its turn in the event loop, where no deadline counts. Their length says how long that takes, and
    scoring, too: so it is bounded beside their number; one that is longer than the bound is let in alone. A request
    takes its place when the last of it is here, not before: one that says it is long and sends nothing keeps nobody
    out. While there is no room, none is read.

    Args:
        app: what is behind it.
        most: requests at once.
        most_bytes: of all of them.
        most_coming: bytes of those that are not here to their end.
    """

    def __init__(self, app: ASGIApp, most: int, most_bytes: int, most_coming: int) -> None:
        self._app = app
        self._most, self._most_bytes, self._most_coming = most, most_bytes, most_coming
        self._now = self._bytes = self._coming = 0

    @classmethod
    def coming(cls, longest: int) -> int:
        """Bytes that may be half here, where a request has at most ``longest``."""
        return _COMING * longest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if not _is_scoring(scope):
            await self._app(scope, receive, send)
            return
        if self._full(_told(scope)):
            error = OverloadedError(self._said, hint="Come again a little later.")
            await problems.answer(Request(scope), error)(scope, receive, send)
            return
        here, entered = 0, False

        async def counted() -> Message:
            nonlocal here, entered
            message = await receive()
            if entered:
                return message
            size = len(message.get("body", b""))
            here, self._coming = here + size, self._coming + size
            if message.get("more_body", False):
                if self._coming > self._most_coming:
                    raise _turned_away("too much is being sent")
                return message
            if self._full(here):
                raise _turned_away(self._said)
            self._coming -= here
            self._now, self._bytes, entered = self._now + 1, self._bytes + here, True
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            if entered:
                self._now, self._bytes = self._now - 1, self._bytes - here
            else:
                self._coming -= here

    def _full(self, length: int) -> bool:
        return self._now >= self._most or (self._now > 0 and self._bytes + length > self._most_bytes)

    @property
    def _said(self) -> str:
        return f"{self._now} requests are being answered"


class Known:
    """Finds out who asks before anything is read of a request that may bring much.

    Args:
        app: what is behind it.
        caller: who asks; one of our errors where nobody known does.
    """

    def __init__(self, app: ASGIApp, caller: Callable[[Request], object]) -> None:
        self._app = app
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if _brings_much(scope):
            request = Request(scope)
            try:
                await run_in_threadpool(self._caller, request)
            except StreamtagError as error:
                await problems.answer(request, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses a body that is too long, also one that does not say its length, or too slow; notes when it was here.

    One that is never sent to its end would hold its connection, and what is here of it, for ever.

    Args:
        app: what is behind it.
        most: bytes of a scoring request; others have less to say.
        most_s: seconds until the last of it must be here.
    """

    def __init__(self, app: ASGIApp, most: int, most_s: float = _UPLOAD_S) -> None:
        self._app = app
        self._most, self._most_s = most, most_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen, deadline, state = 0, 0.0, scope.setdefault("state", {})
        most, where = self._limit(scope)

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
            if seen > most:
                raise HTTPException(413, f"the request is longer than {most} bytes{where}")
            if not message.get("more_body", False):
                # From here on its time is ours: what a slow client takes to send is not.
                state["arrived"] = time.monotonic()
            return message

        await self._app(scope, limited, send)

    def _limit(self, scope: Scope) -> tuple[int, str]:
        """Bytes of a body, and the setting that says so."""
        own = _SIGN_IN_BYTES if scope["path"] == _SIGN_IN else _CHANGE_BYTES
        if _is_scoring(scope) or self._most < own:
            return self._most, " (api.max_body_bytes)"
        return own, ""


def _is_scoring(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] == "POST" and _SCORING.fullmatch(scope["path"]) is not None


def _brings_much(scope: Scope) -> bool:
    """Whether it is a request with a body that somebody known must send: signing in is everybody's."""
    if scope["type"] != "http" or scope["method"] not in _BODIES or scope["path"] == _SIGN_IN:
        return False
    return bool(scope["path"].startswith(("/v1/", "/v2/")))


def _told(scope: Scope) -> int:
    """What a request says of its length; 0 where it comes in pieces."""
    told = Headers(scope=scope).get("content-length", "")
    return int(told) if told.isdecimal() else 0


def _turned_away(said: str) -> HTTPException:
    # Of ours FastAPI would make a body that cannot be read.
    return HTTPException(429, said, {"Retry-After": str(OverloadedError.retry_after_s)})
