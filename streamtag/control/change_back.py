"""The way back of a change request that is live: where its cut-offs go, and what of a release is still its own."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from streamtag.control.change_documents import ChangeRequest, ThresholdMoves
from streamtag.control.release_documents import RevisionId
from streamtag.control.store import ControlStore, Current
from streamtag.domain.change import State
from streamtag.domain.moves import Move, moves_between, taken_back
from streamtag.domain.thresholds import ThresholdSet

__all__ = ["around", "cutoffs_back", "release_back"]


def cutoffs_back(
    request: ChangeRequest, base: Current, store: ControlStore, others: Iterable[ChangeRequest]
) -> tuple[ThresholdSet, list[str]]:
    """The cut-offs without what a request moved, as far as nobody has moved it since, and what stays, in words.

    Args:
        request: live, of cut-offs.
        base: what decides now.
        store: holds the revision before.
        others: requests, newest first: see `_began`.
    """
    content = request.content
    assert isinstance(content, ThresholdMoves), "a bundle goes back as a release"
    moves = _began(request, content, others)
    revision = base.revision
    unmoved = content.made == RevisionId(revision.document.revision, revision.sha256)
    if unmoved and moves == list(content.moves) and revision.document.parent:
        # Nothing has changed since: exactly what was before, the order of overrides included.
        return store.revision(revision.document.parent).document.thresholds.to_set(), []
    found, kept = taken_back(base.thresholds, moves)
    return found, [_stays(move) for move, back in zip(content.moves, moves, strict=True) if back in kept]


def around(request: ChangeRequest, store: ControlStore) -> tuple[Current, Current]:
    """The release that a request led to, and the one in whose place that came."""
    assert request.made is not None, "it is live"
    made = store.load(request.made)
    assert made.release.document.parent is not None, "the first release came by no request"
    return made, store.load(made.release.document.parent)


def release_back(made: Current, before: Current, base: Current) -> tuple[ThresholdSet, list[str]]:
    """As `cutoffs_back`, of a release that brought cut-offs alone."""
    found, kept = taken_back(base.thresholds, moves_between(before.thresholds, made.thresholds))
    return found, [_stays(move) for move in kept]


def _stays(move: Move) -> str:
    return f"{move}: somebody has moved it since"


def _began(request: ChangeRequest, content: ThresholdMoves, others: Iterable[ChangeRequest]) -> list[Move]:
    """The moves, each with where it goes back to.

    A move that was laid over another one for a time began where that one ended up. If the other one has ended since, it
    could not go back, as this one lay above it: so this one goes back to where the other one began.
    """
    live = _last(request, "publish")
    moves = list(content.moves)
    for other in others:
        if other.state not in (State.EXPIRED, State.RESTORED) or not isinstance(other.content, ThresholdMoves):
            continue
        if live is None or other.steps[-1].at < live:
            continue
        for below in other.content.moves:
            if _stays(below) in other.kept:
                moves = [replace(move, before=below.before) if _above(move, below) else move for move in moves]
    return moves


def _above(move: Move, below: Move) -> bool:
    return (move.when, move.label, move.before) == (below.when, below.label, below.after)


def _last(request: ChangeRequest, action: str) -> datetime | None:
    return next((step.at for step in reversed(request.steps) if step.action == action), None)
