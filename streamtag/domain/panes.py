"""Placing a record in time: the pane it counts in, and what to do with a timestamp nobody can believe."""

import numpy as np
from numpy.typing import NDArray


def place(
    timestamps_ms: NDArray[np.int64], now_ms: int, *, pane_ms: int, max_future_ms: int, max_age_ms: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Pane of each record, and whether its timestamp was not believed.

    A timestamp later than ``now + max_future`` or older than ``max_age`` (or absent: negative) is placed by
    arrival, i.e. at ``now_ms``; otherwise one date in the far future would close every pane.

    Args:
        timestamps_ms: record timestamps, int64 [n], Unix milliseconds; negative means none.
        now_ms: arrival, Unix milliseconds.
        pane_ms: width of a pane.
        max_future_ms: how far ahead of ``now_ms`` is believed.
        max_age_ms: how old is believed.

    Returns:
        Start of each pane, int64 [n], and bool [n], true where placed by arrival.
    """
    flagged = (timestamps_ms > now_ms + max_future_ms) | (timestamps_ms < max(0, now_ms - max_age_ms))
    placed = np.where(flagged, now_ms, timestamps_ms)
    return placed // pane_ms * pane_ms, flagged
