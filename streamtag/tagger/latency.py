"""How long events took lately: from the timestamp of their record to the commit of their tags."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["WINDOW_S", "Latency", "RecentLatency"]

WINDOW_S = 15
"""Long enough for a 99th percentile of thin traffic, short enough to be *now*."""

_LONGEST_MS = 3_600_000
# The largest value of each bucket: every millisecond up to 26, then steps of 4 %.
_BOUNDS_MS = np.unique(np.append(np.floor(1.04 ** np.arange(385)), (0, _LONGEST_MS))).astype(np.int64)


class Latency(NamedTuple):
    """Percentiles in whole milliseconds: never too low, at most 4 % too high; an hour stands for all that is longer."""

    p50_ms: int
    p99_ms: int


class RecentLatency:
    """Of the events committed in the last `WINDOW_S` seconds: a histogram a second, 40 kB for good.

    One thread adds, a whole transaction at a time; any may ask.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = np.zeros((WINDOW_S, len(_BOUNDS_MS)), dtype=np.int64)
        self._seconds = np.zeros(WINDOW_S, dtype=np.int64)
        """Which second each row of counts is of."""

    def add(self, latencies_ms: NDArray[np.int64]) -> None:
        """Counts events that have just been committed; below 0, where clocks differ, is 0."""
        buckets = np.searchsorted(_BOUNDS_MS, np.minimum(latencies_ms, _LONGEST_MS))
        counts = np.bincount(buckets, minlength=len(_BOUNDS_MS))
        second = int(self._clock())
        row = second % WINDOW_S
        with self._lock:
            if self._seconds[row] != second:
                self._seconds[row] = second
                self._counts[row] = 0
            self._counts[row] += counts

    def figures(self) -> Latency | None:
        """None where nothing was committed."""
        with self._lock:
            recent = self._seconds > int(self._clock()) - WINDOW_S
            upto = self._counts[recent].sum(axis=0).cumsum()
        events = int(upto[-1])
        if not events:
            return None
        ranks = [-(-percent * events // 100) for percent in (50, 99)]  # of the nearest event from above
        return Latency(*_BOUNDS_MS[np.searchsorted(upto, ranks)].tolist())
