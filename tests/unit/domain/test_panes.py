"""Placing records in time: a timestamp nobody can believe never moves a pane."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.domain.panes import place

NOW = 1_700_000_012_345
PANE = 10_000
FUTURE = 60_000
AGE = 604_800_000
int64s = st.integers(-(2**63), 2**63 - 1)


def placed(stamp: int, *, now_ms: int = NOW, max_age_ms: int = AGE) -> tuple[int, bool]:
    panes, flagged = place(
        np.array([stamp], dtype=np.int64), now_ms, pane_ms=PANE, max_future_ms=FUTURE, max_age_ms=max_age_ms
    )
    return int(panes[0]), bool(flagged[0])


@pytest.mark.parametrize(
    ("stamp", "pane", "by_arrival"),
    [
        (NOW, 1_700_000_010_000, False),
        (1_700_000_010_000, 1_700_000_010_000, False),
        (1_700_000_009_999, 1_700_000_000_000, False),
        (NOW + FUTURE, 1_700_000_070_000, False),
        (NOW + FUTURE + 1, 1_700_000_010_000, True),
        (NOW - AGE, (NOW - AGE) // PANE * PANE, False),
        (NOW - AGE - 1, 1_700_000_010_000, True),
        (0, 1_700_000_010_000, True),
        (-1, 1_700_000_010_000, True),
        (2**62, 1_700_000_010_000, True),
    ],
)
def test_a_timestamp_counts_in_its_pane_unless_it_is_out_of_bounds(stamp: int, pane: int, by_arrival: bool) -> None:
    assert placed(stamp) == (pane, by_arrival)


def test_no_timestamp_is_never_believed_however_old_records_may_be() -> None:
    assert placed(-1, max_age_ms=2 * NOW) == (1_700_000_010_000, True)
    assert placed(0, max_age_ms=2 * NOW) == (0, False)


@settings(deadline=None)
@given(st.lists(int64s, max_size=50), st.integers(0, 2**41), st.integers(1, 3_600_000))
def test_every_pane_is_aligned_and_near_and_a_believed_timestamp_lies_in_it(
    stamps: list[int], now_ms: int, pane_ms: int
) -> None:
    given_stamps = np.array(stamps, dtype=np.int64)
    panes, flagged = place(given_stamps, now_ms, pane_ms=pane_ms, max_future_ms=FUTURE, max_age_ms=AGE)
    for stamp, pane, by_arrival in zip(stamps, panes.tolist(), flagged.tolist(), strict=True):
        assert pane % pane_ms == 0
        assert pane <= now_ms + FUTURE
        assert pane + pane_ms > now_ms - AGE
        counted_at = now_ms if by_arrival else stamp
        assert pane <= counted_at < pane + pane_ms
        assert by_arrival == (not max(0, now_ms - AGE) <= stamp <= now_ms + FUTURE)
