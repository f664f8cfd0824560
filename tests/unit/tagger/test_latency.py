"""What a worker says of latency: of the last seconds only, never too low, and hardly too high."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamtag.tagger.latency import WINDOW_S, Latency, RecentLatency

HOUR_MS = 3_600_000


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def of(*latencies_ms: int) -> Latency | None:
    recent = RecentLatency(Clock())
    recent.add(np.array(latencies_ms, dtype=np.int64))
    return recent.figures()


@given(st.lists(st.lists(st.integers(0, HOUR_MS), max_size=40), min_size=1, max_size=WINDOW_S))
def test_percentiles_are_never_too_low_and_at_most_4_percent_too_high(seconds: list[list[int]]) -> None:
    clock = Clock()
    recent = RecentLatency(clock)
    for latencies in seconds:
        recent.add(np.array(latencies, dtype=np.int64))
        clock.now += 1
    clock.now -= 1
    told, every = recent.figures(), sorted(one for latencies in seconds for one in latencies)
    assert (told is None) == (not every)
    for percent, ms in zip((50, 99), told or (), strict=False):
        exact = every[-(-percent * len(every) // 100) - 1]
        assert exact <= ms <= exact * 1.04


def test_a_short_latency_is_exact_and_an_hour_stands_for_all_that_is_longer() -> None:
    assert all(of(ms) == (ms, ms) for ms in range(27))
    assert of(HOUR_MS) == of(2 * HOUR_MS, 90 * HOUR_MS) == (HOUR_MS, HOUR_MS)


def test_a_clock_that_is_ahead_of_ours_makes_no_latency_below_0() -> None:
    assert of(-5, -700) == (0, 0)


def test_what_was_committed_before_the_window_is_forgotten() -> None:
    clock = Clock()
    recent = RecentLatency(clock)
    recent.add(np.array([400], dtype=np.int64))
    clock.now += WINDOW_S - 1
    recent.add(np.array([5, 5], dtype=np.int64))
    told = recent.figures()
    assert told is not None
    assert told.p50_ms == 5
    assert told.p99_ms >= 400
    clock.now += 1
    assert recent.figures() == (5, 5)
    clock.now += WINDOW_S - 1
    assert recent.figures() is None
    recent.add(np.array([9], dtype=np.int64))
    assert recent.figures() == (9, 9), "a second takes the place of one that is over"
