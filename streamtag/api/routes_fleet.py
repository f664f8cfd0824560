"""The fleet: what every worker decides by, whether it is stopped, and letting it go on."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field

from streamtag.api.access import Operator, Viewer
from streamtag.api.changing import allow, settings_of, store_of, with_liveness
from streamtag.api.idempotency import IdempotentRoute
from streamtag.api.openapi import WORKER
from streamtag.api.strict import RequestBody
from streamtag.control.fleet import read_fleet
from streamtag.control.stops import StopStore
from streamtag.dead_letters.lift import lift_stop

__all__ = ["router"]

router = APIRouter(prefix="/v1/fleet", tags=["fleet"], route_class=IdempotentRoute)


_SHA256 = "5d" * 32
_WHY = "51 dead letters in a row on content/0 (dead_letters.max_consecutive is 50)"
# Of a group that has stopped: FastAPI leaves out of an example what is null.
_EXAMPLE: dict[str, Any] = {
    "group": "streamtag-tagger",
    "release": 7,
    "sha256": _SHA256,
    "revision": 6,
    "bundle": "moderation@2",
    "author": "olga",
    "reason": "raid on the forum",
    "at": "2026-11-28T03:12:09Z",
    "live": "yes",
    "live_since": "2026-11-28T03:12:09.184Z",
    "live_reasons": [],
    "stop": {
        "group": "streamtag-tagger",
        "reason": _WHY,
        "at": "2026-11-28T03:13:58Z",
        "worker": "streamtag-tagger-host-0",
        "counts": {"dead": 51, "records": 51},
    },
    "workers": [
        {
            "worker": "streamtag-tagger-host-0",
            "host": "host",
            "pid": 4711,
            "group": "streamtag-tagger",
            "member_id": "rdkafka-0c5f",
            "slot": "streamtag-tagger-host-0",
            "started_at": "2026-11-27T18:00:00Z",
            "beat_at": "2026-11-28T03:14:00Z",
            "release": 7,
            "release_sha256": _SHA256,
            "revision": 6,
            "applied_at_ms": 1795835529184,
            "effective_from": {"content/0": 81203},
            "positions": {"content/0": 81999},
            "lag": 120,
            "latency_p50_ms": 74,
            "latency_p99_ms": 156,
            "last_error": "2026-11-27T22:15:03Z Redis at 127.0.0.1:6379 does not answer",
            "ready": False,
            "reasons": [f"stopped for dead letters at 2026-11-28T03:13:58Z by streamtag-tagger-host-0: {_WHY}"],
            "experiments": {},
        }
    ],
}
_ANSWER = {"schema": {"properties": {"workers": {"type": "array", "items": WORKER}}}, "example": _EXAMPLE}


class Resume(RequestBody):
    """Why a stopped group may go on."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "producer fixed"}]})

    reason: str = Field(min_length=1, max_length=2_000)


@router.get("", responses={200: {"content": {"application/json": _ANSWER}}})
def fleet(request: Request, _who: Viewer) -> dict[str, Any]:
    """Every worker of the tagger's group, whether the champion is live everywhere, and what has stopped the group.

    Of a worker, `lag` is records behind; `latency_p50_ms` and `latency_p99_ms` are from the timestamp of an event's
    record to the commit of its tags, over the last 15 s: never too low, at most 4 % too high; null: nothing was
    committed.
    """
    store, settings = store_of(request), settings_of(request)
    group = settings.tagger.group
    current = store.current()
    beats = read_fleet(store, group).heartbeats
    live = {} if current is None else with_liveness(request, current)
    stop = StopStore(settings, store=store).get(group)
    return {
        "group": group,
        **live,
        "stop": None if stop is None else msgspec.to_builtins(stop),
        "workers": [msgspec.to_builtins(beat) for beat in beats],
    }


@router.post("/resume")
def resume(request: Request, body: Resume, who: Operator) -> dict[str, Any]:
    """Let a group go on that too many dead letters have stopped; recorded with author and reason.

    What its input topics hold now may pass, whatever it is: `until` names where each partition ends. Dead letters among
    what is written later count anew.
    """
    allow(who, None)
    settings = settings_of(request)
    found = lift_stop(settings, store_of(request), who.name, body.reason)
    return {
        "group": settings.tagger.group,
        "lifted": [msgspec.to_builtins(mark) for mark in found.marks],
        "until": found.until,
    }
