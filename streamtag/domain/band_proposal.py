"""Bands from scores of both stages: the smallest around the cut-off that loses few of the decisions stage 2 would flip.

A decision *flips* where one stage tags and the other does not. The scores that stage 1 gave to flipped events are F
draws from one distribution; a band whose ends are two of them, with k of them outside, has a share of that distribution
outside which is at most ``miss`` with the confidence 1 - P(Bin(F, miss) <= k + 1), whatever the distribution (Wilks
1941, tolerance intervals; for k = 0, F = 46 at 0.1 and 95 %). Of the k + 1 ways to leave k outside, the one that sends
the fewest events is taken, so the error probability is multiplied by k + 1 (Bonferroni).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Proposal", "flips_needed", "most_outside", "propose"]


@dataclass(frozen=True)
class Proposal:
    """The band of one label, or why there is none.

    Attributes:
        flips: decisions that stage 2 flips, among the events seen.
        outside: of these, outside of the band.
        low, high: ends of the band, millionths; None where the label is undecided.
        share: of the events seen, in the band.
        needed: flips without which no band can be given.
    """

    flips: int
    outside: int
    low: int | None
    high: int | None
    share: float
    needed: int

    @property
    def undecided(self) -> bool:
        """Whether there are too few flips for any band."""
        return self.low is None


def most_outside(flips: int, miss: float, confidence: float) -> int | None:
    """How many of so many flips may be left outside of a band; None: the flips are too few even for all of them.

    >>> most_outside(45, 0.1, 0.95), most_outside(46, 0.1, 0.95), most_outside(92, 0.05, 0.95)
    (None, 0, None)
    """
    found, below, term = None, 0.0, 1.0
    for k in range(-1, flips - 1):
        # P(Bin(flips, miss) = k + 1), in logarithms: factorials leave the range of a double
        term = math.exp(
            math.lgamma(flips + 1)
            - math.lgamma(k + 2)
            - math.lgamma(flips - k)
            + (k + 1) * math.log(miss)
            + (flips - k - 1) * math.log1p(-miss)
        )
        below += term
        if k >= 0 and (k + 1) * below <= 1 - confidence:
            found = k
        if below > 1 - confidence:
            break
    return found


def flips_needed(miss: float, confidence: float) -> int:
    """Fewest flips that allow a band at all."""
    flips = 2
    while most_outside(flips, miss, confidence) is None:
        flips += 1
    return flips


def propose(
    first: NDArray[np.int64], second: NDArray[np.int64], cutoff: int, *, miss: float, confidence: float
) -> Proposal:
    """The band of one label.

    Args:
        first: scores of stage 1 on events that were chosen independently of them; millionths, int64 [n].
        second: those of stage 2 on the same events, int64 [n].
        cutoff: that decides, in millionths; it lies in the band.
        miss: largest share of flips that may stay outside.
        confidence: that no more do.
    """
    flipped = np.sort(first[(first >= cutoff) != (second >= cutoff)])
    flips, needed = len(flipped), flips_needed(miss, confidence)
    outside = most_outside(flips, miss, confidence)
    if outside is None:
        return Proposal(flips, 0, None, None, 0.0, needed)
    # So many left out below, the rest above.
    left_below = np.arange(outside + 1)
    lows = np.minimum(flipped[left_below], cutoff)
    highs = np.maximum(flipped[flips - 1 - (outside - left_below)], cutoff)
    scores = np.sort(first)
    held = np.searchsorted(scores, highs, side="right") - np.searchsorted(scores, lows, side="left")
    best = int(held.argmin())
    low, high = int(lows[best]), int(highs[best])
    missed = int(((flipped < low) | (flipped > high)).sum())
    return Proposal(flips, missed, low, high, float(held[best] / len(first)), needed)
