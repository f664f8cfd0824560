"""What the routes about changes share: who may change what, and what a change answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from streamtag.api.problems import ForbiddenError, PreconditionError
from streamtag.api.strict import Flag, Number, RequestBody
from streamtag.control.approval import Permit, Ungoverned
from streamtag.control.champion_guard import ChampionChange, change_champion
from streamtag.control.changes import Outcome, ReleaseChanges
from streamtag.control.liveness import LivenessProbe
from streamtag.control.proposal import Who, describe
from streamtag.control.release_documents import RevisionId
from streamtag.control.store import ControlStore, Current
from streamtag.control.tokens import Role, Token
from streamtag.domain.thresholds import Change, ThresholdSet
from streamtag.errors import NotFoundError
from streamtag.settings import Settings

__all__ = [
    "Cutoffs",
    "IfMatch",
    "Limit",
    "Reasoned",
    "allow",
    "champion_of",
    "change_json",
    "changer",
    "changes_json",
    "commit_change",
    "etag_of",
    "own_word",
    "settings_of",
    "store_of",
    "unless_changed",
    "with_liveness",
]

IfMatch = Annotated[str | None, Header(description="The ETag of the thresholds that the change rests on.")]
Limit = Annotated[int, Query(ge=1, le=500, description="At most this many, newest first.")]


class Segment(BaseModel):
    """Other cut-offs where an event matches every dimension."""

    model_config = ConfigDict(extra="forbid")

    when: dict[str, str]
    labels: dict[str, Number]


class Cutoffs(BaseModel):
    """A whole threshold set."""

    model_config = ConfigDict(extra="forbid")

    labels: dict[str, Number]
    # Those that are live and those that are sent meet in as many segments as both have together, multiplied.
    segments: Annotated[list[Segment], Field(max_length=1_000, fail_fast=True)] = []

    def to_set(self) -> ThresholdSet:
        """As the domain has it."""
        return ThresholdSet.from_dict(self.model_dump())


class Reasoned(RequestBody):
    """What every change says."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2_000, description="Kept with the change for ever.")
    force: Flag = Field(False, description="Pass the guard rail on the size of a step.")
    end_experiments: Flag = Field(False, description="Even where experiments compare with the present release.")
    break_glass: Flag = Field(
        False, description="Without a second person where one is needed; admins only, and the audit says so for ever."
    )


def settings_of(request: Request) -> Settings:
    """The settings that the app was built with."""
    found: Settings = request.app.state.settings
    return found


def store_of(request: Request) -> ControlStore:
    """The control plane."""
    found: ControlStore = request.app.state.store
    return found


def changer(request: Request) -> ReleaseChanges:
    """What changes releases, under the configured guard rail."""
    return ReleaseChanges(store_of(request), max_step=settings_of(request).thresholds.max_step)


def champion_of(request: Request) -> Current:
    """What shall decide now; `NotFoundError` before the first worker has started."""
    found = store_of(request).current()
    if found is None:
        raise NotFoundError("Redis holds no release yet", hint="The first worker to start seeds it.")
    return found


def allow(who: Token, labels: Mapping[str, object] | set[str] | None) -> None:
    """Raises `ForbiddenError` where a token is for some labels only, and others (None: all) would change."""
    if who.labels is None:
        return
    others = ["all labels"] if labels is None else sorted(set(labels) - set(who.labels))
    if others:
        raise ForbiddenError(f"{who.name} may change {', '.join(who.labels)} only, not {', '.join(others)}")


def own_word(who: Token, break_glass: bool) -> Ungoverned:
    """What a change is made on that no change request stands behind.

    Raises:
        ForbiddenError: somebody who is no admin would break the glass.
    """
    if break_glass and not who.role.includes(Role.ADMIN):
        raise ForbiddenError(f"break_glass needs the role {Role.ADMIN}; {who.name} is {who.role}")
    return Ungoverned(break_glass)


def etag_of(current: Current) -> str:
    """Of the thresholds that decide."""
    return f'"{current.revision.sha256}"'


def unless_changed(current: Current, if_match: str | None) -> RevisionId | None:
    """The thresholds that a request rests on, where it names them and they are ``current``; None: it names none.

    Raises:
        PreconditionError: others decide now.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    if etag_of(current) not in [one.strip() for one in if_match.split(",")]:
        document = current.revision.document
        raise PreconditionError(
            f"{document.author} changed the thresholds at {document.at:%Y-%m-%d %H:%M:%S} UTC: {document.reason}",
            hint="Read them again, and decide again.",
        )
    return current.release.document.thresholds


def commit_change(
    request: Request,
    who: Who,
    make: Callable[[ReleaseChanges, Who], Outcome],
    end_experiments: bool,
    told: Sequence[str] = (),
    permit: Permit = Ungoverned(),  # noqa: B008 - immutable
) -> dict[str, Any]:
    """Makes one change, settles the experiments that it ends, and says what decides now and whether everywhere."""
    warnings = list(told)
    change = change_champion(
        store_of(request),
        settings_of(request),
        who,
        lambda changes: make(changes, who),
        end_experiments=end_experiments,
        warn=warnings.append,
        permit=permit,
    )
    return change_json(request, change, warnings)


def change_json(request: Request, change: ChampionChange, warnings: Sequence[str]) -> dict[str, Any]:
    """What a change of what decides has come to."""
    return {
        **change.facts(),
        "changes": changes_json(change.changes),
        "warnings": list(warnings),
        **_liveness(request, change.outcome.current),
    }


def with_liveness(request: Request, current: Current) -> dict[str, Any]:
    """A release, and whether every worker decides by it."""
    return {**current.facts(), **_liveness(request, current)}


def changes_json(found: list[Change]) -> list[dict[str, Any]]:
    """Changes of cut-offs, each in words, too."""
    return [
        {"segment": c.where, "label": c.label, "before": c.before, "after": c.after, "words": describe(c)}
        for c in found
    ]


def _liveness(request: Request, current: Current) -> dict[str, Any]:
    probe: LivenessProbe = request.app.state.liveness
    found = probe.check(current.ref)
    return {"live": found.answer, "live_since": found.since, "live_reasons": list(found.reasons)}
