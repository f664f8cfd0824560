"""Published numbers, closed forms, and what every e-process must hold."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamtag.domain.evalues import (
    PairedCounts,
    SplitCounts,
    e_bh,
    log_e_difference_above,
    log_e_difference_below,
    log_e_paired_ratio_above,
    log_e_ratio_above,
    log_e_ratio_below,
    log_e_shares,
    rate_beyond,
    rate_interval,
    ratio_interval,
)

counts = st.integers(0, 5_000)
shares = st.floats(0.01, 0.99)


def test_stops_where_the_published_multinomial_example_stops() -> None:
    # savvi's documentation, multinomial
    draws = np.random.RandomState(1).multinomial(1, [0.1, 0.3, 0.6], size=1_000).cumsum(axis=0).tolist()
    null = [0.1, 0.4, 0.5]
    stop = next(i for i, seen in enumerate(draws) if log_e_shares(seen, null) >= math.log(20))
    assert (stop + 1, draws[stop]) == (402, [40, 129, 233])
    assert math.exp(-log_e_shares(draws[stop], null)) == pytest.approx(0.04845591105969517, rel=1e-12)


def test_stops_where_the_published_two_arm_example_stops_with_its_interval() -> None:
    # savvi's documentation, Poisson counts of two arms
    tilted = np.array([0.8, 0.2]) * np.exp([1.5, 2])
    draws = np.random.RandomState(1).multinomial(1, tilted / tilted.sum(), size=1_000).cumsum(axis=0).tolist()
    stop = next(i for i, seen in enumerate(draws) if log_e_shares(seen, [0.8, 0.2]) >= math.log(20))
    assert (stop + 1, draws[stop]) == (210, [148, 62])
    assert math.exp(-log_e_shares(draws[stop], [0.8, 0.2])) == pytest.approx(0.045579631759249686, rel=1e-12)
    intervals = [ratio_interval([SplitCounts(a, b, 0.2)], prior=100) for a, b in draws[: stop + 1]]
    assert math.log(max(low for low, _ in intervals)) == pytest.approx(0.00464625, rel=1e-5)
    assert math.log(min(high for _, high in intervals)) == pytest.approx(0.75493987, rel=1e-6)


@pytest.mark.parametrize(
    ("alerts", "events", "best_at", "low", "high"),
    [
        (700, 1_000, 100, 0.651629, 0.745949),
        (15, 50, 50, 0.129556, 0.511896),
        (5, 50, 50, 0.013021, 0.269264),
        (1, 50, 50, 0, 0.13489),
        (100, 200, 1, 0.328923, 0.671076),
    ],
)
def test_rate_intervals_are_those_confseq_publishes(
    alerts: int, events: int, best_at: float, low: float, high: float
) -> None:
    assert rate_interval(alerts, events, best_at=best_at) == pytest.approx((low, high), abs=5e-6)


@pytest.mark.parametrize(
    ("b", "c", "e"),
    [
        (6, 0, 9.142857),
        (8, 0, 28.444444),
        (10, 0, 93.090909),
        (9, 1, 9.309091),
        (10, 2, 4.773893),
        (20, 5, 24.290515),
        (33, 8, 547.971306),
        (121, 59, 4730.990069),
    ],
)
def test_paired_evidence_is_the_closed_form(b: int, c: int, e: float) -> None:
    evidence = math.exp(log_e_shares([b, c], [0.5, 0.5], prior=2))  # a uniform mixture
    assert evidence == pytest.approx(e, abs=1e-6)
    assert evidence == pytest.approx(2 ** (b + c) / ((b + c + 1) * math.comb(b + c, b)))


def test_reference_values() -> None:
    assert log_e_ratio_above([SplitCounts(50, 80, 0.5)]) == pytest.approx(1.653923, abs=1e-6)
    assert log_e_ratio_above([SplitCounts(50, 80, 0.5)], 1.25) == pytest.approx(-0.946312, abs=1e-6)
    assert log_e_ratio_above([SplitCounts(900, 160, 0.1)]) == pytest.approx(10.854877, abs=1e-6)
    assert log_e_ratio_below([SplitCounts(80, 50, 0.5)]) == pytest.approx(1.653923, abs=1e-6)
    assert log_e_difference_above(PairedCounts(33, 8, 0, 1_000)) == pytest.approx(5.647678, abs=1e-6)
    assert log_e_difference_above(PairedCounts(33, 8, 0, 1_000), 0.01) == pytest.approx(1.418558, abs=1e-6)
    assert math.exp(log_e_shares([50_000, 50_000], [0.5, 0.5])) == pytest.approx(0.0315, abs=1e-4)


def test_pooling_over_a_ramp_would_turn_a_regression_into_its_opposite() -> None:
    ramp = [SplitCounts(190, 20, 0.05), SplitCounts(60, 118, 0.5)]
    assert log_e_ratio_above(ramp) == pytest.approx(11.087146, abs=1e-6)
    assert log_e_ratio_above([SplitCounts(250, 138, 0.5)]) == pytest.approx(-4.589718, abs=1e-6)


@pytest.mark.parametrize(
    ("e_values", "rejected"),
    [
        ([500, 150, 90, 60, 3, 1, 1, 0.5, 0.2, 0.1], [0, 1, 2, 3]),
        ([199, *[1] * 9], []),
        ([200, *[1] * 9], [0]),
        ([1, 100, 1, 100, *[1] * 6], [1, 3]),
        ([], []),
    ],
)
def test_e_bh_is_what_a_hand_computes(e_values: list[float], rejected: list[int]) -> None:
    assert e_bh(e_values) == rejected


def test_no_data_is_no_evidence() -> None:
    assert log_e_shares([0, 0], [0.3, 0.7]) == pytest.approx(0)
    assert log_e_ratio_above([]) == log_e_ratio_above([SplitCounts(0, 0, 0.1)]) == pytest.approx(0)
    assert log_e_difference_above(PairedCounts(0, 0, 0, 0), 0.01) == pytest.approx(0)
    assert rate_interval(0, 0) == (0, 1)
    assert ratio_interval([SplitCounts(0, 0, 0.5)]) == (0, math.inf)


@given(counts, counts, shares, st.floats(0.5, 2))
def test_swapping_the_arms_swaps_the_direction(control: int, candidate: int, share: float, bound: float) -> None:
    one = log_e_ratio_above([SplitCounts(control, candidate, share)], bound)
    other = log_e_ratio_below([SplitCounts(candidate, control, 1 - share)], 1 / bound)
    assert one == pytest.approx(other, rel=1e-9, abs=1e-6)


@given(counts, counts, counts, st.floats(-0.5, 0.5))
def test_swapping_the_pairs_swaps_the_direction(b: int, c: int, neither: int, bound: float) -> None:
    n = b + c + neither
    assert log_e_difference_above(PairedCounts(b, c, 0, n), bound) == log_e_difference_below(
        PairedCounts(c, b, 0, n), -bound
    )


@given(counts, counts, counts, st.floats(-0.5, 0.5))
def test_one_more_event_is_expected_to_change_nothing_at_the_edge_of_the_null(
    b: int, c: int, neither: int, bound: float
) -> None:
    """The step of a supermartingale, checked where it is an equality: E[D] = bound, whatever came before."""
    n = b + c + neither
    before = log_e_difference_above(PairedCounts(b, c, 0, n), bound)
    grown = [
        math.exp(log_e_difference_above(PairedCounts(b + up, c + down, 0, n + 1), bound) - before)
        for up, down in ((1, 0), (0, 1), (0, 0))
    ]
    for spread in (0.0, 0.3):  # how often the arms differ: any share that has this mean will do
        up, down = max(bound, 0) + spread / 2 * (1 - abs(bound)), max(-bound, 0) + spread / 2 * (1 - abs(bound))
        expected = up * grown[0] + down * grown[1] + (1 - up - down) * grown[2]
        assert expected == pytest.approx(1, rel=1e-6)


@given(counts, counts, counts, st.floats(0.2, 5), st.floats(0.01, 0.1), st.floats(0, 0.9))
def test_one_more_pair_is_expected_to_change_nothing_when_the_rates_have_that_ratio(
    b: int, c: int, both: int, bound: float, control: float, overlap: float
) -> None:
    n = b + c + both
    seen = PairedCounts(b, c, both, n)
    before = log_e_paired_ratio_above(seen, bound)
    together = overlap * min(control, control * bound)
    chances = {
        (1, 0, 0): control * bound - together,
        (0, 1, 0): control - together,
        (0, 0, 1): together,
    }
    grown = {
        step: math.exp(log_e_paired_ratio_above(PairedCounts(b + up, c + down, both + more, n + 1), bound) - before)
        for step in chances
        for up, down, more in [step]
    }
    expected = sum(chances[step] * grown[step] for step in chances) + 1 - sum(chances.values())
    assert expected == pytest.approx(1, rel=1e-6)


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=4), shares)
def test_one_more_alert_is_expected_to_change_nothing_when_the_rates_are_equal(
    seen: list[tuple[int, int]], share: float
) -> None:
    phases = [SplitCounts(a, b, share) for a, b in seen]
    last = phases[-1]
    before = log_e_ratio_above(phases)
    to_candidate = log_e_ratio_above([*phases[:-1], last._replace(candidate=last.candidate + 1)])
    to_control = log_e_ratio_above([*phases[:-1], last._replace(control=last.control + 1)])
    expected = share * math.exp(to_candidate - before) + (1 - share) * math.exp(to_control - before)
    assert expected == pytest.approx(1, rel=1e-6)


@given(st.lists(st.tuples(counts, counts, shares), max_size=4))
def test_the_order_of_phases_does_not_matter(seen: list[tuple[int, int, float]]) -> None:
    phases = [SplitCounts(*one) for one in seen]
    assert log_e_ratio_above(phases) == pytest.approx(log_e_ratio_above(phases[::-1]), rel=1e-9, abs=1e-6)


@given(counts, counts, st.floats(0.0001, 0.9999))
@example(10, 100_000, 0.9995)
@example(10, 100_000, 1 - 2**-53)
def test_an_interval_holds_the_ratio_that_was_seen(control: int, candidate: int, share: float) -> None:
    low, high = ratio_interval([SplitCounts(control, candidate, share)])
    if control and candidate:
        assert low < candidate * (1 - share) / (control * share) < high


@given(st.integers(0, 3_000), st.integers(0, 3_000))
def test_a_rate_interval_holds_the_rate_that_was_seen_and_no_impossible_one(alerts: int, clean: int) -> None:
    low, high = rate_interval(alerts, alerts + clean)
    for rate in (0.0, 0.03, 0.5, 1.0):
        assert rate_beyond(alerts, alerts + clean, rate, alpha=0.05) == (low > rate)
    seen = alerts / (alerts + clean) if alerts + clean else 0.5
    assert 0 <= low <= seen <= high <= 1


@given(st.lists(st.tuples(counts, counts, st.floats(0.05, 0.95)), min_size=1, max_size=4))
def test_a_ratio_interval_is_never_empty_however_much_the_phases_differ(seen: list[tuple[int, int, float]]) -> None:
    low, high = ratio_interval([SplitCounts(*one) for one in seen])
    assert low < high


def test_where_no_one_ratio_fits_all_phases_the_interval_covers_each() -> None:
    doubled, halved = SplitCounts(1_000, 2_000, 0.5), SplitCounts(2_000, 1_000, 0.5)
    low, high = ratio_interval([doubled, halved])
    assert low < 0.5
    assert high > 2


@given(counts, counts, counts, st.floats(0.3, 3), st.floats(1.01, 1.5))
def test_evidence_against_at_most_falls_with_the_bound(b: int, c: int, both: int, bound: float, more: float) -> None:
    pair = PairedCounts(b, c, both, b + c + both)
    assert log_e_paired_ratio_above(pair, bound * more) <= log_e_paired_ratio_above(pair, bound) + 1e-9
    split = [SplitCounts(c, b, 0.3)]
    assert log_e_ratio_above(split, bound * more) <= log_e_ratio_above(split, bound) + 1e-9
    difference = (bound - 1) / 4
    assert log_e_difference_above(pair, difference + more / 5) <= log_e_difference_above(pair, difference) + 1e-9
