"""Experiments and their verdicts, and the fleet that runs them."""

from itertools import islice
from typing import Any

import msgspec
from fastapi import APIRouter, Request

from streamtag.api.access import Viewer
from streamtag.api.changing import Limit, settings_of, store_of, with_liveness
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.fleet import read_fleet
from streamtag.stats.read_model import ReadModel

__all__ = ["router"]

router = APIRouter(prefix="/v1")


@router.get("/experiments", tags=["experiments"])
def experiments(request: Request, _who: Viewer, limit: Limit = 50) -> dict[str, Any]:
    """Experiments, newest first."""
    return {"items": [_experiment(one) for one in islice(ExperimentLog(store_of(request)).experiments(), limit)]}


@router.get("/experiments/{number}", tags=["experiments"])
def experiment(request: Request, number: int, _who: Viewer) -> dict[str, Any]:
    """One experiment, with its verdict or what is known so far."""
    log = ExperimentLog(store_of(request))
    found = log.find(number)
    stored = log.verdict(found)
    known = stored.document if stored is not None else ReadModel(store_of(request)).evidence(found.id)
    return {**_experiment(found), "evidence": None if known is None else msgspec.to_builtins(known)}


@router.get("/fleet", tags=["fleet"])
def fleet(request: Request, _who: Viewer) -> dict[str, Any]:
    """Every worker of the tagger's group, and whether the champion is live everywhere."""
    store, group = store_of(request), settings_of(request).tagger.group
    current = store.current()
    beats = read_fleet(store, group).heartbeats
    live = {} if current is None else with_liveness(request, current)
    return {"group": group, **live, "workers": [msgspec.to_builtins(beat) for beat in beats]}


def _experiment(found: Experiment) -> dict[str, Any]:
    state = "running" if found.ended is None else "ended"
    verdict = None if found.verdict is None else str(found.verdict.state)
    return {
        "number": found.id.number,
        "id": str(found.id),
        "state": state,
        "verdict": verdict,
        "share": found.share,
        "phases": msgspec.to_builtins(found.phases),
        "document": msgspec.to_builtins(found.document),
    }
