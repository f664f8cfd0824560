"""Thresholds: reading, looking before, changing, going back."""

import time
from itertools import islice, zip_longest
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field

from streamtag.api.access import Operator, Viewer
from streamtag.api.changing import (
    Cutoffs,
    IfMatch,
    Limit,
    Reasoned,
    allow,
    champion_of,
    changer,
    changes_json,
    commit_change,
    etag_of,
    own_word,
    settings_of,
    store_of,
    unless_changed,
)
from streamtag.api.idempotency import IdempotentRoute
from streamtag.api.paging import Cursor, cursor_of, position_of
from streamtag.api.strict import Flag, Number, RequestBody, Whole
from streamtag.control.approval import policy_of
from streamtag.control.documents import Stored
from streamtag.control.proposal import Who
from streamtag.control.release_documents import RevisionId, ThresholdRevision
from streamtag.control.threshold_reader import by_taxonomy
from streamtag.domain.thresholds import ThresholdSet, diff, problems, too_large, with_changes
from streamtag.errors import RefusedError
from streamtag.model.taxonomy_file import configured_taxonomy
from streamtag.stats.read_model import ReadModel
from streamtag.stats.what_if import preview

__all__ = ["router"]

router = APIRouter(prefix="/v1", route_class=IdempotentRoute)


class Move(Reasoned):
    """Some cut-offs, for all events or for those of a segment."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"labels": {"insult": 0.72}, "reason": "raid on the forum"}]}
    )

    labels: Annotated[dict[str, Number], Field(min_length=1)]
    when: dict[str, str] = Field(default={})


class Replace(Reasoned):
    """A whole set in the place of the present one."""

    thresholds: Cutoffs


class Restore(RequestBody):
    """An earlier revision."""

    model_config = ConfigDict(extra="forbid")

    revision: Annotated[Whole, Field(ge=1)]
    reason: str = Field(min_length=1, max_length=2_000)
    end_experiments: Flag = False


class Question(RequestBody):
    """Cut-offs to look at: some that move, or a whole set."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"labels": {"insult": 0.72}}]})

    labels: dict[str, Number] | None = None
    when: dict[str, str] = Field({})
    thresholds: Cutoffs | None = None
    hours: Annotated[float, Field(gt=0, le=8_784)] = 24.0


@router.get("/thresholds", tags=["thresholds"])
def thresholds(request: Request, response: Response, _who: Viewer) -> dict[str, Any]:
    """The cut-offs that decide. The ETag names the revision: send it as If-Match with a change."""
    current = champion_of(request)
    response.headers["ETag"] = etag_of(current)
    return {"release": current.id.number, "bundle": str(current.ref.bundle), **_document(current.revision)}


@router.get("/thresholds/revisions", tags=["thresholds"])
def revisions(request: Request, _who: Viewer, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Revisions, newest first, each proven by the hash that its successor holds."""
    found = list(islice(store_of(request).revisions(position_of(cursor, RevisionId)), limit + 1))
    items = [_with_changes(one, before) for one, before in zip_longest(found[:limit], found[1:])]
    if len(found) <= limit:
        return {"items": items, "next": None}
    following = found[limit]
    return {"items": items, "next": cursor_of(RevisionId(following.document.revision, following.sha256))}


@router.get("/thresholds/revisions/{number}", tags=["thresholds"])
def revision(request: Request, number: int, _who: Viewer) -> dict[str, Any]:
    """One revision."""
    return _document(changer(request).revision(number))


@router.post("/thresholds/preview", tags=["thresholds"])
def look_before(request: Request, body: Question, _who: Viewer) -> dict[str, Any]:
    """What other cut-offs would have done to recorded events; changes nothing."""
    current, settings = champion_of(request), settings_of(request)
    before, policy = current.thresholds, policy_of(settings)
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
    since_ms = now_ms - round(body.hours * 3_600_000)
    changes = diff(before, after)
    only = None if body.thresholds is not None else set(after.labels) & {change.label for change in changes}
    seen = preview(ReadModel(store_of(request)), bundle, before, after, since_ms, now_ms, labels=only)
    return {
        "changes": changes_json(changes),
        "needs": policy.reasons(current, after),
        "review_seconds": settings.api.review_seconds,
        "guard_rail": too_large(before, after, settings.thresholds.max_step),
        "warnings": told,
        "hours": seen.hours,
        **msgspec.to_builtins(seen),
    }


@router.patch("/thresholds", tags=["thresholds"])
def move(request: Request, body: Move, who: Operator, if_match: IfMatch = None) -> dict[str, Any]:
    """Move cut-offs of some labels, live. With If-Match it is refused where somebody was first (412)."""
    told: list[str] = []
    cutoffs = _read(request, ThresholdSet(body.labels), told).labels
    allow(who, cutoffs)
    base = unless_changed(champion_of(request), if_match)
    return commit_change(
        request,
        Who(who.name, body.reason),
        lambda changes, author: changes.set_thresholds(
            cutoffs, author, when=body.when, expected=base, force=body.force
        ),
        body.end_experiments,
        told,
        own_word(who, body.break_glass),
    )


@router.put("/thresholds", tags=["thresholds"])
def replace(request: Request, body: Replace, who: Operator, if_match: IfMatch = None) -> dict[str, Any]:
    """Replace the whole set, live. With If-Match it is refused where somebody was first (412)."""
    told: list[str] = []
    wanted, present = _read(request, body.thresholds.to_set(), told), champion_of(request)
    if found := problems(wanted, present.thresholds.labels):
        raise RefusedError("the change is not valid", problems=found)
    allow(who, {change.label for change in diff(present.thresholds, wanted)})
    unless_changed(present, if_match)
    base = present.release.document.thresholds  # what was allowed is a change of this one
    return commit_change(
        request,
        Who(who.name, body.reason),
        lambda changes, author: changes.apply(
            wanted, author, expected=base.revision, expected_sha256=base.sha256, force=body.force
        ),
        body.end_experiments,
        told,
        own_word(who, body.break_glass),
    )


@router.post("/thresholds/restore", tags=["thresholds"])
def restore(request: Request, body: Restore, who: Operator, if_match: IfMatch = None) -> dict[str, Any]:
    """Go back to an earlier revision; a new one with its content is made. Free of the guard rail.

    With If-Match it is refused where somebody was first (412).
    """
    earlier = _read(request, changer(request).revision(body.revision).document.thresholds.to_set(), [])
    present = champion_of(request)
    allow(who, {change.label for change in diff(present.thresholds, earlier)})
    unless_changed(present, if_match)
    return commit_change(
        request,
        Who(who.name, body.reason),
        lambda changes, by: changes.restore(body.revision, by, expected=present.release.document.thresholds),
        body.end_experiments,
    )


def _read(request: Request, given: ThresholdSet, told: list[str]) -> ThresholdSet:
    """Cut-offs by ids of any age, for the bundle that decides; each id that is read as another is ``told``.

    Before anybody asks whether a token may change them: it may change what they mean, not what they are called.
    """
    read = by_taxonomy(configured_taxonomy(settings_of(request).model), told.append)
    return read(given, list(champion_of(request).thresholds.labels))


def _document(stored: Stored[ThresholdRevision]) -> dict[str, Any]:
    return {"sha256": stored.sha256, **msgspec.to_builtins(stored.document)}


def _with_changes(one: Stored[ThresholdRevision], before: Stored[ThresholdRevision] | None) -> dict[str, Any]:
    found = [] if before is None else diff(before.document.thresholds.to_set(), one.document.thresholds.to_set())
    return {**_document(one), "changes": changes_json(found)}
