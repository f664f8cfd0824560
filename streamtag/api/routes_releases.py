"""Releases: which there were, which decides, promoting and going back."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field

from streamtag.api.access import Operator, Viewer
from streamtag.api.changing import (
    Cutoffs,
    Limit,
    Reasoned,
    allow,
    champion_of,
    commit_change,
    own_word,
    settings_of,
    store_of,
    with_liveness,
)
from streamtag.api.idempotency import IdempotentRoute
from streamtag.api.paging import Cursor, page, position_of
from streamtag.api.strict import Flag, RequestBody, Whole
from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.proposal import Who
from streamtag.control.release_list import ListedRelease, listed_releases
from streamtag.model.admission import read_admitted
from streamtag.model.registry import find_bundle

__all__ = ["router"]

router = APIRouter(prefix="/v1", route_class=IdempotentRoute)


class Return(RequestBody):
    """An earlier release; none: the one before."""

    model_config = ConfigDict(extra="forbid")

    release: Annotated[Whole, Field(ge=1)] | None = None
    reason: str = Field(min_length=1, max_length=2_000)
    end_experiments: Flag = False


class Promote(Reasoned):
    """A bundle to decide from now on."""

    bundle: str = Field(pattern=r"^[A-Za-z0-9._-]{1,100}(@[A-Za-z0-9._-]{1,100})?$", description="name or name@version")
    thresholds: Cutoffs | None = Field(None, description="None: the present ones, where they fit.")


@router.get("/releases", tags=["releases"])
def releases(request: Request, _who: Viewer, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Releases, newest first, candidates of experiments among them."""
    found = listed_releases(ExperimentLog(store_of(request)), limit + 1, below=position_of(cursor, int))
    return page(found, limit, _listed, lambda one: one.stored.document.number)


@router.get("/releases/current", tags=["releases"])
def champion(request: Request, _who: Viewer) -> dict[str, Any]:
    """The release that shall decide, and whether it does everywhere."""
    return with_liveness(request, champion_of(request))


@router.post("/releases/promote", tags=["releases"])
def promote(request: Request, body: Promote, who: Operator) -> dict[str, Any]:
    """Make a bundle decide, with thresholds that fit it, as one step."""
    allow(who, None)
    model = settings_of(request).model
    found = read_admitted(find_bundle(body.bundle, model.directories), model)
    wanted = None if body.thresholds is None else body.thresholds.to_set()
    return commit_change(
        request,
        Who(who.name, body.reason),
        lambda changes, by: changes.promote(
            found.ref, found.labels, by, thresholds=wanted, critical=found.critical, force=body.force
        ),
        body.end_experiments,
        permit=own_word(who, body.break_glass),
    )


@router.post("/releases/return", tags=["releases"])
def return_(request: Request, body: Return, who: Operator) -> dict[str, Any]:
    """Go back in one step to an earlier release, whatever the step."""
    allow(who, None)
    return commit_change(
        request,
        Who(who.name, body.reason),
        lambda changes, by: changes.return_to(body.release, by),
        body.end_experiments,
    )


def _listed(one: ListedRelease) -> dict[str, Any]:
    return {
        "sha256": one.stored.sha256,
        "state": one.state,
        "experiments": list(one.experiments),
        "verdict": one.verdict or None,
        **msgspec.to_builtins(one.stored.document),
    }
