"""Labels that are stuck, label sets that are the same for everything, and that neither is said too early."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamtag.domain.behaviour import LEAST_EVENTS, NEARLY_ALL, AlertCounts, Signal, same_set, stuck_labels

NORMAL = AlertCounts(100_000, {"spam": 3_000, "insult": 300, "threat": 0})

windows = st.integers(0, 50_000).flatmap(
    lambda n: st.builds(AlertCounts, st.just(n), st.dictionaries(st.sampled_from("abcd"), st.integers(0, n)))
)


def counts(tags: NDArray[np.bool_]) -> AlertCounts:
    return AlertCounts(len(tags), {f"l{i}": int(tags[:, i].sum()) for i in range(tags.shape[1])})


def raised(signals: list[Signal]) -> list[tuple[str, tuple[str, ...]]]:
    return [(signal.name, signal.labels) for signal in signals if signal.raised]


def test_a_label_falls_silent_once_its_own_rate_says_so() -> None:
    assert raised(stuck_labels(NORMAL, AlertCounts(100, {"spam": 0, "insult": 1, "threat": 0}))) == []
    assert raised(stuck_labels(NORMAL, AlertCounts(500, {"insult": 1}))) == [("never", ("spam",))]
    assert raised(stuck_labels(NORMAL, AlertCounts(5_000, {"spam": 150}))) == [("never", ("insult",))]


def test_a_label_that_never_tagged_may_stay_silent() -> None:
    found = stuck_labels(NORMAL, AlertCounts(10**9, {"spam": 30_000_000, "insult": 3_000_000, "threat": 0}))
    assert [(s.labels, s.raised) for s in found] == [(("threat",), False)]


def test_a_label_on_nearly_everything_is_raised_and_says_how_it_was() -> None:
    (found,) = stuck_labels(NORMAL, AlertCounts(1_000, {"spam": 30, "insult": 990, "threat": 1}))
    assert found.raised
    assert (found.name, found.labels, found.n, found.m) == ("always", ("insult",), 100_000, 1_000)
    assert NEARLY_ALL < found.value < 0.99
    assert found.words == "990 of 1,000 events are tagged insult; 300 of 100,000 in the reference"


def test_a_label_that_is_only_perhaps_on_nearly_everything_is_not_raised_yet() -> None:
    usual = AlertCounts(1_000, {"a": 500})
    (found,) = stuck_labels(usual, AlertCounts(1_000, {"a": 960}))
    assert found.critical == NEARLY_ALL
    assert 0.9 < found.value < NEARLY_ALL


def test_a_label_that_was_always_on_everything_may_stay_so() -> None:
    usual = AlertCounts(10_000, {"text": 9_990})
    assert raised(stuck_labels(usual, AlertCounts(10_000, {"text": 9_991}))) == []


def test_a_label_without_a_reference_is_left_out() -> None:
    assert stuck_labels(AlertCounts(1_000, {}), AlertCounts(1_000, {"new": 1_000})) == []
    assert not any(s.raised for s in stuck_labels(AlertCounts(0, {"new": 0}), AlertCounts(1_000, {"new": 1_000})))


@pytest.mark.parametrize(("n", "m"), [(LEAST_EVENTS - 1, 10**6), (10**6, LEAST_EVENTS - 1)])
def test_too_few_events_are_too_few_to_tell(n: int, m: int) -> None:
    before, now = AlertCounts(n, {"a": n // 2, "b": n // 2}), AlertCounts(m, {"a": m, "b": 0})
    found = [*stuck_labels(before, now), same_set(before, now)]
    assert len(found) == 3
    for signal in found:
        assert signal is not None
        assert (signal.critical, signal.raised) == (None, False)
        assert "too few events" in signal.words


@settings(max_examples=30)
@given(windows)
def test_a_window_is_never_raised_against_itself(window: AlertCounts) -> None:
    assert raised(stuck_labels(window, window)) == []
    found = same_set(window, window)
    assert found is None or not found.raised


def test_looking_after_every_event_of_a_healthy_label_hardly_ever_raises_it() -> None:
    rng = np.random.default_rng(4)
    before = AlertCounts(5_000, {"a": int(rng.binomial(5_000, 0.02))})
    runs = 200
    silent = rng.geometric(0.02, runs) - 1  # a healthy label's first silence is its longest look at none
    wrong = sum(bool(raised(stuck_labels(before, AlertCounts(int(m), {"a": 0}), alpha=0.05))) for m in silent)
    assert wrong <= runs * 0.05


def test_the_same_labels_for_everything_are_raised_as_a_set() -> None:
    found = same_set(NORMAL, AlertCounts(2_000, {"spam": 1_999, "insult": 1_995, "threat": 3}))
    assert found is not None
    assert found.raised
    assert found.labels == ("spam", "insult")
    assert found.words.startswith("at least 1,991 of 2,000 events get spam + insult, and nothing else")


def test_no_label_for_anything_is_raised_where_labels_were_usual() -> None:
    found = same_set(NORMAL, AlertCounts(2_000, {}))
    assert found is not None
    assert found.raised
    assert found.labels == ()
    usual = same_set(AlertCounts(2_000, {"spam": 0}), AlertCounts(2_000, {}))
    assert usual is not None
    assert not usual.raised


def test_healthy_traffic_has_no_common_set() -> None:
    assert same_set(NORMAL, AlertCounts(1_000, {"spam": 30, "insult": 30})) is None


@given(st.integers(0, 2**32 - 1), st.integers(LEAST_EVENTS, 400), st.floats(0, 0.05))
def test_the_share_of_the_common_set_is_never_overstated_now_nor_understated_before(
    seed: int, n: int, noise: float
) -> None:
    rng = np.random.default_rng(seed)
    common = rng.random(4) < 0.5
    now, before = (common ^ (rng.random((n, 4)) < rate) for rate in (noise, 10 * noise))
    found = same_set(counts(before), counts(now))
    if found is not None:
        assert found.labels == tuple(f"l{i}" for i in np.flatnonzero(common))
        assert (now == common).all(axis=1).mean() >= max(NEARLY_ALL, found.value)
        assert found.critical is not None
        assert (before == common).all(axis=1).mean() <= found.critical
