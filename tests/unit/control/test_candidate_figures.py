"""How candidates fare: counts of the last minutes, from heartbeats that only grow, over restarts and lost workers."""

from datetime import UTC, datetime, timedelta

from control_plane import heartbeat
from hypothesis import given
from hypothesis import strategies as st

from streamtag.control.candidate_figures import WINDOW, CandidateFigures
from streamtag.control.fleet import ExperimentFigures, Fleet, Heartbeat
from streamtag.domain.rollout import Figures

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LONG_AGO = NOON - timedelta(hours=1)
ID = "3-0123456789ab"


def at(s: float) -> datetime:
    return NOON + timedelta(seconds=s)


def beat(s: float, worker: str = "w1", *, started: datetime = LONG_AGO, lag: int = 0, **counts: float) -> Heartbeat:
    figures = ExperimentFigures(**counts)  # type: ignore[arg-type]
    return heartbeat(worker, beat_at=at(s), started_at=started, lag=lag, experiments={ID: figures})


def observed(*looks: tuple[float, list[Heartbeat]]) -> CandidateFigures:
    figures = CandidateFigures(timedelta(seconds=5))
    for s, beats in looks:
        figures.observe(Fleet(tuple(beats), at(s)))
    return figures


def test_what_was_counted_before_the_first_look_does_not_count() -> None:
    figures = observed((0, [beat(0, scored=1000, failures=9)]), (1, [beat(1, scored=1100, failures=10)]))
    assert figures.of(ID) == Figures(scored=100, failures=1)


def test_all_that_a_young_worker_has_counted_counts() -> None:
    young = at(-10)
    figures = observed(
        (0, [beat(0, started=young, scored=50, shed=2)]), (1, [beat(1, started=young, scored=60, shed=2)])
    )
    assert figures.of(ID) == Figures(scored=60, shed=2)


def test_what_came_while_it_was_loaded_counts_for_no_limit() -> None:
    young = at(-10)
    figures = observed((0, [beat(0, started=young, scored=50, loading=10_000)]))
    assert figures.of(ID) == Figures(scored=50)
    assert figures.of(ID).events == 50


def test_workers_are_added_and_the_slowest_counts() -> None:
    looks = [
        (float(s), [beat(s, "w1", scored=10 * s, p99_ms=7.0), beat(s, "w2", scored=5 * s, dead=s, p99_ms=9.0)])
        for s in range(5)
    ]
    assert observed(*looks).of(ID) == Figures(scored=60, dead=4, p99_ms=9.0)


def test_only_the_last_minutes_count() -> None:
    window_s = int(WINDOW.total_seconds())
    looks = [(float(s), [beat(s, scored=s, failures=min(s, 100))]) for s in range(2 * window_s)]
    found = observed(*looks).of(ID)
    assert found.failures == 0
    assert window_s <= found.scored <= window_s + 5


def test_a_restarted_worker_begins_anew_and_what_it_had_counted_stays() -> None:
    looks = [
        (0, [beat(0, scored=100)]),
        (1, [beat(1, scored=150)]),
        (2, [beat(2, started=at(1.5), scored=7)]),
    ]
    assert observed(*looks).of(ID).scored == 50 + 7


def test_a_worker_that_takes_an_experiment_up_anew_counts_from_0() -> None:
    looks = [(0, [beat(0, scored=100)]), (1, [beat(1, scored=150)]), (2, [beat(2, scored=3)]), (3, [beat(3, scored=8)])]
    assert observed(*looks).of(ID).scored == 8


def test_a_worker_that_is_gone_is_forgotten_in_the_end() -> None:
    figures = observed((0, [beat(0, scored=0)]), (1, [beat(1, scored=9, p99_ms=80.0)]), (15, []), (30, []))
    assert figures.of(ID) == Figures(scored=9)
    for s in range(40, int(WINDOW.total_seconds()) + 12, 10):
        figures.observe(Fleet((), at(s)))
    assert figures.of(ID) == Figures()


def test_a_stale_heartbeat_says_nothing() -> None:
    assert observed((0, [beat(0, scored=0)]), (9, [beat(1, scored=9, p99_ms=3.0)])).of(ID) == Figures()


def test_a_lag_counts_once_it_has_lasted_a_minute_and_its_least_counts() -> None:
    def lasting(lags: dict[int, int]) -> int | None:
        now, looks = 0, []
        for s in range(max(lags) + 1):
            now = lags.get(s, now)
            looks.append((float(s), [beat(s, lag=now)]))
        return observed(*looks).of(ID).lag

    assert lasting({0: 500, 30: 600}) is None
    assert lasting({0: 500, 30: 600, 61: 700}) == 500
    assert lasting({0: 500, 30: 600, 61: 700, 62: 3}) == 3
    assert lasting({0: 3, 1: 500, 30: 600, 62: 700}) == 500


def test_a_lag_that_nobody_reports_any_more_is_not_known() -> None:
    assert observed((0, [beat(0, lag=9)]), (70, [])).of(ID).lag is None


def test_what_was_seen_before_nobody_looked_for_a_while_stands_for_nothing() -> None:
    before = [(float(s), [beat(s, scored=s, lag=500)]) for s in range(50)]
    after = [(float(s), [beat(s, scored=s, failures=s // 10, lag=500)]) for s in range(3_600, 3_640)]
    found = observed(*before, *after).of(ID)
    assert (found.scored, found.failures, found.lag) == (39, 3, None)
    again = observed(*before, *after, *((float(s), [beat(s, lag=500)]) for s in range(3_640, 3_670))).of(ID)
    assert again.lag == 500


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9), st.booleans()), min_size=1, max_size=60))
def test_no_count_is_ever_negative_or_more_than_was_counted(steps: list[tuple[int, int, bool]]) -> None:
    figures, s, scored, total, started = CandidateFigures(timedelta(seconds=5)), 0.0, 0, 0, LONG_AGO
    for seconds, events, restarts in steps:
        s += seconds
        if restarts:
            started, scored = at(s), 0
        scored, total = scored + events, total + events
        figures.observe(Fleet((beat(s, started=started, scored=scored),), at(s)))
        assert 0 <= figures.of(ID).scored <= total
