"""Experiments: their verdicts and evidence, starting and ending them."""

from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from streamtag.api.access import Operator, Viewer
from streamtag.api.changing import (
    Cutoffs,
    Limit,
    Reasoned,
    allow,
    changes_json,
    commit_change,
    own_word,
    settings_of,
    store_of,
)
from streamtag.api.idempotency import IdempotentRoute
from streamtag.api.paging import Cursor, page, position_of
from streamtag.api.strict import Flag, Number, RequestBody, Whole
from streamtag.control.approval import policy_of
from streamtag.control.experiment_candidate import Choice, candidate_of, read_by_taxonomy
from streamtag.control.experiment_documents import ChangeId
from streamtag.control.experiment_file import request_of
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_request import NewCandidate
from streamtag.control.experiment_request import Request as Plan
from streamtag.control.experiment_view import experiment_view, label_rows, looks_view
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.proposal import Who
from streamtag.control.release_documents import ReleaseId
from streamtag.control.store import ControlStore, Current
from streamtag.control.tokens import Token
from streamtag.domain.thresholds import diff
from streamtag.errors import NotFoundError
from streamtag.stats.given_rates import with_measured_rates
from streamtag.stats.kept_panes import outlasts_its_panes
from streamtag.stats.look_store import LookStore
from streamtag.stats.read_model import ReadModel

__all__ = ["Challenge", "composed", "router"]

router = APIRouter(prefix="/v1", route_class=IdempotentRoute)

Reason = Annotated[str, Field(min_length=1, max_length=2_000, description="Kept with the change for ever.")]
BreakGlass = Annotated[
    Flag,
    Field(description="Without a second person where one is needed; admins only, and the audit says so for ever."),
]
_Place = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
_EXAMPLES: Any = [
    {
        "bundle": "moderation@2",
        "plan": {"mode": "shadow", "share": 0.5, "labels": {"insult": "±20%, critical"}},
        "reason": "the candidate of week 48",
    },
    {
        "labels": {"insult": 0.72},
        "plan": {"labels": {"insult": "±20%"}, "others": "muted"},
        "reason": "may it be a little stricter?",
    },
]
_HISTORY: Any = {
    "experiment": 3,
    "spacing_s": 16.0,
    "labels": {"insult": {"worse_from": 2.996, "equal_from": 2.996}},
    "items": [
        {
            "at": "2026-11-28T17:02:10Z",
            "units": 1840,
            "labels": {
                "insult": {"log_e_worse": 0.41, "log_e_equal": 1.37, "control_rate": 0.031, "candidate_rate": 0.034}
            },
        }
    ],
}


class Challenge(RequestBody):
    """A challenger: a release as it is, or a bundle and cut-offs; and how it is compared with the champion."""

    model_config = ConfigDict(extra="forbid")

    challenger: Annotated[Whole, Field(ge=1)] | None = Field(
        None, description="An earlier release, or the candidate of an earlier experiment."
    )
    bundle: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,100}(@[A-Za-z0-9._-]{1,100})?$",
        description="name or name@version; none: the champion's.",
    )
    thresholds: Cutoffs | Literal["keep", "defaults"] | None = Field(
        None, description="keep (the champion's), defaults (the bundle's own), or a set."
    )
    labels: Annotated[dict[str, Number], Field(min_length=1)] | None = Field(
        None, description="Cut-offs that differ from `thresholds`; where these are not given, from the champion's."
    )
    when: dict[str, str] = Field({}, description="The segment that `labels` are of; none: all events.")
    plan: dict[str, Any] = Field(default={}, description="As a file for `streamtag experiment start --plan`.")


class Start(Challenge):
    """A challenge that begins at once."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": _EXAMPLES})

    reason: Reason
    break_glass: BreakGlass = False


class Share(RequestBody):
    """A new phase."""

    model_config = ConfigDict(extra="forbid")

    share: Number = Field(gt=0, le=1, description="Of the units: given to the candidate (split), or scored by both.")
    reason: Reason
    break_glass: BreakGlass = False


class Stop(RequestBody):
    """The end of an experiment."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


@router.get("/experiments", tags=["experiments"])
def experiments(request: Request, _who: Viewer, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Experiments, the one that was changed last first; pages show them as they were when the first page was read."""
    log, store = ExperimentLog(store_of(request)), store_of(request)
    # Experiments move to the front when they change: pages go by the change that was the latest, and by places.
    start, skip = position_of(cursor, tuple[ChangeId | None, _Place]) or (log.heads().latest, 0)
    found = list(islice(log.experiments(start), skip, skip + limit + 1)) if start is not None else []
    champion = store.champion()
    return page(found, limit, lambda one: _plain(experiment_view(one, champion)), lambda _: (start, skip + limit))


@router.post("/experiments", tags=["experiments"], status_code=201)
def start(request: Request, body: Start, who: Operator) -> dict[str, Any]:
    """Compare a challenger with the champion from now on. Names everything that speaks against it."""
    allow(who, None)
    warnings = list[str]()
    plan, candidate = composed(request, body, warnings)
    started = _changes(request, who, body.break_glass).start(plan, candidate, Who(who.name, body.reason))
    return {**_view(request, started), "warnings": warnings}


def composed(request: Request, body: Challenge, told: list[str]) -> tuple[Plan, Current | NewCandidate]:
    """What a challenge asks for; whoever asks is ``told`` how ids and rates were read, and what to beware of."""
    store, model = store_of(request), settings_of(request).model
    changes = ExperimentChanges(ExperimentLog(store))
    wanted = body.thresholds.to_set() if isinstance(body.thresholds, Cutoffs) else body.thresholds
    plan = read_by_taxonomy(request_of(body.plan), store, model, told.append)
    choice = Choice(body.challenger, body.bundle, wanted, body.labels or {}, body.when)
    candidate = candidate_of(choice, changes, store, model, told.append)
    plan, rates = with_measured_rates(plan, store, datetime.now(UTC))
    told += [*rates, *outlasts_its_panes(plan.plan, settings_of(request).topics)]
    return plan, candidate


@router.get("/experiments/{number}", tags=["experiments"])
def experiment(request: Request, number: int, _who: Viewer) -> dict[str, Any]:
    """One experiment, with its verdict, or what is known so far, and each label against its bound."""
    log = ExperimentLog(store_of(request))
    found = log.find(number)
    stored = log.verdict(found)
    known = stored.document if stored is not None else ReadModel(store_of(request)).evidence(found.id)
    rows = [] if known is None else list(label_rows(found.document.plan, known))
    return {
        **_view(request, found),
        "final": stored is not None,
        "evidence": _plain(known),
        "labels": _plain(rows),
        "changes": _differences(store_of(request), found),
    }


@router.get(
    "/experiments/{number}/history",
    tags=["experiments"],
    responses={200: {"content": {"application/json": {"example": _HISTORY}}}},
)
def history(
    request: Request,
    number: int,
    _who: Viewer,
    label: Annotated[str | SkipJsonSchema[None], Query(max_length=200, description="This one alone.")] = None,
) -> dict[str, Any]:
    """How its evidence has come about: looks at it, oldest first, with each judged label against its bounds.

    Evidence and bounds are natural logarithms. At most 256 looks are kept, for 90 days: of each `spacing_s` seconds the
    last one. No items: nobody has looked yet, or the looks were made before any were kept.
    """
    found = ExperimentLog(store_of(request)).find(number)
    view: dict[str, Any] = _plain(looks_view(found, LookStore(store_of(request)).read(found.id), label))
    return view


@router.post("/experiments/{number}/share", tags=["experiments"])
def share(request: Request, number: int, body: Share, who: Operator) -> dict[str, Any]:
    """Begin a new phase with another share. Evidence goes on."""
    allow(who, None)
    changes = _changes(request, who, body.break_glass)
    return _view(request, changes.set_share(number, body.share, Who(who.name, body.reason)))


@router.post("/experiments/{number}/stop", tags=["experiments"])
def stop(request: Request, number: int, body: Stop, who: Operator) -> dict[str, Any]:
    """End an experiment, for good. The champion goes on deciding everything."""
    allow(who, None)
    return _view(request, _changes(request, who, False).stop(number, Who(who.name, body.reason)))


@router.post("/experiments/{number}/promote", tags=["experiments"])
def promote(request: Request, number: int, body: Reasoned, who: Operator) -> dict[str, Any]:
    """Make its candidate decide: exactly its bundle and its cut-offs. Without PASS only with `force`."""
    allow(who, None)
    found = ExperimentLog(store_of(request)).find(number)
    return commit_change(
        request,
        Who(who.name, body.reason),
        lambda changes, by: changes.promote_candidate(found, by, force=body.force),
        body.end_experiments,
        permit=own_word(who, body.break_glass),
    )


def _differences(store: ControlStore, found: Experiment) -> list[dict[str, Any]] | None:
    """What the candidate's cut-offs have otherwise than the control's; None where either release is lost."""
    refs = found.document.control, found.document.candidate
    try:
        before, after = (store.load(ReleaseId(ref.number, ref.sha256)).thresholds for ref in refs)
    except NotFoundError:
        return None
    return changes_json(diff(before, after))


def _changes(request: Request, who: Token, break_glass: bool) -> ExperimentChanges:
    log, settings = ExperimentLog(store_of(request)), settings_of(request)
    return ExperimentChanges(log, policy=policy_of(settings), permit=own_word(who, break_glass))


def _view(request: Request, found: Experiment) -> dict[str, Any]:
    view: dict[str, Any] = _plain(experiment_view(found, store_of(request).champion()))
    return view


def _plain(found: object) -> Any:
    """As JSON has it: a bound without an end is null there."""
    return msgspec.json.decode(msgspec.json.encode(found))
