"""Changes that can be sent again: the same `Idempotency-Key` gets the answer of the first, and changes nothing more.

Redis holds, for a day, the digest of a request and the answer that it got. Of a request that was refused nothing is
held: it changed nothing, and may be tried again with the same key. One whose outcome is unknown is refused for ten
minutes: long enough to look.
"""

import base64
import hashlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from streamtag.api.access import Access, needed_role
from streamtag.control.connection import guarded
from streamtag.control.store import ControlStore
from streamtag.control.tokens import Role
from streamtag.errors import ConflictError, RefusedError, StreamtagError, UnavailableError

__all__ = ["HEADER", "IdempotentRoute"]

log = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
KEPT_S = 86_400
"""So long the answer is kept."""
_RUNNING_S = 600
"""So long a request may run; one whose server died is forgotten after it."""
_MOST_KEY = 200
_METHODS = frozenset({"POST", "PUT", "PATCH"})
_HEADERS = ("content-type", "etag")
_REFUSALS = (StreamtagError, RequestValidationError, HTTPException)


class _Answer(msgspec.Struct, frozen=True):
    """Of a request with this digest; no status: it is still being answered."""

    digest: str
    status: int | None = None
    headers: dict[str, str] = {}
    body: str = ""  # base64: bytes as they were sent


def _declared(
    _key: Annotated[
        str | None,
        Header(
            alias=HEADER,
            min_length=1,
            max_length=_MOST_KEY,
            description="Any text of your own, e.g. a UUID: for a day, the same request with it is carried out once.",
        ),
    ] = None,
) -> None:
    """Puts the header into the OpenAPI document, and checks its length."""


_DECLARED = Depends(_declared)


class IdempotentRoute(APIRoute):
    """A route that heeds the key wherever it changes something: what a viewer may do changes nothing."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        methods = options.get("methods") or ()
        self.changes = bool(_METHODS & set(methods)) and needed_role(endpoint) is not Role.VIEWER
        before = list(options.get("dependencies") or ())  # including a router makes its routes anew
        if self.changes and _DECLARED not in before:
            options["dependencies"] = [*before, _DECLARED]
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI calls it."""
        handle = super().get_route_handler()

        async def once(request: Request) -> Response:
            key = request.headers.get(HEADER)
            if not self.changes or not key or len(key) > _MOST_KEY:
                return await handle(request)
            access: Access = request.app.state.access
            who = await run_in_threadpool(access.caller, request)
            digest = await _digest(request)
            return await _once(_Kept(request.app.state.store, who.name, key), digest, lambda: handle(request))

        return once if self.changes else handle


async def _once(kept: "_Kept", digest: str, handle: Callable[[], Awaitable[Response]]) -> Response:
    before = await run_in_threadpool(kept.begin, digest)
    if before is not None:
        return _again(before, digest)
    try:
        response = await handle()
    except _REFUSALS as error:
        # A service that went silent may have done it all the same, and so may whatever nobody thought of: such a
        # request must not be carried out a second time because it is sent again.
        if not isinstance(error, UnavailableError):
            await run_in_threadpool(kept.forget)
        raise
    if response.status_code >= 300:
        await run_in_threadpool(kept.forget)
    else:
        await run_in_threadpool(kept.put, digest, response)
    return response


def _again(before: _Answer, digest: str) -> Response:
    if before.digest != digest:
        raise RefusedError(
            f"{HEADER}: another request was sent with it within the last day",
            hint="Choose a new key for each change, e.g. a UUID.",
        )
    if before.status is None:
        raise ConflictError(
            "the same request is being carried out, or nobody knows whether it was: a service did not answer",
            hint="Ask again a little later. If this stays, look whether it was done. A new key makes a new request.",
        )
    headers = {**before.headers, "Idempotent-Replayed": "true"}
    return Response(base64.b64decode(before.body), before.status, headers)


async def _digest(request: Request) -> str:
    """Of everything that says what shall be done."""
    parts = request.method, request.url.path, request.url.query, request.headers.get("if-match", "")
    return hashlib.sha256(msgspec.json.encode(parts) + await request.body()).hexdigest()


class _Kept:
    """The answer for one key of one person. Raises `UnavailableError` when Redis does not answer in time."""

    def __init__(self, store: ControlStore, who: str, key: str) -> None:
        self._store = store
        name = hashlib.sha256(msgspec.json.encode((who, key))).hexdigest()
        self._key = f"{store.keys.prefix}idempotency:{name}"

    def begin(self, digest: str) -> _Answer | None:
        """What was kept; None where this request is the first with the key, which nobody else is from now on."""
        with guarded(self._store.where, "look for an earlier request"):
            client, mark = self._store.client, msgspec.json.encode(_Answer(digest))
            while not client.set(self._key, mark, nx=True, ex=_RUNNING_S):
                raw: Any = client.get(self._key)
                if raw is not None:  # else it has ended in this very moment
                    return msgspec.json.decode(raw, type=_Answer)
        return None

    def put(self, digest: str, response: Response) -> None:
        """Keeps an answer."""
        headers = {name: response.headers[name] for name in _HEADERS if name in response.headers}
        body = base64.b64encode(bytes(response.body)).decode()
        answer = _Answer(digest, response.status_code, headers, body)
        self._try(lambda: self._store.client.set(self._key, msgspec.json.encode(answer), ex=KEPT_S))

    def forget(self) -> None:
        """The request was refused, or has failed: it may be tried again."""
        self._try(lambda: self._store.client.delete(self._key))

    def _try(self, write: Callable[[], object]) -> None:
        """What was done is done: a Redis that is away now must not make a failure of it."""
        try:
            with guarded(self._store.where, "note how a request has ended"):
                write()
        except UnavailableError as error:
            log.warning("its %s is refused for %d s: %s", HEADER, _RUNNING_S, error.message)
