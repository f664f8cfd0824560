"""Scores on a grid of one millionth, so that what is decided, published and counted is the same integer.

A probability from the model is rounded to micro-units *before* anything uses it. The decimal in a tag event is
then exactly the number that was compared with the threshold, the histogram bin follows from it, and sums are
integers: every statistic can be rebuilt from the tag events, and the other way round.
"""

import numpy as np
from numpy.typing import NDArray

MICRO = 1_000_000
BINS = 1_024


def to_micro(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rounds probabilities to millionths.

    Args:
        scores: float32 of any shape, finite, within [0, 1].

    Returns:
        int64 of the same shape, 0 … 1,000,000.
    """
    return np.rint(scores.astype(np.float64) * MICRO).astype(np.int64)


def from_micro(micro: NDArray[np.int64]) -> NDArray[np.float64]:
    """The float64 nearest to the decimal ``micro / 1e6``: the number a JSON reader gets back."""
    return micro / MICRO


def bin_of(micro: NDArray[np.int64]) -> NDArray[np.int64]:
    """Histogram bin of each score: ``floor(score * 1024)``, the last bin closed; exact, in integers."""
    return np.minimum(micro * BINS // MICRO, BINS - 1)
