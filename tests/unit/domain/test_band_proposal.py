"""Bands by tolerance intervals: published sample sizes, and what a band promises holds on data it never saw."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.domain.band_proposal import flips_needed, most_outside, propose
from streamtag.domain.scores import MICRO

CUTOFF = 400_000
SCORES = st.lists(st.integers(0, MICRO), min_size=1, max_size=200)


# Two-sided tolerance limits, first order: Wilks (1941); the table is in every text on them, e.g. Conover (1999), A6.
@pytest.mark.parametrize(
    ("miss", "confidence", "flips"),
    [(0.1, 0.95, 46), (0.05, 0.95, 93), (0.1, 0.9, 38), (0.25, 0.95, 18), (0.05, 0.99, 130), (0.01, 0.95, 473)],
)
def test_as_many_flips_are_needed_as_two_sided_tolerance_limits_need(
    miss: float, confidence: float, flips: int
) -> None:
    assert most_outside(flips - 1, miss, confidence) is None
    assert most_outside(flips, miss, confidence) == 0
    assert flips_needed(miss, confidence) == flips


def test_more_flips_leave_more_outside_but_never_as_many_as_may_miss() -> None:
    found = [most_outside(flips, 0.1, 0.95) or 0 for flips in (100, 1_000, 10_000, 100_000)]
    assert found == sorted(found)
    assert 0 < found[1] < 100
    assert 0.09 < found[-1] / 100_000 < 0.1


def stages(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two stages that differ most where the first is unsure."""
    random = np.random.default_rng(seed)
    first = np.rint(random.beta(0.6, 2.0, n) * MICRO).astype(np.int64)
    second = np.clip(first + np.rint(random.normal(0, 120_000, n)).astype(np.int64), 0, MICRO)
    return first, second


def outside(first: np.ndarray, second: np.ndarray, low: int, high: int) -> float:
    flipped = (first >= CUTOFF) != (second >= CUTOFF)
    return float((flipped & ((first < low) | (first > high))).sum() / flipped.sum())


def test_the_promise_holds_on_events_that_the_band_was_not_made_from() -> None:
    fresh = stages(200_000, 1_000)
    broken = 0
    for seed in range(100):
        found = propose(*stages(2_000, seed), CUTOFF, miss=0.1, confidence=0.9)
        assert found.low is not None
        assert found.high is not None
        broken += outside(*fresh, found.low, found.high) > 0.1
    assert broken <= 20  # 10 expected at most; P(> 20) = 0.1 %


@given(SCORES, st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.3, 0.5]))
def test_a_band_holds_the_cutoff_and_leaves_no_more_outside_than_it_says(
    scores: list[int], seed: int, miss: float
) -> None:
    first = np.array(scores, dtype=np.int64)
    second = np.random.default_rng(seed).integers(0, MICRO, len(first))
    found = propose(first, second, CUTOFF, miss=miss, confidence=0.8)
    flips = int(((first >= CUTOFF) != (second >= CUTOFF)).sum())
    assert found.flips == flips
    if found.low is None or found.high is None:
        assert flips < found.needed
        return
    assert found.low <= CUTOFF <= found.high
    assert found.outside / flips <= miss
    assert found.share == ((first >= found.low) & (first <= found.high)).mean()


def test_of_the_ways_to_leave_as_many_outside_the_one_that_sends_fewest_is_taken() -> None:
    # Rare flips far below the cut-off, among crowds of events; above it there is nearly nothing.
    flipped_low = np.concatenate([np.full(5, 10_000), np.linspace(380_000, 399_999, 495).astype(np.int64)])
    crowd = np.full(5_000, 50_000, dtype=np.int64)
    first = np.concatenate([flipped_low, crowd])
    second = np.concatenate([np.full(500, MICRO), crowd])
    found = propose(first, second, CUTOFF, miss=0.1, confidence=0.95)
    assert found.low is not None
    assert found.low >= 380_000
    assert found.high == CUTOFF
