"""The audit stream: who changed what, and changes as they are committed."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from streamtag.api.access import Access, Viewer
from streamtag.api.changing import Limit, settings_of, store_of
from streamtag.api.paging import STREAM_ID, Cursor, StreamId, page, position_of
from streamtag.api.problems import ForbiddenError
from streamtag.api.room import Room
from streamtag.control.audit_note import AuditNote
from streamtag.control.audit_proof import prove
from streamtag.control.store import ControlStore
from streamtag.errors import RefusedError, UnavailableError

__all__ = ["router"]

router = APIRouter(prefix="/v1")

T = TypeVar("T")
_ENTRY = re.compile(STREAM_ID)
_SSE_WAIT_S = 10.0
_ASK_AGAIN_S = 5.0
"""So long a stream goes on before it looks again who reads: tokens are revoked, and sessions end."""
_MOST_STREAMS = 64
_STREAM_ROOM = Room(_MOST_STREAMS, "following changes")
_STREAM_THREADS = ThreadPoolExecutor(_MOST_STREAMS, "changes")
"""One for each stream, made when there is one: it waits for changes, and must keep nobody waiting for a thread."""
_PROOF_ROOM = Room(2, "reading the whole audit record")


class _Stream(StreamingResponse):
    """Has a place for as long as somebody reads it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with _STREAM_ROOM.place():
            await super().__call__(scope, receive, send)


@router.get("/audit", tags=["audit"])
def audit(request: Request, _who: Viewer, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Who changed what, when and why, newest first."""
    found = store_of(request).audit(limit + 1, before=position_of(cursor, StreamId))
    return page(found, limit, lambda one: {"id": one.id, **one.fields}, lambda one: one.id)


@router.get("/changes", tags=["audit"], response_class=StreamingResponse)
async def changes(request: Request, _who: Viewer) -> StreamingResponse:
    """Every change as it is committed, as server-sent events; `Last-Event-ID` goes on behind one."""
    store = store_of(request)
    newest = await asyncio.to_thread(store.audit, 1)
    after = request.headers.get("last-event-id") or (newest[0].id if newest else "0-0")
    if not _ENTRY.match(after):
        raise RefusedError("Last-Event-ID: not one of this stream", hint="Send the `id` of the last event.")
    return _Stream(_events(request, store, after), media_type="text/event-stream")


@router.get("/audit/verify", tags=["audit"])
def verify_audit(request: Request, _who: Viewer) -> dict[str, Any]:
    """Reads the whole record, and proves every link of its chain; `fault` names the first that does not stand.

    As `streamtag audit verify`: where all stands, the API's host notes the newest entry (`head`), and the next proof
    tells whether Redis has lost it; `noted` is what this one was compared with.
    """
    settings = settings_of(request)
    with _PROOF_ROOM.place():
        proof = prove(store_of(request).audit_log, AuditNote(settings.state_dir, settings.redis.namespace))
    return {
        "ok": proof.found.fault is None,
        **msgspec.to_builtins(proof.found),
        "noted": None if proof.noted is None else msgspec.to_builtins(proof.noted),
        "warnings": [proof.unwritten] if proof.unwritten else [],
    }


async def _events(request: Request, store: ControlStore, after: str) -> AsyncIterator[str]:
    yield ": follows\n\n"
    looked = time.monotonic()
    while not await request.is_disconnected():
        if time.monotonic() - looked >= _ASK_AGAIN_S:
            if not await _waited(_may_go_on, request):
                return
            looked = time.monotonic()
        try:
            entries = await _waited(store.follow_audit, after, _SSE_WAIT_S)
        except UnavailableError:
            yield ": Redis does not answer\n\n"
            await asyncio.sleep(1)
            continue
        for entry in entries:
            after = entry.id
            yield f"id: {entry.id}\nevent: change\ndata: {json.dumps(dict(entry.fields))}\n\n"
        if not entries:
            yield ": nothing new\n\n"


async def _waited(call: Callable[..., T], *given: object) -> T:
    """What a call comes to, on a thread of the streams."""
    return await asyncio.get_running_loop().run_in_executor(_STREAM_THREADS, call, *given)


def _may_go_on(request: Request) -> bool:
    """Whether who asked may still read. That Redis is away ends nothing: no change comes from there either."""
    access: Access = request.app.state.access
    try:
        return access.identify(request) is not None
    except ForbiddenError:
        return False
    except UnavailableError:
        return True
