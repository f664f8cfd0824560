"""What another threshold set would have done to events that were counted: tags before and after, and what flips.

Scores do not depend on cut-offs, so the histogram of a window answers it for any set. It is exact where both cut-offs
lie on edges of bins (multiples of 1/1024) and no segment is decided by others; else the truth lies within the range
that is given, since a bin does not say where in it a score lay, nor a histogram of all events whose they were.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from streamtag.domain.scores import BINS, MICRO
from streamtag.domain.thresholds import ThresholdSet, effective_pairs

__all__ = ["Effect", "Range", "Sizes", "at_least", "between", "what_if"]

K = TypeVar("K")
Sizes = Callable[[Mapping[str, str]], int]
"""At most so many events match all of these dimensions."""


@dataclass(frozen=True)
class Range:
    """A number of events: ``low`` at least and ``high`` at most; ``expected`` is the most plausible one."""

    low: int
    expected: float
    high: int

    @property
    def exact(self) -> bool:
        """Whether there is no doubt."""
        return self.low == self.high


NONE = Range(0, 0.0, 0)


@dataclass(frozen=True)
class Effect:
    """What the change does to one label, in events.

    Attributes:
        label: id.
        before, after: its cut-off where no segment says otherwise.
        events: scored.
        now, then: tagged with it, by either set.
        gained, lost: tagged by the new set only, and by the old one only.
    """

    label: str
    before: float
    after: float
    events: int
    now: Range
    then: Range
    gained: Range
    lost: Range


def what_if(
    bins: Mapping[str, NDArray[np.int64]], before: ThresholdSet, after: ThresholdSet, sizes: Sizes
) -> list[Effect]:
    """The effect on each label that both sets cut off and events were scored for, in order of label.

    Args:
        bins: events per score bin and label, int64 [1024] each.
        before: the set that is compared with.
        after: the set that is asked about.
        sizes: how many events a segment may have.
    """
    labels = sorted(bins.keys() & before.labels.keys() & after.labels.keys())
    places = [_Place(*found, sizes) for found in effective_pairs(before, after) if found[0]]
    base = {label: (before.labels[label], after.labels[label]) for label in labels}
    return [_effect(label, bins[label], base[label], places) for label in labels]


def at_least(bins: NDArray[np.int64], cutoff: float) -> Range:
    """How many of the scores reach a cut-off.

    >>> at_least(np.bincount([0, 512, 512, 1023], minlength=1024), 0.5)
    Range(low=3, expected=3.0, high=3)
    """
    micro = round(cutoff * MICRO)
    place = min(micro * BINS // MICRO, BINS - 1)
    above, doubtful = int(bins[place + 1 :].sum()), int(bins[place])
    first, end = _first_of(place), _first_of(place + 1)
    share = (end - micro) / (end - first)  # of the bin, if its scores lie evenly in it
    low = above + doubtful if micro == first else above
    return Range(low, above + share * doubtful, above + doubtful)


def between(bins: NDArray[np.int64], cutoff: float, other: float) -> Range:
    """How many of the scores reach a cut-off, but not the ``other`` one; none where that is no higher."""
    if other <= cutoff:
        return NONE
    reach, beyond = at_least(bins, cutoff), at_least(bins, other)
    return Range(max(0, reach.low - beyond.high), reach.expected - beyond.expected, reach.high - beyond.low)


def _first_of(place: int) -> int:
    """The least score, in millionths, that falls into a bin; of the one behind the last, the first beyond all."""
    return MICRO + 1 if place == BINS else -(-place * MICRO // BINS)


@dataclass(frozen=True)
class _Place:
    """A segment, what either set cuts off there, and who knows how many events it may have."""

    when: Mapping[str, str]
    before: Mapping[str, float]
    after: Mapping[str, float]
    sizes: Sizes

    @cached_property
    def size(self) -> int:
        """Asked for once, and only where some label is decided in a way of its own: it takes a look at all windows."""
        return self.sizes(self.when)


def _effect(label: str, bins: NDArray[np.int64], base: tuple[float, float], places: Sequence[_Place]) -> Effect:
    # Cut-offs of either set, to how many events they may decide.
    pairs = Counter[tuple[float, float]]()
    for place in places:
        pair = place.before[label], place.after[label]
        if pair != base:
            pairs[pair] += place.size
    old, new = Counter[float](), Counter[float]()
    for pair, size in pairs.items():
        old[pair[0]] += size
        new[pair[1]] += size
    events = int(bins.sum())
    return Effect(
        label,
        *base,
        events,
        now=_mixed(events, base[0], old, lambda cutoff: at_least(bins, cutoff)),
        then=_mixed(events, base[1], new, lambda cutoff: at_least(bins, cutoff)),
        gained=_mixed(events, base, pairs, lambda pair: between(bins, pair[1], pair[0])),
        lost=_mixed(events, base, pairs, lambda pair: between(bins, *pair)),
    )


def _mixed(events: int, base: K, sizes: Mapping[K, int], count: Callable[[K], Range]) -> Range:
    """Counts all events as ``base`` has it, but for those that others decide; which these are, no histogram says."""
    whole = count(base)
    others = [(min(size, events), count(key)) for key, size in sizes.items() if key != base]
    elsewhere = sum(size for size, _ in others)
    if not elsewhere:
        return whole
    low = max(0, whole.low - elsewhere)
    high = min(events, whole.high + sum(min(size, one.high) for size, one in others))
    # As if scores were the same in every segment, and no event in two of them.
    shares = [(size / max(events, elsewhere), one.expected) for size, one in others]
    rest = 1 - sum(share for share, _ in shares)
    return Range(low, rest * whole.expected + sum(share * expected for share, expected in shares), high)
