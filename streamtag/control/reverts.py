"""Cut-offs that somebody has just set, and that go back by themselves all the same: a change for a time holds them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streamtag.control.change_back import around
from streamtag.control.change_documents import ChangeRequest, ThresholdMoves
from streamtag.control.change_log import ChangeLog
from streamtag.control.store import ControlStore, Current
from streamtag.domain.moves import Move, cutoff, moves_between
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import StreamtagError

__all__ = ["Revert", "told_reverts"]


@dataclass(frozen=True)
class Revert:
    """What a change for a time takes back at its end, as the cut-off has the value that it gave."""

    change: int
    author: str
    at: datetime
    moves: Sequence[Move]

    @property
    def cancel(self) -> str:
        """The command that ends it now."""
        return f'streamtag change restore {self.change} --reason "…"'

    @property
    def text(self) -> str:
        """In words, with the way out."""
        what = ", ".join(f"{move.where + ' ' if move.when else ''}{move.label}={move.after:g}" for move in self.moves)
        return (
            f"{what} does not stay: change {self.change} of {self.author} holds it for a time, and takes it back at "
            f"{self.at:%Y-%m-%d %H:%M:%S} UTC, although it was set again. `{self.cancel}` ends that change now, "
            "with all that it moved; what is set after that stays"
        )

    def facts(self) -> list[dict[str, Any]]:
        """For programs, one for each cut-off."""
        about = {"change": self.change, "author": self.author, "at": self.at, "cancel": self.cancel}
        return [{"segment": move.where, "label": move.label, "value": move.after, **about} for move in self.moves]


def told_reverts(
    asked: ThresholdSet, current: Current, store: ControlStore, warn: Callable[[str], None]
) -> list[Revert]:
    """Changes for a time that take back some of what was ``asked`` and decides now, the first to end first.

    Args:
        asked: the cut-offs that somebody named.
        current: what decides.
        store: holds the change requests.
        warn: told of each in words; and where they cannot be read, since what was asked for stands all the same.
    """
    try:
        found = _reverts_of(asked, current, store)
    except StreamtagError as error:
        warn(f"whether a change for a time takes some of it back could not be found out: {error.message}")
        return []
    for one in found:
        warn(one.text)
    return found


def _reverts_of(asked: ThresholdSet, current: Current, store: ControlStore) -> list[Revert]:
    found = []
    for request in ChangeLog(store).for_a_time():
        moves = [move for move in _moved(request, current, store) if _named(asked, move)]
        if moves and request.expires_at is not None:
            found.append(Revert(request.number, request.author, request.expires_at, moves))
    return sorted(found, key=lambda one: one.at)


def _moved(request: ChangeRequest, current: Current, store: ControlStore) -> Sequence[Move]:
    if isinstance(request.content, ThresholdMoves):
        return request.content.moves
    made, before = around(request, store)
    if made.release.document.bundle != before.release.document.bundle and made.id != current.id:
        return []  # such a one waits for a person
    return moves_between(before.thresholds, made.thresholds)


def _named(asked: ThresholdSet, move: Move) -> bool:
    return move.after is not None and cutoff(asked, move.when, move.label) == move.after
