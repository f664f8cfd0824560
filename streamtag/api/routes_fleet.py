"""The fleet: what every worker decides by, whether it is stopped, and letting it go on."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from streamtag.api.access import Operator, Viewer
from streamtag.api.changing import allow, settings_of, store_of, with_liveness
from streamtag.api.idempotency import IdempotentRoute
from streamtag.control.fleet import read_fleet
from streamtag.control.stops import StopStore

__all__ = ["router"]

router = APIRouter(prefix="/v1/fleet", tags=["fleet"], route_class=IdempotentRoute)


class Resume(BaseModel):
    """Why a stopped group may go on."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "producer fixed"}]})

    reason: str = Field(min_length=1, max_length=2_000)


@router.get("")
def fleet(request: Request, _who: Viewer) -> dict[str, Any]:
    """Every worker of the tagger's group, whether the champion is live everywhere, and what has stopped the group."""
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
    """Let a group go on that too many dead letters have stopped; recorded with author and reason."""
    allow(who, None)
    settings = settings_of(request)
    lifted = StopStore(settings, store=store_of(request)).lift(settings.tagger.group, who.name, body.reason)
    return {"group": settings.tagger.group, "lifted": [msgspec.to_builtins(mark) for mark in lifted]}
