"""Published numbers of the population stability index, its null law, and what a comparison must hold."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamtag.domain.drift import bin_starts, critical_psi, psi, score_drift
from streamtag.domain.scores import BINS, bin_of

Histogram = NDArray[np.int64]

pairs = st.integers(2, 12).flatmap(
    lambda k: st.tuples(*[st.lists(st.integers(0, 5_000), min_size=k, max_size=k) for _ in "ab"])
)
histograms = st.dictionaries(st.integers(0, BINS - 1), st.integers(1, 2_000), min_size=1, max_size=40).map(
    lambda cells: np.bincount(list(cells), weights=list(cells.values()), minlength=BINS).astype(np.int64)
)
thresholds = st.lists(st.integers(0, 1_000_000), max_size=3)


# scores of a rare label
RARE = np.bincount(bin_of((np.random.default_rng(1).beta(0.3, 15, 50_000) * 1e6).astype(np.int64)), minlength=BINS)


def scores(rng: np.random.Generator, n: int) -> Histogram:
    return rng.multinomial(n, RARE / RARE.sum())


def test_the_published_example_against_equal_shares() -> None:
    assert psi([1, 2, 4, 2, 1], [2, 2, 2, 2, 2], pseudo_count=0) == pytest.approx(0.4 * math.log(2), rel=1e-12)


@pytest.mark.parametrize(("n", "critical"), [(50, 0.677), (100, 0.338), (200, 0.169), (1_000, 0.034), (10_000, 0.0034)])
def test_what_chance_explains_shrinks_with_the_number_of_events(n: int, critical: float) -> None:
    assert critical_psi(n, n, 10) == pytest.approx(critical, abs=0.5 * 10 ** -(4 if n == 10_000 else 3))


def test_the_index_of_two_samples_of_one_distribution_follows_its_law() -> None:
    rng = np.random.default_rng(7)
    shares = np.full(6, 1 / 6)
    found = [psi(rng.multinomial(500, shares), rng.multinomial(2_000, shares)) for _ in range(4_000)]
    assert np.mean(found) == pytest.approx((1 / 500 + 1 / 2_000) * 5, rel=0.04)
    assert np.quantile(found, 0.95) == pytest.approx(critical_psi(500, 2_000, 6), rel=0.06)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (500, 2_000), (50_000, 200), (200, 50_000)])
def test_without_drift_one_comparison_in_twenty_is_raised_however_few_events(n: int, m: int) -> None:
    rng, runs = np.random.default_rng(11), 400
    found = [score_drift("a", scores(rng, n), scores(rng, m), thresholds_micro=[300_000]) for _ in range(runs)]
    raised = sum(signal.raised for signal in found)
    assert 0.01 * runs <= raised <= 0.05 * runs + 3 * math.sqrt(runs * 0.05 * 0.95)


def test_a_shift_across_the_threshold_is_raised() -> None:
    rng = np.random.default_rng(3)
    before, now = scores(rng, 20_000), scores(rng, 2_000)
    now[0] -= 60
    now[700] += 60
    found = score_drift("a", before, now, thresholds_micro=[300_000])
    assert found.raised
    assert (found.name, found.labels, found.n, found.m) == ("score_drift", ("a",), 20_000, 2_000)
    assert "20,000 events in the reference" in found.words


@given(pairs, st.randoms(use_true_random=False))
def test_the_index_is_symmetric_not_negative_and_blind_to_the_order_of_bins(
    counts: tuple[list[int], list[int]], random: Random
) -> None:
    a, b = counts
    order = list(range(len(a)))
    random.shuffle(order)
    assert psi(a, b) == pytest.approx(psi(b, a), abs=1e-12)
    assert psi(a, b) >= 0
    assert psi([a[i] for i in order], [b[i] for i in order]) == pytest.approx(psi(a, b), abs=1e-12)
    assert psi(a, a) == 0


@given(pairs)
def test_merging_bins_never_shows_more_drift(counts: tuple[list[int], list[int]]) -> None:
    a, b = (np.array(side) + 1 for side in counts)
    fewer_a, fewer_b = (np.concatenate(([side[0] + side[1]], side[2:])) for side in (a, b))
    assert psi(fewer_a, fewer_b, pseudo_count=0) <= psi(a, b, pseudo_count=0) + 1e-12


@given(histograms, st.integers(0, 100_000), thresholds, st.integers(1, 20))
def test_every_bin_expects_five_events_of_either_sample(
    reference: Histogram, m: int, cuts: list[int], bins: int
) -> None:
    starts = bin_starts(reference, m, thresholds_micro=cuts, bins=bins)
    assert starts[0] == 0
    assert list(starts) == sorted(set(starts.tolist()))
    assert len(starts) <= bins + len(cuts)
    held = np.add.reduceat(reference, starts)
    assert held.sum() == reference.sum()
    if len(starts) > 1:
        assert held.min() * min(1.0, m / reference.sum()) >= 5 - 1e-9


@given(st.integers(200_000, 800_000), st.integers(50, 100_000))
def test_a_threshold_with_events_enough_on_both_sides_is_an_edge_before_any_quantile(cut: int, m: int) -> None:
    starts = bin_starts(np.full(BINS, 5), m, thresholds_micro=[cut])
    assert bin_of(np.array([cut]))[0] in starts


def test_one_crowded_score_bin_leaves_the_others_to_the_rest() -> None:
    reference = np.zeros(BINS, dtype=np.int64)
    reference[0], reference[100:1_000] = 90_000, 10
    held = np.add.reduceat(reference, bin_starts(reference, 10_000, bins=10))
    assert held.tolist() == [90_000, *[1_000] * 9]


@given(histograms)
def test_no_events_or_one_score_for_all_is_too_few_to_tell(reference: Histogram) -> None:
    nothing = np.zeros(BINS, dtype=np.int64)
    for before, now in ((reference, nothing), (nothing, reference), (nothing, nothing)):
        found = score_drift("a", before, now, thresholds_micro=[500_000])
        assert found.critical is None
        assert not found.raised
        assert "too few" in found.words
