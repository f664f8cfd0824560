"""When a breaker opens and closes: beyond its bound, on enough, and never back and forth within a window."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamtag.domain.breaker import Bound, Breaker, Counted, next_step

BOUND = Bound(0.1, min_alerts=20, window_s=300, close_ratio=0.5, close_after_s=600)
BEGAN = st.sampled_from([0.0, 399.0, 400.0, 600.0, 900.0, 1_000.0])
counted = st.integers(0, 5_000).flatmap(lambda n: st.builds(Counted, st.just(n), st.integers(0, n), BEGAN))
breakers = st.one_of(st.none(), st.builds(Breaker, st.booleans(), st.sampled_from([0.0, 100.0, 500.0, 900.0])))


@given(breakers, counted)
def test_it_opens_beyond_the_bound_on_enough_and_closes_well_below_it(breaker: Breaker | None, seen: Counted) -> None:
    step = next_step(BOUND, breaker, seen, 1_000.0)
    if step is None:
        return
    assert seen.began_s >= 400, "not longer over than it was wide"
    assert breaker is None or seen.began_s >= breaker.since_s
    if step.kind == "open":
        assert breaker is None or (not breaker.open and breaker.since_s <= 700)
        assert seen.alerts >= 20
        assert seen.alerts > 0.1 * seen.events
    else:
        assert breaker is not None
        assert breaker.open
        assert breaker.since_s <= 400
        assert seen.events >= 200
        assert seen.alerts <= 0.05 * seen.events


@given(counted)
def test_what_has_just_changed_does_not_change_back(seen: Counted) -> None:
    for opened in (True, False):
        assert next_step(BOUND, Breaker(opened, 1_000.0), seen, 1_001.0) is None


def test_few_alerts_say_nothing_however_large_their_part() -> None:
    assert next_step(BOUND, None, Counted(19, 19, 0.0), 0.0) is None
    assert next_step(BOUND, None, Counted(25, 25, 0.0), 0.0) is not None
    assert next_step(BOUND, None, Counted(0, 0, 0.0), 0.0) is None


def test_chance_opens_nothing_however_often_one_looks() -> None:
    """A label that does just what its bound allows, over the windows of a week; the plain rate is beyond it in most."""
    chance = np.random.default_rng(7)
    events = chance.poisson(200, size=(2_016, 30)).cumsum(axis=1)
    alerts = chance.binomial(np.diff(events, axis=1, prepend=0), BOUND.rate).cumsum(axis=1)
    opened = [
        any(next_step(BOUND, None, Counted(n, k, 0.0), 60.0) for n, k in zip(*window, strict=True))
        for window in zip(events.tolist(), alerts.tolist(), strict=True)
    ]
    assert ((alerts >= 20) & (alerts > BOUND.rate * events)).any(axis=1).mean() > 0.5
    assert sum(opened) <= 6  # of 2 expected at most


def test_a_window_says_nothing_before_all_sources_are_in_it() -> None:
    bound = Bound(0.1, min_alerts=20, window_s=300, settle_s=15)
    assert next_step(bound, None, Counted(1_000, 900, 300.0), 314.9) is None
    assert next_step(bound, None, Counted(1_000, 900, 300.0), 315.0) is not None


def test_a_person_closes_what_has_no_rule_for_it() -> None:
    bound = Bound(0.1, min_alerts=20, window_s=300)
    assert next_step(bound, Breaker(True, 0.0), Counted(1_000, 0, 1e9), 1e9) is None


def test_quiet_traffic_closes_nothing() -> None:
    assert next_step(BOUND, Breaker(True, 0.0), Counted(199, 0, 900.0), 1_000.0) is None
    assert next_step(BOUND, Breaker(True, 0.0), Counted(200, 0, 900.0), 1_000.0) is not None


def test_only_a_window_that_began_since_it_changed_and_is_not_long_over_says_anything() -> None:
    closed = Breaker(False, 500.0)
    assert next_step(BOUND, closed, Counted(100, 100, 499.0), 900.0) is None
    assert next_step(BOUND, closed, Counted(100, 100, 500.0), 900.0) is not None
    assert next_step(BOUND, None, Counted(100, 100, 0.0), 600.0) is not None
    assert next_step(BOUND, None, Counted(100, 100, 0.0), 601.0) is None
