"""Published tables, and what a comparison of associations must hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamtag.domain.behaviour import Signal
from streamtag.domain.chi_square import critical_value, survival
from streamtag.domain.cooccurrence import CoAlerts, association_changes, bh_rejections, phi

cells = st.tuples(*[st.integers(5, 2_000)] * 4)


def pair(both: int, one: int, other: int, neither: int) -> CoAlerts:
    counts = np.array([[both + one, both], [both, both + other]])
    return CoAlerts(("a", "b"), both + one + other + neither, counts)


def window(tags: NDArray[np.bool_]) -> CoAlerts:
    """Of a table of events and labels."""
    numbers = tags.astype(np.int64)
    return CoAlerts(tuple(f"l{i}" for i in range(tags.shape[1])), len(tags), numbers.T @ numbers)


def only(signals: list[Signal]) -> Signal:
    (signal,) = signals
    return signal


# Bartlett (1935): plum root cuttings alive or dead, planted at once or in spring; long ones, and short ones.
LONG, SHORT = pair(156, 84, 84, 156), pair(107, 31, 133, 209)


def test_bartletts_cuttings_have_the_published_correlations_and_the_published_g_squared() -> None:
    # R, vcdExtra: assocstats(Bartlett) 0.3 and 0.35; loglm of all two-way terms 2.293841 with 1 degree of freedom
    assert phi(LONG)[0, 1] == pytest.approx(0.3, abs=1e-9)
    assert phi(SHORT)[0, 1] == pytest.approx(0.35, abs=0.0005)
    found = only(association_changes(LONG, SHORT))
    assert found.value == pytest.approx(2.293841, abs=5e-6)
    assert found.critical == pytest.approx(3.841459, abs=1e-6)
    assert not found.raised
    assert "φ 0.300, now 0.350" in found.words


def test_benjamini_and_hochberg_reject_four_of_their_published_example() -> None:
    published = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719]
    published += [0.6528, 0.7590, 1.0]
    assert bh_rejections(published[::-1]) == 4
    assert bh_rejections([]) == bh_rejections([0.06, 0.9]) == 0
    assert bh_rejections([0.04, 0.05]) == 2


@given(cells, cells)
def test_exchanging_windows_or_labels_or_the_sense_of_a_tag_changes_nothing(
    a: tuple[int, int, int, int], b: tuple[int, int, int, int]
) -> None:
    before = [s.value for s in association_changes(pair(*a), pair(*b))]
    assert [s.value for s in association_changes(pair(*b), pair(*a))] == pytest.approx(before, abs=1e-6)
    for order in ((0, 2, 1, 3), (2, 3, 0, 1), (1, 0, 3, 2)):
        turned = association_changes(pair(*(a[i] for i in order)), pair(*(b[i] for i in order)))
        assert [s.value for s in turned] == pytest.approx(before, abs=1e-6)


@given(cells, st.integers(2, 5))
def test_more_of_the_same_is_no_change(a: tuple[int, int, int, int], times: int) -> None:
    found = association_changes(pair(*a), pair(*(times * count for count in a)))
    assert all(signal.value == pytest.approx(0, abs=1e-6) for signal in found)


@given(cells, cells, st.integers(2, 9))
def test_labels_that_only_become_more_frequent_are_no_change(
    a: tuple[int, int, int, int], b: tuple[int, int, int, int], times: int
) -> None:
    # the odds ratio stays where whole rows and columns grow
    grown = pair(times * times * a[0], times * a[1], times * a[2], a[3])
    for signal in association_changes(pair(*a), grown):
        assert signal.value == pytest.approx(0, abs=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_correlation_is_that_of_the_tags_and_follows_the_order_of_labels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tags = rng.random((50, 5)) < rng.random(5)
    tags[0], tags[1] = True, False
    found = phi(window(tags))
    assert found == pytest.approx(np.corrcoef(tags.T), abs=1e-9)
    order = rng.permutation(5)
    assert phi(window(tags[:, order])) == pytest.approx(found[np.ix_(order, order)], abs=1e-12)


def test_counts_of_windows_add_up_to_those_of_both() -> None:
    tags = np.random.default_rng(5).random((400, 4)) < 0.3
    first, second = window(tags[:150]), window(tags[150:])
    added = CoAlerts(first.labels, first.events + second.events, first.counts + second.counts)
    assert np.array_equal(phi(added), phi(window(tags)))


def test_a_label_on_no_event_or_on_all_has_no_correlation() -> None:
    tags = np.random.default_rng(5).random((100, 3)) < 0.5
    tags[:, 0], tags[:, 1] = False, True
    found = phi(window(tags))
    assert np.isnan(found[:2]).all()
    assert found[2, 2] == pytest.approx(1)
    assert association_changes(window(tags), window(tags)) == []


def test_without_change_one_pair_in_twenty_exceeds_the_limit_of_one_test() -> None:
    rng = np.random.default_rng(2)
    base = np.linspace(0.05, 0.4, 12)

    def draw(n: int) -> CoAlerts:
        return window(rng.random((n, 12)) < base * np.where(rng.random((n, 1)) < 0.2, 2.0, 0.75))

    values = [s.value for _ in range(40) for s in association_changes(draw(8_000), draw(2_000))]
    assert len(values) > 2_000
    share = np.mean(np.array(values) > critical_value(0.05, 1))
    assert share == pytest.approx(0.05, abs=0.015)


def test_pairs_that_part_are_raised_and_come_first() -> None:
    rng = np.random.default_rng(9)
    tags = rng.random((6_000, 6)) < 0.2
    before, now = tags[:4_000], tags[4_000:]
    before[:, 1] = before[:, 0] ^ (rng.random(4_000) < 0.05)
    found = association_changes(window(before), window(now))
    assert found[0].labels == ("l0", "l1")
    assert [s.labels for s in found if s.raised] == [("l0", "l1")]
    assert len(found) == 15


def test_as_many_pairs_are_raised_as_the_false_discovery_rate_allows() -> None:
    rng = np.random.default_rng(6)
    tags = rng.random((4_000, 8)) < 0.3
    before, now = window(tags[:2_000]), window(tags[2_000:] | (rng.random((2_000, 1)) < 0.05))
    found = association_changes(before, now)
    p_values = [survival(signal.value, 1) for signal in found]
    alone = sum(p <= 0.05 / len(p_values) for p in p_values)
    assert alone < sum(signal.raised for signal in found) == bh_rejections(p_values)


def test_a_pair_that_never_met_and_now_does_is_raised_though_the_reference_has_an_empty_cell() -> None:
    assert only(association_changes(pair(0, 500, 500, 9_000), pair(100, 400, 400, 9_100))).raised


def test_pairs_with_too_few_events_are_not_spoken_of() -> None:
    assert association_changes(pair(1, 20, 20, 900), pair(2, 20, 20, 900)) == []
    assert association_changes(pair(0, 0, 0, 0), LONG) == []


def test_windows_of_different_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="different labels"):
        association_changes(LONG, CoAlerts(("a", "c"), 10, LONG.counts))
