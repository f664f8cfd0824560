"""Two stages: which events a slower, better model scores again, and whose scores they have then.

Stage 1 scores every event. An event whose score of any label lies in that label's band goes to stage 2, as far as
the budget lasts; before those goes a sample, chosen by a hash of the event, so that the band can be judged. What stage
2 has scored has the scores of stage 2, of every label.

Scores are integers in millionths here (`streamtag.domain.scores`), so that batch and stream send the same events.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from streamtag.domain.assignment import below, unit_hashes
from streamtag.domain.scores import MICRO

__all__ = ["Bands", "Bucket", "Route", "band_problems", "goes", "margin_bands", "merge", "routes"]

_NONE = MICRO + 1  # above every score


class Route(IntEnum):
    """What became of an event, and why."""

    FIRST = 0
    """Stage 1 decides: no score is in a band."""
    BAND = 1
    """Stage 2 decides: a score is in its band."""
    SAMPLE = 2
    """Stage 2 decides: the event is in the sample, whatever its scores, and the budget was not spent."""
    SHED = 3
    """Stage 1 decides: a score is in its band, but the budget was spent."""
    FAILED = 4
    """Stage 1 decides: stage 2 was asked and gave no scores."""

    @property
    def word(self) -> str:
        """As in tag events and metrics."""
        return self.name.lower()


def margin_bands(cutoffs: Mapping[str, float], margin: float) -> dict[str, tuple[float, float]]:
    """A band of ``margin`` logits to either side of each cut-off, to the millionth.

    Args:
        cutoffs: label to cut-off, 0 … 1.
        margin: above 0; may be infinite.
    """
    found = {}
    for label, cutoff in cutoffs.items():
        inside = min(max(cutoff, 1 / MICRO), 1 - 1 / MICRO)
        logit = math.log(inside / (1 - inside))
        low, high = (0.5 * (1 + math.tanh((logit + side * margin) / 2)) for side in (-1, 1))
        found[label] = (round(low, 6), round(high, 6))
    return found


@dataclass(frozen=True, eq=False)
class Bands:
    """The uncertainty bands of a bundle.

    Attributes:
        low, high: ends of each label's band, both in it; millionths, int64 [labels]. A label without one has
            ``low > high``.
        sample: share of events that go to stage 2 whatever their scores.
        key: of the sample's hashes, hexadecimal. The bundle's own, so that a sender does not know by itself which
            events go; no experiment has it, so the sample is independent of the arms.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    sample: float = 0.0
    key: str = ""

    @staticmethod
    def of(labels: Sequence[str], bands: Mapping[str, tuple[float, float]], sample: float, key: str = "") -> "Bands":
        """From scores per label; labels that are not named have no band."""
        low, high = np.full(len(labels), _NONE, dtype=np.int64), np.full(len(labels), -1, dtype=np.int64)
        for label, (start, end) in bands.items():
            place = labels.index(label)
            low[place], high[place] = round(start * MICRO), round(end * MICRO)
        return Bands(low, high, sample, key)

    def hold(self, micro: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether any score of an event is in its band, bool [n].

        Args:
            micro: scores of stage 1 in millionths, int64 [n, labels].
        """
        held: NDArray[np.bool_] = np.any((micro >= self.low) & (micro <= self.high), axis=1)
        return held

    def sampled(self, events: Iterable[tuple[str, str | None]], n: int) -> NDArray[np.bool_]:
        """Whether each event is in the sample, bool [n]: by its id and its text, so that no id takes all its events in.

        Args:
            events: id and text of each.
            n: how many.
        """
        if self.sample <= 0:
            return np.zeros(n, dtype=np.bool_)
        units = (f"{name}\0{text or ''}".encode("utf-8", "surrogatepass") for name, text in events)
        return below(unit_hashes(units, self.key), self.sample)


def band_problems(labels: Sequence[str], bands: Iterable[tuple[str, float, float]], sample: float) -> list[str]:
    """Everything that is wrong with bands; empty when they can be used."""
    found, seen = [], set[str]()
    for label, low, high in bands:
        if label not in labels:
            found.append(f"band of {label!r}, which is no label")
        if label in seen:
            found.append(f"band of {label!r} stands twice")
        seen.add(label)
        if not 0 <= low <= high <= 1:  # NaN fails it, too
            found.append(f"band of {label!r} must have 0 ≤ low ≤ high ≤ 1, not {low} and {high}")
        elif any(round(end * MICRO) / MICRO != end for end in (low, high)):
            found.append(f"band of {label!r} has more than six decimals: {low}, {high}")
    if not 0 <= sample <= 1:
        found.append(f"sample must be 0 … 1, not {sample}")
    return found


@dataclass(frozen=True)
class Bucket:
    """A token bucket: a token lets one event through, or is a second that events may take.

    Attributes:
        capacity: most tokens that can be saved.
        tokens: saved now; below 0 where events took longer than was thought.
    """

    capacity: float
    tokens: float = 0.0

    def earn(self, tokens: float) -> "Bucket":
        """With so many more, as far as they can be saved."""
        return replace(self, tokens=min(self.capacity, self.tokens + tokens))

    def spend(self, tokens: float) -> "Bucket":
        """Without these; the debt is never larger than what could be saved."""
        return replace(self, tokens=max(-self.capacity, self.tokens - tokens))

    @property
    def whole(self) -> int:
        """Events that can go through now."""
        return max(0, int(self.tokens))


def routes(in_band: NDArray[np.bool_], sampled: NDArray[np.bool_], allowed: int | None) -> NDArray[np.uint8]:
    """The `Route` of each event of a batch, before stage 2 is asked; uint8 [n].

    Args:
        in_band: bool [n].
        sampled: bool [n]; these come before the others.
        allowed: how many may go: the first of the batch, as places in a batch say nothing about content. Whoever of the
            sample may not is not of it. None: all of them.
    """
    found = np.where(in_band, Route.BAND, Route.FIRST).astype(np.uint8)
    chosen = np.flatnonzero(sampled)[:allowed]
    found[chosen] = Route.SAMPLE
    if allowed is not None:
        found[np.flatnonzero(found == Route.BAND)[allowed - len(chosen) :]] = Route.SHED
    return found


def goes(route: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether stage 2 is asked, and decides unless it fails; bool of the same shape."""
    asked: NDArray[np.bool_] = (route == Route.BAND) | (route == Route.SAMPLE)
    return asked


def merge(
    first: NDArray[np.int64], second: NDArray[np.int64], rows: NDArray[np.intp], valid: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The final scores: those of stage 2 where it gave any, else those of stage 1; int64 [n, labels].

    Args:
        first: of stage 1, int64 [n, labels].
        second: of stage 2, int64 [m, labels].
        rows: events that stage 2 was asked about, intp [m].
        valid: whether it gave scores, bool [m].
    """
    final = first.copy()
    final[rows[valid]] = second[valid]
    return final
