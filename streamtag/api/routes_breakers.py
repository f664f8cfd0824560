"""Breakers: labels whose tags ask for review only."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field

from streamtag.api.access import Operator, Viewer
from streamtag.api.changing import allow, store_of
from streamtag.api.idempotency import IdempotentRoute
from streamtag.api.strict import RequestBody
from streamtag.control.breakers import BreakerLog
from streamtag.control.proposal import Who

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["breakers"], route_class=IdempotentRoute)


class Trust(RequestBody):
    """Why a label is trusted again."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2_000)


@router.get("/breakers")
def breakers(request: Request, _who: Viewer) -> dict[str, Any]:
    """Every label that ever had an open breaker: whether it is open, since when, by whom and why."""
    present = BreakerLog(store_of(request)).present()
    items = [{"label": name, **msgspec.to_builtins(state)} for name, state in sorted(present.labels.items())]
    return {"number": present.number, "items": items}


@router.post("/breakers/{label}/close")
def close_breaker(request: Request, label: str, body: Trust, who: Operator) -> dict[str, Any]:
    """Trust a label again; its rule can open it anew, not sooner than a window from now."""
    allow(who, {label})
    log = BreakerLog(store_of(request))
    closed = log.close(label, Who(who.name, body.reason))
    return {"closed": closed, "label": label, **msgspec.to_builtins(log.present().labels[label])}
