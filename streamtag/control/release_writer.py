"""Committing releases: a proposal that has passed validation becomes documents, all or nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from streamtag.control.approval import Permit
from streamtag.control.freeze import frozen_error
from streamtag.control.proposal import Proposal, audit_fields, compose, conflict
from streamtag.control.store import ControlStore, Current, Heads
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import ConflictError, NotFoundError, RefusedError

__all__ = ["BACK", "Outcome", "ReleaseWriter"]

BACK = ("restore", "return")
"""What goes through a freeze, and needs no second person: the way back must be short, and leads where one was."""


@dataclass(frozen=True)
class Outcome:
    """What has become of a change.

    Attributes:
        current: the release that decides now.
        before: the one before.
        committed: whether this call made it; else nothing differed.
        asked: the cut-offs that its author named; None: none.
    """

    current: Current
    before: Current | None
    committed: bool
    asked: ThresholdSet | None = None


class ReleaseWriter:
    """Writes releases of one namespace.

    Args:
        store: the control plane.
        permit: what a change is made on.
        now: the clock that dates documents.
    """

    def __init__(self, store: ControlStore, permit: Permit, now: Callable[[], datetime]) -> None:
        self._store = store
        self._permit = permit
        self._now = now

    def commit(self, base: Current | None, heads: Heads, proposal: Proposal, allowed: Mapping[str, str]) -> Outcome:
        """Makes the documents of ``proposal`` and commits them by compare-and-set.

        Args:
            base: what decides now; None where nothing does.
            heads: that it was read from.
            proposal: has passed validation.
            allowed: what the audit entry says of why it may be made.
        """
        new = compose(proposal, base, heads, self._now())
        step, about = self._permit.step(new)
        result = self._store.commit(
            expected=heads.alias,
            release=new.release,
            revision=None if proposal.thresholds is None else new.revision,
            audit={**audit_fields(proposal, new, heads.champion), **about, **allowed},
            bound=proposal.action not in (*BACK, "seed", "restore-snapshot"),
            step=step,
        )
        if result.outcome == "frozen":
            raise frozen_error(result.detail)
        if result.outcome == "request moved":
            raise ConflictError("somebody changed the change request in this very moment; nothing was written")
        if result.outcome == "conflict":
            based_on = "an empty Redis" if heads.champion is None else f"release {heads.champion.number}"
            raise conflict(self.readable(self._store.heads(damaged=True)), based_on=based_on, before=base)
        if result.outcome == "taken":
            now = self._store.heads(damaged=True)
            if now.alias == heads.alias and (now.release > heads.release or now.revision > heads.revision):
                # An experiment has taken these numbers for its candidate: the next ones are free.
                return self.commit(base, now, proposal, allowed)
            raise RefusedError(
                f"{result.detail} exists in Redis already, and documents are never overwritten",
                hint="The counters in Redis are damaged; "
                '`streamtag release restore-snapshot --reason "…"` numbers above them.',
            )
        return Outcome(new, base, committed=True)

    def readable(self, heads: Heads) -> Current | None:
        """The champion with its documents; None where they are missing or damaged, and history cannot go on."""
        try:
            return None if heads.champion is None else self._store.load(heads.champion)
        except (NotFoundError, RefusedError):
            return None
