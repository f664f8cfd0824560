"""Whether the scores of a label are spread as they were: the population stability index, judged by its null law.

The customary limits of 0.1 and 0.25 mean nothing by themselves: without any drift, ten bins give more than 0.68 in
one of twenty comparisons of 50 events with 50, and more than 0.0034 at 10,000.

Source: Yurdakul and Naranjo, Statistical properties of the population stability index (J. Risk Model Validation 2020).
"""

from bisect import bisect, insort
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamtag.domain.behaviour import Signal
from streamtag.domain.chi_square import critical_value
from streamtag.domain.scores import bin_of

_LEAST_EXPECTED = 5  # events a bin must expect in the smaller sample, or the null law does not hold
_PSEUDO_COUNT = 0.5


def score_drift(
    label: str,
    reference: NDArray[np.int64],
    current: NDArray[np.int64],
    *,
    thresholds_micro: Sequence[int] = (),
    bins: int = 10,
    alpha: float = 0.05,
) -> Signal:
    """Compares two score histograms of one label.

    The null law is that of *one* look at two disjoint windows: divide ``alpha`` by the number of labels and windows
    looked at. With many events even a harmless shift is certain; the value says how large it is.

    Args:
        label: id.
        reference: events per score bin (`streamtag.domain.scores.bin_of`), int64 [1024].
        current: the same of the window in question, int64 [1024].
        thresholds_micro: active cut-offs, in millionths.
        bins: to aim at.
        alpha: chance of a signal without drift.
    """
    n, m = int(reference.sum()), int(current.sum())
    starts = bin_starts(reference, m, thresholds_micro=thresholds_micro, bins=bins)
    value = psi(np.add.reduceat(reference, starts), np.add.reduceat(current, starts))
    sizes = f"{len(starts)} bins, {n:,} events in the reference, {m:,} now"
    if len(starts) < 2:
        return Signal("score_drift", (label,), value, None, n, m, f"too few scores that differ ({sizes})")
    critical = critical_psi(n, m, len(starts), alpha)
    words = f"PSI {value:.4f}, of which chance explains {critical:.4f} ({sizes})"
    return Signal("score_drift", (label,), value, critical, n, m, words)


def psi(reference: ArrayLike, current: ArrayLike, pseudo_count: float = _PSEUDO_COUNT) -> float:
    """Population stability index of two counts over the same bins; 0 where their shares are equal.

    ``pseudo_count`` is added to every bin of both before they are made shares, so that no bin is empty.

    >>> round(psi([10, 20, 40, 20, 10], [20, 20, 20, 20, 20], pseudo_count=0), 6)
    0.277259
    """
    a = np.asarray(reference, dtype=np.float64) + pseudo_count
    b = np.asarray(current, dtype=np.float64) + pseudo_count
    a, b = a / a.sum(), b / b.sum()
    return float(((a - b) * np.log(a / b)).sum())


def critical_psi(n: int, m: int, bins: int, alpha: float = 0.05) -> float:
    """What the index of two samples of one distribution exceeds with probability ``alpha``.

    >>> round(critical_psi(1_000, 1_000, 10), 3)
    0.034
    """
    return (1 / n + 1 / m) * critical_value(alpha, bins - 1)


def bin_starts(
    reference: NDArray[np.int64], current_events: int, *, thresholds_micro: Sequence[int] = (), bins: int = 10
) -> NDArray[np.int64]:
    """First score bin of each bin to compare by. Depends on the reference and on the number of events only.

    Edges are the thresholds (rounded down to a score bin, so that whatever is tagged lies above), then the quantiles
    of the reference. One that would leave a bin with fewer than five expected events in either sample is left out.

    Args:
        reference: events per score bin, int64 [1024].
        current_events: of the window to be compared.
        thresholds_micro: active cut-offs, in millionths.
        bins: number of quantile bins to aim at.

    Returns:
        int64 [at most bins + number of thresholds], ascending, the first 0.
    """
    below = np.concatenate(([0], np.cumsum(reference)))
    least = _LEAST_EXPECTED * max(1.0, below[-1] / max(1, current_events))
    ends = [0, len(reference)]
    thresholds = bin_of(np.array(thresholds_micro, dtype=np.int64))
    for edge in (*thresholds.tolist(), *_quantiles(below, bins)):
        at = bisect(ends, edge)
        if ends[at - 1] < edge and min(below[edge] - below[ends[at - 1]], below[ends[at]] - below[edge]) >= least:
            insort(ends, edge)
    return np.array(ends[:-1], dtype=np.int64)


def _quantiles(below: NDArray[np.int64], bins: int) -> Iterator[int]:
    """Edges of bins with equal numbers of events. Where one score bin holds more, the others share what it leaves."""
    edge, last = 0, len(below) - 1
    for left in range(bins, 1, -1):
        target = below[edge] + (below[-1] - below[edge]) / left
        edge = int(np.searchsorted(below, target))
        if edge < last:
            yield edge
