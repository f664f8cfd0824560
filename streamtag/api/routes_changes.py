"""Change requests: asked for by one person, approved by another, published, taken back; and the freeze."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from streamtag.api.access import Operator, Reviewer, Viewer
from streamtag.api.changing import (
    Cutoffs,
    IfMatch,
    Limit,
    allow,
    champion_of,
    change_json,
    settings_of,
    store_of,
    unless_changed,
)
from streamtag.api.idempotency import IdempotentRoute
from streamtag.api.paging import Cursor, page, position_of
from streamtag.api.routes_experiments import Challenge, composed
from streamtag.api.strict import Flag, Number, RequestBody, Whole
from streamtag.control.approval import policy_of
from streamtag.control.change_documents import ChangeRequest, Content, ThresholdMoves
from streamtag.control.change_requests import ChangeRequests, Published
from streamtag.control.change_view import overlapping, request_view
from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.freeze import Freeze, Freezes
from streamtag.control.proposal import Who
from streamtag.control.threshold_reader import by_taxonomy
from streamtag.control.tokens import Token
from streamtag.domain.change import Action, State
from streamtag.domain.taxonomy import Taxonomy
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import RefusedError
from streamtag.model.admission import read_admitted
from streamtag.model.registry import find_bundle
from streamtag.model.taxonomy_file import configured_taxonomy, taxonomy_if_readable

__all__ = ["router"]

router = APIRouter(prefix="/v1", route_class=IdempotentRoute)

_ASKED = ("labels", "thresholds", "promote", "candidate_of", "experiment")
_WHOLE: frozenset[Action] = frozenset({"approve", "publish", "restore"})  # these take the rights to all its labels
_LOOKED_AT = 200  # newest requests that may overlap
_Number = Annotated[int, msgspec.Meta(ge=1)]
Comment = Annotated[str, Field(max_length=2_000, description="Kept with the change for ever.")]


class Promotion(BaseModel):
    """A bundle to decide."""

    model_config = ConfigDict(extra="forbid")

    bundle: str = Field(pattern=r"^[A-Za-z0-9._-]{1,100}(@[A-Za-z0-9._-]{1,100})?$", description="name or name@version")
    thresholds: Cutoffs | None = Field(None, description="None: those that decide when it goes live.")


class Ask(RequestBody):
    """What shall change: one of labels (with when, for a segment), thresholds, promote, candidate_of, experiment."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"labels": {"insult": 0.72}, "reason": "raid on the forum", "ticket": "INC-1", "lasts_s": 7200}
            ]
        },
    )

    labels: dict[str, Number] | None = None
    when: dict[str, str] = Field({})
    thresholds: Cutoffs | None = None
    promote: Promotion | None = None
    candidate_of: Annotated[Whole, Field(ge=1)] | None = Field(None, description="Number of an experiment.")
    experiment: Challenge | None = None
    reason: str = Field(min_length=1, max_length=2_000)
    ticket: str = Field("", max_length=500, description="Where more about it stands, e.g. a link.")
    not_before: AwareDatetime | None = Field(None, description="Goes live by itself then, once it may.")
    lasts_s: Annotated[Whole, Field(ge=1, le=31_536_000)] | None = Field(
        None, description="Goes back by itself after so many seconds live."
    )
    end_experiments: Flag = Field(False, description="Even where experiments compare with the present release.")


class Said(RequestBody):
    """A comment."""

    model_config = ConfigDict(extra="forbid")

    comment: Comment = ""


class Back(RequestBody):
    """Why it is taken back."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2_000)
    end_experiments: Flag = False


class Halt(RequestBody):
    """Why nothing shall change, and for how long."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2_000)
    lasts_s: Annotated[Whole, Field(ge=1, le=31_536_000)] | None = Field(None, description="None: until it is lifted.")


class Thaw(RequestBody):
    """Why changes go through again."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2_000)


@router.get("/change-requests", tags=["change requests"])
def change_requests(
    request: Request,
    who: Viewer,
    limit: Limit = 50,
    cursor: Cursor = None,
    state: Annotated[list[State] | None, Query(description="Only these.")] = None,
    for_a_time: Annotated[
        bool, Query(description="Those that are live and go back by themselves; no `state` then.")
    ] = False,
) -> dict[str, Any]:
    """Change requests, newest first, as they are when their page is read."""
    log, before = _requests(request).log, position_of(cursor, _Number)
    if for_a_time:
        if state:
            raise RefusedError("for_a_time: they are all live", hint="Leave `state` out.")
        found = log.for_a_time(limit + 1, before=before)
    else:
        found = log.page(limit + 1, before=before, states=state or ())
    taxonomy = _taxonomy(request)  # once for all of them: reading it takes far longer than a view
    return page(found, limit, lambda one: _view(one, taxonomy, who), lambda one: one.number)


@router.post("/change-requests", tags=["change requests"], status_code=201)
def open_request(request: Request, body: Ask, who: Operator, if_match: IfMatch = None) -> dict[str, Any]:
    """Open a change request. Nothing is live until it is published. With If-Match refused where somebody was first."""
    requests, told = _requests(request), list[str]()
    content = _content(request, requests, body, told)
    unless_changed(champion_of(request), if_match)
    opened = requests.open(
        content,
        _scoped(who, content, requests, body.reason),
        ticket=body.ticket,
        not_before=body.not_before,
        lasts=None if body.lasts_s is None else timedelta(seconds=body.lasts_s),
        end_experiments=body.end_experiments,
    )
    return {**_whole(request, opened, who), "warnings": told}


@router.get("/change-requests/{number}", tags=["change requests"])
def change_request(request: Request, number: int, who: Viewer) -> dict[str, Any]:
    """One change request, with what keeps it from going live, what else is asked of its labels, and what you may do."""
    return _whole(request, _requests(request).log.find(number)[0], who)


@router.post("/change-requests/{number}/approve", tags=["change requests"])
def approve(request: Request, number: int, body: Said, who: Operator) -> dict[str, Any]:
    """Approve what somebody else asks for. It is published by another call, or at its time."""
    _allow(who, "approve", _requests(request).log.find(number)[0])
    return _say(request, number, "approve", body, who)


@router.post("/change-requests/{number}/reject", tags=["change requests"])
def reject(request: Request, number: int, body: Said, who: Operator) -> dict[str, Any]:
    """Reject what somebody else asks for, with a comment. Whoever may change one of its labels may."""
    _allow(who, "reject", _requests(request).log.find(number)[0])
    return _say(request, number, "reject", body, who)


@router.post("/change-requests/{number}/withdraw", tags=["change requests"])
def withdraw(request: Request, number: int, body: Said, who: Operator) -> dict[str, Any]:
    """Withdraw what you asked for yourself."""
    return _say(request, number, "withdraw", body, who)


@router.post("/change-requests/{number}/comment", tags=["change requests"])
def comment(request: Request, number: int, body: Said, who: Reviewer) -> dict[str, Any]:
    """Say something about it."""
    return _say(request, number, "comment", body, who)


@router.post("/change-requests/{number}/publish", tags=["change requests"])
def publish(request: Request, number: int, who: Operator) -> dict[str, Any]:
    """Make it live, where nothing speaks against it (409 names who was first, and what differs)."""
    requests, warnings = _requests(request), list[str]()
    _allow(who, "publish", requests.log.find(number)[0])
    return _published(request, requests.publish(number, who.name, warn=warnings.append), who, warnings)


@router.post("/change-requests/{number}/restore", tags=["change requests"])
def restore(request: Request, number: int, body: Back, who: Operator) -> dict[str, Any]:
    """Take back what it has changed, as far as nobody has changed it since (`kept` says what stays)."""
    requests, warnings = _requests(request), list[str]()
    _allow(who, "restore", requests.log.find(number)[0])
    found = requests.restore(
        number, Who(who.name, body.reason), end_experiments=body.end_experiments, warn=warnings.append
    )
    return _published(request, found, who, warnings)


@router.get("/freeze", tags=["freeze"])
def freeze(request: Request, _who: Viewer) -> dict[str, Any]:
    """Whether everything is frozen, by whom, why and until when."""
    return _frozen(Freezes(store_of(request)).current())


@router.post("/freeze", tags=["freeze"], status_code=201)
def begin_freeze(request: Request, body: Halt, who: Operator) -> dict[str, Any]:
    """From now on nothing that decides changes but by restore and return."""
    allow(who, None)
    lasts = None if body.lasts_s is None else timedelta(seconds=body.lasts_s)
    return _frozen(Freezes(store_of(request)).begin(Who(who.name, body.reason), lasts=lasts))


@router.post("/freeze/lift", tags=["freeze"])
def lift_freeze(request: Request, body: Thaw, who: Operator) -> dict[str, Any]:
    """Let changes through again."""
    allow(who, None)
    Freezes(store_of(request)).lift(Who(who.name, body.reason))
    return _frozen(None)


def _requests(request: Request) -> ChangeRequests:
    settings = settings_of(request)
    return ChangeRequests(store_of(request), policy=policy_of(settings), max_step=settings.thresholds.max_step)


def _content(request: Request, requests: ChangeRequests, body: Ask, told: list[str]) -> Content:
    given = [name for name in _ASKED if getattr(body, name) is not None]
    if len(given) != 1 or (body.when and body.labels is None):
        raise RefusedError(f"give exactly one of {', '.join(_ASKED)}; when goes with labels")
    composer, model = requests.compose(), settings_of(request).model
    if body.candidate_of is not None:
        return composer.candidate(ExperimentLog(store_of(request)).find(body.candidate_of))
    if body.experiment is not None:
        return composer.experiment(*composed(request, body.experiment, told))
    read = by_taxonomy(configured_taxonomy(model), told.append)
    if body.promote is not None:
        bundle, wanted = read_admitted(find_bundle(body.promote.bundle, model.directories), model), None
        if body.promote.thresholds is not None:
            wanted = read(body.promote.thresholds.to_set(), bundle.labels)
        return composer.promotion(bundle.ref, bundle.labels, bundle.critical, wanted)
    if body.thresholds is not None:
        return composer.replacement(read(body.thresholds.to_set(), composer.labels))
    return composer.moves(read(ThresholdSet(body.labels or {}), composer.labels).labels, body.when)


def _scoped(who: Token, content: Content, requests: ChangeRequests, reason: str) -> Who:
    allow(who, set(requests.aim(content).labels) if isinstance(content, ThresholdMoves) else None)
    return Who(who.name, reason)


def _allow(who: Token, action: Action, found: ChangeRequest) -> None:
    if action in _barred(who, found):
        allow(who, _moved(found))


def _barred(who: Token, found: ChangeRequest) -> frozenset[Action]:
    """What a token for some labels may not do: make others live or take them back, or veto where none is its own."""
    moved = _moved(found)
    if who.labels is None or (moved is not None and moved <= set(who.labels)):
        return frozenset()
    concerned = moved is None or not moved.isdisjoint(who.labels)
    return _WHOLE if concerned else _WHOLE | {"reject"}


def _moved(found: ChangeRequest) -> set[str] | None:
    return set(found.labels) if isinstance(found.content, ThresholdMoves) else None


def _say(request: Request, number: int, action: Action, body: Said, who: Token) -> dict[str, Any]:
    return _whole(request, _requests(request).say(number, action, Who(who.name, body.comment)), who)


def _published(request: Request, found: Published, who: Token, warnings: list[str]) -> dict[str, Any]:
    return {
        "request": _whole(request, found.request, who),
        "result": None if found.change is None else change_json(request, found.change, warnings),
        "experiment": None if found.experiment is None else found.experiment.id.number,
        "warnings": warnings,
    }


def _taxonomy(request: Request) -> Taxonomy | None:
    return taxonomy_if_readable(settings_of(request).model, lambda _: None)  # whoever changes something is told


def _view(found: ChangeRequest, taxonomy: Taxonomy | None, who: Token) -> dict[str, Any]:
    view = request_view(found, taxonomy, who.name, datetime.now(UTC))
    return {**view, "allowed": [action for action in view["allowed"] if action not in _barred(who, found)]}


def _whole(request: Request, found: ChangeRequest, who: Token) -> dict[str, Any]:
    requests = _requests(request)
    others = requests.log.page(_LOOKED_AT)
    seen = {"obstacles": requests.obstacles(found), "overlaps": overlapping(found, others)}
    return {**_view(found, _taxonomy(request), who), **seen}


def _frozen(found: Freeze | None) -> dict[str, Any]:
    return {"frozen": found is not None, "freeze": None if found is None else msgspec.to_builtins(found)}
