"""Experiments and their verdicts."""

from itertools import islice
from typing import Any

import msgspec
from fastapi import APIRouter, Request

from streamtag.api.access import Viewer
from streamtag.api.changing import Limit, store_of
from streamtag.control.experiment_log import Experiment, ExperimentLog
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
