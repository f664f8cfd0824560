"""What decides, and changing it: thresholds, releases, experiments, fleet, audit."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from streamtag.api.access import Operator, Viewer
from streamtag.api.problems import ForbiddenError, PreconditionError
from streamtag.control.champion_guard import ChampionGuard
from streamtag.control.changes import Outcome, ReleaseChanges
from streamtag.control.documents import Stored, ThresholdRevision
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.fleet import read_fleet
from streamtag.control.liveness import LivenessProbe
from streamtag.control.proposal import Who, describe
from streamtag.control.release_list import listed_releases
from streamtag.control.store import ControlStore, Current
from streamtag.control.threshold_reader import by_taxonomy
from streamtag.control.tokens import Token
from streamtag.domain.thresholds import Change, ThresholdSet, diff, problems, too_large, with_changes
from streamtag.errors import NotFoundError, RefusedError, UnavailableError
from streamtag.model.admission import configured_taxonomy, read_admitted
from streamtag.model.registry import find_bundle
from streamtag.settings import Settings
from streamtag.stats.read_model import ReadModel
from streamtag.stats.what_if import preview

__all__ = ["router"]

router = APIRouter(prefix="/v1")

Limit = Annotated[int, Query(ge=1, le=500, description="At most this many, newest first.")]
IfMatch = Annotated[str | None, Header(description="The ETag of the thresholds that the change rests on.")]
_SSE_WAIT_S = 10.0


class Segment(BaseModel):
    """Other cut-offs where an event matches every dimension."""

    model_config = ConfigDict(extra="forbid")

    when: dict[str, str]
    labels: dict[str, float]


class Cutoffs(BaseModel):
    """A whole threshold set."""

    model_config = ConfigDict(extra="forbid")

    labels: dict[str, float]
    segments: list[Segment] = []

    def to_set(self) -> ThresholdSet:
        """As the domain has it."""
        return ThresholdSet.from_dict(self.model_dump())


class Reasoned(BaseModel):
    """What every change says."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2_000, description="Kept with the change for ever.")
    force: bool = Field(False, description="Pass the guard rail on the size of a step.")
    end_experiments: bool = Field(False, description="Even where experiments compare with the present release.")


class Move(Reasoned):
    """Some cut-offs, for all events or for those of a segment."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"labels": {"insult": 0.72}, "reason": "raid on the forum"}]}
    )

    labels: Annotated[dict[str, float], Field(min_length=1)]
    when: dict[str, str] = {}


class Replace(Reasoned):
    """A whole set in the place of the present one."""

    thresholds: Cutoffs


class Restore(BaseModel):
    """An earlier revision."""

    model_config = ConfigDict(extra="forbid")

    revision: Annotated[int, Field(ge=1)]
    reason: str = Field(min_length=1, max_length=2_000)
    end_experiments: bool = False


class Return(BaseModel):
    """An earlier release; none: the one before."""

    model_config = ConfigDict(extra="forbid")

    release: Annotated[int, Field(ge=1)] | None = None
    reason: str = Field(min_length=1, max_length=2_000)
    end_experiments: bool = False


class Promote(Reasoned):
    """A bundle to decide from now on."""

    bundle: str = Field(pattern=r"^[A-Za-z0-9._-]{1,100}(@[A-Za-z0-9._-]{1,100})?$", description="name or name@version")
    thresholds: Cutoffs | None = Field(None, description="None: the present ones, where they fit.")


class Question(BaseModel):
    """Cut-offs to look at: some that move, or a whole set."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"labels": {"insult": 0.72}}]})

    labels: dict[str, float] | None = None
    when: dict[str, str] = {}
    thresholds: Cutoffs | None = None
    hours: Annotated[float, Field(gt=0, le=8_784)] = 24.0


# -- thresholds --------------------------------------------------------------------------------------------------------


@router.get("/thresholds", tags=["thresholds"])
def thresholds(request: Request, response: Response, _who: Viewer) -> dict[str, Any]:
    """The cut-offs that decide. The ETag names the revision: send it as If-Match with a change."""
    current = _current(request)
    response.headers["ETag"] = _etag(current)
    return {"release": current.id.number, **_revision(current.revision)}


@router.get("/thresholds/revisions", tags=["thresholds"])
def revisions(request: Request, _who: Viewer, limit: Limit = 50) -> dict[str, Any]:
    """Revisions, newest first, each proven by the hash that its successor holds."""
    found = list(islice(_store(request).revisions(), limit + 1))
    items = [
        {
            **_revision(one),
            "changes": _changes(diff(before.document.thresholds.to_set(), one.document.thresholds.to_set())),
        }
        for one, before in pairwise(found)
    ]
    items += [{**_revision(one), "changes": []} for one in found[len(items) : limit]]
    return {"items": items[:limit]}


@router.get("/thresholds/revisions/{number}", tags=["thresholds"])
def revision(request: Request, number: int, _who: Viewer) -> dict[str, Any]:
    """One revision."""
    return _revision(_changer(request).revision(number))


@router.post("/thresholds/preview", tags=["thresholds"])
def look_before(request: Request, body: Question, _who: Viewer) -> dict[str, Any]:
    """What other cut-offs would have done to recorded events; changes nothing."""
    current, settings = _current(request), _settings(request)
    before = current.thresholds
    if (body.labels is None) == (body.thresholds is None):
        raise RefusedError("give either labels (with when, for a segment) or thresholds")
    given = ThresholdSet(body.labels or {}) if body.thresholds is None else body.thresholds.to_set()
    told: list[str] = []
    after = _read(request, given, told)
    if body.thresholds is None:
        after = with_changes(before, after.labels, body.when)
    if found := problems(after, before.labels):
        raise RefusedError("the change is not valid", problems=found)
    now_ms = time.time_ns() // 1_000_000
    bundle = current.release.document.bundle.sha256
    seen = preview(ReadModel(_store(request)), bundle, before, after, now_ms - round(body.hours * 3_600_000), now_ms)
    return {
        "changes": _changes(diff(before, after)),
        "guard_rail": too_large(before, after, settings.thresholds.max_step),
        "warnings": told,
        **msgspec.to_builtins(seen),
    }


@router.patch("/thresholds", tags=["thresholds"])
def move(request: Request, body: Move, who: Operator, if_match: IfMatch = None) -> dict[str, Any]:
    """Move cut-offs of some labels, live. With If-Match it is refused where somebody was first (412)."""
    told: list[str] = []
    cutoffs = _read(request, ThresholdSet(body.labels), told).labels
    _allow(who, cutoffs)
    _unless_changed(request, if_match)
    return _change(
        request,
        Who(who.name, body.reason),
        lambda changes, author: changes.set_thresholds(cutoffs, author, when=body.when, force=body.force),
        body.end_experiments,
        told,
    )


@router.put("/thresholds", tags=["thresholds"])
def replace(request: Request, body: Replace, who: Operator, if_match: IfMatch = None) -> dict[str, Any]:
    """Replace the whole set, live. With If-Match it is refused where somebody was first (412)."""
    told: list[str] = []
    wanted = _read(request, body.thresholds.to_set(), told)
    _allow(who, {change.label for change in diff(_current(request).thresholds, wanted)})
    base = _unless_changed(request, if_match)
    return _change(
        request,
        Who(who.name, body.reason),
        lambda changes, author: changes.apply(wanted, author, expected=base, force=body.force),
        body.end_experiments,
        told,
    )


@router.post("/thresholds/restore", tags=["thresholds"])
def restore(request: Request, body: Restore, who: Operator) -> dict[str, Any]:
    """Go back to an earlier revision; a new one with its content is made. Free of the guard rail."""
    earlier = _read(request, _changer(request).revision(body.revision).document.thresholds.to_set(), [])
    _allow(who, {change.label for change in diff(_current(request).thresholds, earlier)})
    author = Who(who.name, body.reason)
    return _change(request, author, lambda changes, by: changes.restore(body.revision, by), body.end_experiments)


# -- releases ----------------------------------------------------------------------------------------------------------


@router.get("/releases", tags=["releases"])
def releases(request: Request, _who: Viewer, limit: Limit = 50) -> dict[str, Any]:
    """Releases, newest first, candidates of experiments among them."""
    found = listed_releases(ExperimentLog(_store(request)), limit)
    return {
        "items": [
            {
                "sha256": one.stored.sha256,
                "state": one.state,
                "experiments": list(one.experiments),
                "verdict": one.verdict or None,
                **msgspec.to_builtins(one.stored.document),
            }
            for one in found
        ]
    }


@router.get("/releases/current", tags=["releases"])
def champion(request: Request, _who: Viewer) -> dict[str, Any]:
    """The release that shall decide, and whether it does everywhere."""
    return _with_liveness(request, _current(request))


@router.post("/releases/promote", tags=["releases"])
def promote(request: Request, body: Promote, who: Operator) -> dict[str, Any]:
    """Make a bundle decide, with thresholds that fit it, as one step."""
    _allow(who, None)
    model = _settings(request).model
    found = read_admitted(find_bundle(body.bundle, model.directories), model)
    wanted = None if body.thresholds is None else body.thresholds.to_set()
    return _change(
        request,
        Who(who.name, body.reason),
        lambda changes, by: changes.promote(found.ref, found.labels, by, thresholds=wanted, force=body.force),
        body.end_experiments,
    )


@router.post("/releases/return", tags=["releases"])
def return_(request: Request, body: Return, who: Operator) -> dict[str, Any]:
    """Go back in one step to an earlier release, whatever the step."""
    _allow(who, None)
    return _change(
        request,
        Who(who.name, body.reason),
        lambda changes, by: changes.return_to(body.release, by),
        body.end_experiments,
    )


# -- experiments, fleet, audit -----------------------------------------------------------------------------------------


@router.get("/experiments", tags=["experiments"])
def experiments(request: Request, _who: Viewer, limit: Limit = 50) -> dict[str, Any]:
    """Experiments, newest first."""
    return {"items": [_experiment(one) for one in islice(ExperimentLog(_store(request)).experiments(), limit)]}


@router.get("/experiments/{number}", tags=["experiments"])
def experiment(request: Request, number: int, _who: Viewer) -> dict[str, Any]:
    """One experiment, with its verdict or what is known so far."""
    log = ExperimentLog(_store(request))
    found = log.find(number)
    stored = log.verdict(found)
    known = stored.document if stored is not None else ReadModel(_store(request)).evidence(found.id)
    return {**_experiment(found), "evidence": None if known is None else msgspec.to_builtins(known)}


@router.get("/fleet", tags=["fleet"])
def fleet(request: Request, _who: Viewer) -> dict[str, Any]:
    """Every worker of the tagger's group, and whether the champion is live everywhere."""
    store, group = _store(request), _settings(request).tagger.group
    current = store.current()
    beats = read_fleet(store, group).heartbeats
    live = {} if current is None else _with_liveness(request, current)
    return {"group": group, **live, "workers": [msgspec.to_builtins(beat) for beat in beats]}


@router.get("/audit", tags=["audit"])
def audit(request: Request, _who: Viewer, limit: Limit = 50) -> dict[str, Any]:
    """Who changed what, when and why, newest first."""
    return {"items": [{"id": entry.id, **entry.fields} for entry in _store(request).audit(limit)]}


@router.get("/changes", tags=["audit"], response_class=StreamingResponse)
async def changes(request: Request, _who: Viewer) -> StreamingResponse:
    """Every change as it is committed, as server-sent events; `Last-Event-ID` goes on behind one."""
    store = _store(request)
    newest = await asyncio.to_thread(store.audit, 1)
    after = request.headers.get("last-event-id") or (newest[0].id if newest else "0")
    return StreamingResponse(_events(request, store, after), media_type="text/event-stream")


async def _events(request: Request, store: ControlStore, after: str) -> AsyncIterator[str]:
    yield ": follows\n\n"
    while not await request.is_disconnected():
        try:
            entries = await asyncio.to_thread(store.follow_audit, after, _SSE_WAIT_S)
        except UnavailableError:
            yield ": Redis does not answer\n\n"
            await asyncio.sleep(1)
            continue
        for entry in entries:
            after = entry.id
            yield f"id: {entry.id}\nevent: change\ndata: {json.dumps(dict(entry.fields))}\n\n"
        if not entries:
            yield ": nothing new\n\n"


# -- inside ------------------------------------------------------------------------------------------------------------


def _settings(request: Request) -> Settings:
    found: Settings = request.app.state.settings
    return found


def _store(request: Request) -> ControlStore:
    found: ControlStore = request.app.state.store
    return found


def _changer(request: Request) -> ReleaseChanges:
    return ReleaseChanges(_store(request), max_step=_settings(request).thresholds.max_step)


def _current(request: Request) -> Current:
    found = _store(request).current()
    if found is None:
        raise NotFoundError("Redis holds no release yet", hint="The first worker to start seeds it.")
    return found


def _etag(current: Current) -> str:
    return f'"{current.revision.sha256}"'


def _unless_changed(request: Request, if_match: str | None) -> int | None:
    """The revision that a change rests on, where the request names one.

    Raises:
        PreconditionError: it is not the present one.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    current = _current(request)
    if _etag(current) not in [one.strip() for one in if_match.split(",")]:
        document = current.revision.document
        raise PreconditionError(
            f"{document.author} changed the thresholds at {document.at:%Y-%m-%d %H:%M:%S} UTC: {document.reason}",
            hint="Read them again, and decide again.",
        )
    return current.revision.document.revision


def _allow(who: Token, labels: Mapping[str, object] | set[str] | None) -> None:
    """Raises `ForbiddenError` where a token is for some labels only, and others (None: all) would change."""
    if who.labels is None:
        return
    others = ["all labels"] if labels is None else sorted(set(labels) - set(who.labels))
    if others:
        raise ForbiddenError(f"{who.name} may change {', '.join(who.labels)} only, not {', '.join(others)}")


def _read(request: Request, given: ThresholdSet, told: list[str]) -> ThresholdSet:
    """Cut-offs by ids of any age, for the bundle that decides; each id that is read as another is ``told``.

    Before anybody asks whether a token may change them: it may change what they mean, not what they are called.
    """
    read = by_taxonomy(configured_taxonomy(_settings(request).model), told.append)
    return read(given, list(_current(request).thresholds.labels))


def _change(request: Request, who: Who, make: Any, end_experiments: bool, told: Sequence[str] = ()) -> dict[str, Any]:
    store, settings, warnings = _store(request), _settings(request), list(told)
    guard = ChampionGuard(ExperimentLog(store), end_experiments)
    read = by_taxonomy(configured_taxonomy(settings.model), warnings.append)
    changes = ReleaseChanges(store, max_step=settings.thresholds.max_step, read=read, before=guard.check)
    outcome: Outcome = make(changes, who)
    ended = guard.settle(outcome, who, warnings.append)
    changed = diff(outcome.before.thresholds, outcome.current.thresholds) if outcome.before else []
    return {
        "committed": outcome.committed,
        "changes": _changes(changed),
        "ended_experiments": [one.id.number for one in ended],
        "warnings": warnings,
        **_with_liveness(request, outcome.current),
    }


def _with_liveness(request: Request, current: Current) -> dict[str, Any]:
    live = LivenessProbe(_store(request), _settings(request)).check(current.ref)
    document = current.release.document
    return {
        "release": document.number,
        "sha256": current.release.sha256,
        "revision": document.thresholds.revision,
        "bundle": str(current.ref.bundle),
        "author": document.author,
        "reason": document.reason,
        "at": document.at,
        "live": live.answer,
        "live_since": live.since,
        "live_reasons": list(live.reasons),
    }


def _revision(stored: Stored[ThresholdRevision]) -> dict[str, Any]:
    return {"sha256": stored.sha256, **msgspec.to_builtins(stored.document)}


def _changes(found: list[Change]) -> list[dict[str, Any]]:
    return [
        {"segment": c.where, "label": c.label, "before": c.before, "after": c.after, "words": describe(c)}
        for c in found
    ]


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
