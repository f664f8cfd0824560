"""A change that has passed validation, and the documents it becomes."""

import os
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from streamtag.control.documents import Stored, seal
from streamtag.control.release_documents import (
    Bundle,
    Cutoffs,
    ReleaseDocument,
    ReleaseId,
    RevisionId,
    ThresholdRevision,
)
from streamtag.control.store import Current, Heads
from streamtag.domain.thresholds import Change, ThresholdSet, diff
from streamtag.errors import ConflictError

__all__ = ["Proposal", "Who", "audit_fields", "compose", "conflict", "describe"]


@dataclass(frozen=True)
class Who:
    """Who makes a change, and why. Both are kept with it for ever."""

    author: str
    reason: str

    def problems(self) -> list[str]:
        """Names what is blank."""
        return [f"{name}: empty" for name in ("author", "reason") if not getattr(self, name).strip()]


@dataclass(frozen=True)
class Proposal:
    """What shall decide, who says so, and above which numbers it lies."""

    action: Literal["seed", "thresholds", "promote", "restore", "return", "restore-snapshot", "experiment", "expire"]
    bundle: Bundle
    thresholds: ThresholdSet | None
    """None keeps the base's revision."""
    who: Who
    note: str = ""
    least_release: int = 0
    """The new release number lies above this, whatever Redis says."""
    least_revision: int = 0
    """Likewise for a new threshold revision."""
    critical: tuple[str, ...] | None = None
    """Labels that the bundle calls critical; None: those of the base, whose bundle stays."""


def compose(proposal: Proposal, base: Current | None, heads: Heads, at: datetime) -> Current:
    """The documents of ``proposal``: a new release, and a new revision unless the base's is kept."""
    revision = base.revision if base and proposal.thresholds is None else _new_revision(proposal, base, heads, at)
    critical = proposal.critical
    if critical is None:
        critical = base.release.document.critical if base else ()
    document = ReleaseDocument(
        number=max(heads.release, proposal.least_release) + 1,
        parent=None if base is None else base.id,
        bundle=proposal.bundle,
        thresholds=RevisionId(revision.document.revision, revision.sha256),
        author=proposal.who.author,
        reason=proposal.who.reason,
        at=at,
        note=proposal.note,
        change=os.urandom(8).hex(),
        critical=critical,
    )
    return Current(seal(document), revision)


def _new_revision(proposal: Proposal, base: Current | None, heads: Heads, at: datetime) -> Stored[ThresholdRevision]:
    parent = None if base is None else RevisionId(base.revision.document.revision, base.revision.sha256)
    document = ThresholdRevision(
        revision=max(heads.revision, parent.revision if parent else 0, proposal.least_revision) + 1,
        parent=parent,
        thresholds=Cutoffs.of(proposal.thresholds or ThresholdSet({})),
        author=proposal.who.author,
        reason=proposal.who.reason,
        at=at,
    )
    return seal(document)


def audit_fields(proposal: Proposal, new: Current, expected: ReleaseId | None) -> dict[str, str]:
    """The entry of the audit stream that goes with the commit."""
    return {
        "action": proposal.action,
        "author": proposal.who.author,
        "reason": proposal.who.reason,
        "at": f"{new.release.document.at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "release": str(new.id.number),
        "release_sha256": new.id.sha256,
        "revision": str(new.revision.document.revision),
        "revision_sha256": new.revision.sha256,
        "bundle": str(new.ref.bundle),
        "before": "" if expected is None else str(expected.number),
        "note": proposal.note,
    }


def conflict(present: Current | None, *, based_on: str, before: Current | None = None) -> ConflictError:
    """Says who was first, when, why, and what is different now from ``before``, which the loser's change rests on."""
    hint = "Look at the present state (`streamtag thresholds show`), then decide again."
    if present is None:
        return ConflictError(
            f"somebody changed the champion since {based_on}, and its documents cannot be read; nothing was written",
            hint="`streamtag release show` says more.",
        )
    document = present.release.document
    differences: list[str] = []
    if before is not None:
        if before.release.document.bundle != document.bundle:
            differences.append(f"bundle {before.ref.bundle} -> {present.ref.bundle}")
        differences += [describe(change) for change in diff(before.thresholds, present.thresholds)]
    what = f"; it changed {', '.join(differences)}" if differences else ""
    return ConflictError(
        f"{document.author} was first: release {document.number} (revision {document.thresholds.revision}) at "
        f'{document.at:%Y-%m-%d %H:%M:%S} UTC, "{document.reason}"{what}. '
        f"This change rests on {based_on}; nothing was written",
        hint=hint,
    )


def describe(change: Change) -> str:
    """``lang=de spam: 0.8 -> 0.9``; a side without a cut-off is ``none``."""
    before, after = ("none" if value is None else f"{value:g}" for value in (change.before, change.after))
    return f"{change.where + ' ' if change.where else ''}{change.label}: {before} -> {after}"
