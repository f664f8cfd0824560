"""Single cut-offs that move: what a change request says, laid over whatever decides by then, and taken back again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamtag.domain.conditions import Condition, key_of
from streamtag.domain.thresholds import Override, ThresholdSet, condition_name, with_changes

__all__ = ["Move", "apart", "cutoff", "moves_between", "taken_back", "with_moves"]


@dataclass(frozen=True)
class Move:
    """One cut-off of its own, of the base (no condition) or of the segment ``when``; None where there is none."""

    when: Mapping[str, str]
    label: str
    before: float | None
    after: float | None

    @property
    def where(self) -> str:
        """The condition in words; empty for the base."""
        return condition_name(self.when)

    def __str__(self) -> str:
        """``lang=de spam: 0.8 -> 0.9``."""
        before, after = ("none" if value is None else f"{value:g}" for value in (self.before, self.after))
        return f"{self.where + ' ' if self.when else ''}{self.label}: {before} -> {after}"


def cutoff(thresholds: ThresholdSet, when: Mapping[str, str], label: str) -> float | None:
    """The cut-off that the base, or the overrides of exactly ``when``, give to ``label``; None where they do not."""
    return _own(thresholds).get(key_of(when), {}).get(label)


def moves_between(before: ThresholdSet, after: ThresholdSet) -> list[Move]:
    """What leads from one set to the other, cut-off by cut-off. The order of overrides is not in it."""
    old, new = _own(before), _own(after)
    found = []
    for place in [*old, *(p for p in new if p not in old)]:
        mine, theirs = old.get(place, {}), new.get(place, {})
        found += [
            Move(dict(place), label, mine.get(label), theirs.get(label))
            for label in [*mine, *(name for name in theirs if name not in mine)]
            if mine.get(label) != theirs.get(label)
        ]
    return found


def with_moves(base: ThresholdSet, moves: Sequence[Move]) -> ThresholdSet:
    """``base`` with every move made, whatever the cut-offs were before."""
    for move in moves:
        if move.after is not None:
            base = with_changes(base, {move.label: move.after}, move.when)
        else:
            base = _without(base, move)
    return base


def apart(present: ThresholdSet, moves: Sequence[Move]) -> list[tuple[Move, float | None]]:
    """The moves that do not start where ``present`` is, each with the cut-off that is there."""
    found = [(move, cutoff(present, move.when, move.label)) for move in moves]
    return [(move, there) for move, there in found if there != move.before]


def taken_back(present: ThresholdSet, moves: Sequence[Move]) -> tuple[ThresholdSet, list[Move]]:
    """``present`` with the moves undone, and those that were left as they are: somebody has moved the cut-off since.

    >>> move = Move({}, "spam", 0.5, 0.7)
    >>> taken_back(ThresholdSet({"spam": 0.7, "insult": 0.4}), [move])[0].labels
    {'spam': 0.5, 'insult': 0.4}
    >>> taken_back(ThresholdSet({"spam": 0.6}), [move])[1] == [move]
    True
    """
    back = [Move(move.when, move.label, move.after, move.before) for move in moves]
    elsewhere = {id(move) for move, _ in apart(present, back)}
    kept = [move for move, undone in zip(moves, back, strict=True) if id(undone) in elsewhere]
    return with_moves(present, [undone for undone in back if id(undone) not in elsewhere]), kept


def _own(thresholds: ThresholdSet) -> dict[Condition, dict[str, float]]:
    """Cut-offs by condition, the base under the empty one; of a condition that stands twice, the later wins."""
    found: dict[Condition, dict[str, float]] = {(): dict(thresholds.labels)}
    for override in thresholds.segments:
        found.setdefault(key_of(override.when), {}).update(override.labels)
    return found


def _without(base: ThresholdSet, move: Move) -> ThresholdSet:
    if not move.when:
        return ThresholdSet({name: value for name, value in base.labels.items() if name != move.label}, base.segments)
    segments = []
    for override in base.segments:
        labels = dict(override.labels)
        if key_of(override.when) == key_of(move.when):
            labels.pop(move.label, None)
        if labels:
            segments.append(Override(override.when, labels))
    return ThresholdSet(base.labels, tuple(segments))
