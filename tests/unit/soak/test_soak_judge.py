"""What the long run calls flat."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from soak.judge import GROWTH_MIB, HANG_S, JUDGED_S, STEP_MIB, WORTH_JUDGING_S, Verdict, judge, rests, slope
from soak.judge import problems as problems_of
from soak.sampling import Life, Sample

HOUR = 3_600


def life(*, rss: float = 150.0, per_h: float = 0.0, fds: int = 28, threads: int = 19, seconds: int = HOUR) -> Life:
    samples = [Sample(float(s), rss + per_h * s / HOUR, fds, threads, s * 0.2) for s in range(seconds)]
    return Life("worker 0", 1, samples)


def verdict(one: Life, hurt: list[tuple[float, float]]) -> Verdict:
    found = judge(one, rests(0.0, len(one.samples), hurt))
    assert found is not None, "it was at rest"
    return found


def problems(one: Life, hurt: list[tuple[float, float]]) -> list[str]:
    return list(verdict(one, hurt).problems())


def grows(one: Life, hurt: Sequence[tuple[float, float]] = ()) -> bool:
    return any("grew" in problem for problem in problems(one, list(hurt)))


def stepped(by_mib: float, at: int) -> Life:
    one = life()
    one.samples[at:] = [s._replace(rss_mib=s.rss_mib + by_mib) for s in one.samples[at:]]
    return one


def test_a_slope_is_that_of_the_line_through_the_points() -> None:
    assert slope([(1_000.0 + x, 5.0 - 0.25 * x) for x in range(50)]) == pytest.approx(-0.25)


def test_a_run_without_faults_rests_all_the_time() -> None:
    assert rests(10.0, 20.0, []) == [(10.0, 20.0)]


def test_between_faults_a_run_rests() -> None:
    assert rests(0.0, 100.0, [(10.0, 20.0), (50.0, 99.5)]) == [(0.0, 10.0), (20.0, 50.0)]


def test_a_worker_that_stays_as_it_is_has_no_problems() -> None:
    assert problems(life(), [(600.0, 610.0)]) == []


def test_a_leak_of_a_few_bytes_an_event_is_found() -> None:
    assert grows(life(per_h=GROWTH_MIB * 1.3), [(600.0, 610.0)])


def test_one_step_to_another_level_is_no_leak_but_one_that_comes_late_may_be() -> None:
    early = verdict(stepped(STEP_MIB, 1_700), [])
    assert early.slope_mib_per_h > GROWTH_MIB
    assert early.late_slope_mib_per_h == pytest.approx(0.0)
    assert list(early.problems()) == []
    assert grows(stepped(STEP_MIB, 2_700))


def test_a_step_that_is_too_high_is_growth() -> None:
    assert grows(stepped(STEP_MIB + 1, 1_700))


def test_a_leak_that_gives_a_little_back_is_one() -> None:
    one = life(per_h=2 * GROWTH_MIB)
    one.samples[2_700:] = [s._replace(rss_mib=s.rss_mib - 3) for s in one.samples[2_700:]]
    assert grows(one)


def test_a_second_half_that_was_hardly_ever_at_rest_forgives_nothing() -> None:
    assert grows(stepped(STEP_MIB, 1_700), [(2_000.0, 3_400.0)])


def test_what_a_fault_takes_and_gives_back_is_no_growth() -> None:
    one = life()
    one.samples[3_000:3_060] = [s._replace(rss_mib=250.0, fds=60, threads=40) for s in one.samples[3_000:3_060]]
    assert problems(one, [(3_000.0, 3_060.0)]) == []


def test_growth_of_a_short_life_is_not_judged() -> None:
    assert problems(life(per_h=500.0, seconds=int(JUDGED_S / 2)), []) == []


def test_a_call_that_may_still_hang_is_no_leak() -> None:
    one = life(seconds=1_000)
    one.samples[610:] = [s._replace(fds=s.fds + 10, threads=s.threads + 6) for s in one.samples[610:]]
    assert problems(one, [(600.0, 610.0)]) == []
    longer = life(seconds=610 + int(HANG_S) + 2)
    longer.samples[610:] = [s._replace(fds=s.fds + 10, threads=s.threads + 6) for s in longer.samples[610:]]
    assert len(problems(longer, [(600.0, 610.0)])) == 2


def test_what_a_worker_opens_while_it_starts_is_no_growth() -> None:
    one = life()
    one.samples[:5] = [s._replace(fds=6, threads=2) for s in one.samples[:5]]
    assert problems(one, [(600.0, 610.0)]) == []


def test_more_memory_than_allowed_is_a_problem_however_briefly() -> None:
    one = life()
    one.samples[605] = one.samples[605]._replace(rss_mib=400.0)
    assert problems(one, [(600.0, 610.0)]) == ["worker 0 held 400 MiB"]


@pytest.mark.parametrize(("what", "name"), [("fds", "descriptors"), ("threads", "threads")])
def test_what_stays_open_after_a_fault_is_found(what: str, name: str) -> None:
    one = life()
    one.samples[610:] = [s._replace(**{what: getattr(s, what) + 5}) for s in one.samples[610:]]
    found = problems(one, [(600.0, 610.0)])
    assert len(found) == 1
    assert name in found[0]


def test_what_goes_by_itself_after_a_while_is_no_leak() -> None:
    one = life()
    one.samples[610:1_500] = [s._replace(fds=s.fds + 10, threads=s.threads + 6) for s in one.samples[610:1_500]]
    assert problems(one, [(600.0, 610.0), (900.0, 910.0), (1_800.0, 1_810.0)]) == []


def test_a_process_that_was_never_at_rest_is_not_judged() -> None:
    assert judge(Life("worker 1", 2, [Sample(605.0, 1.0, 1, 1, 0.0)]), [(0.0, 600.0), (610.0, 700.0)]) is None


def test_a_long_run_in_which_no_worker_was_judged_is_not_flat() -> None:
    short, long = (verdict(life(seconds=int(seconds)), []) for seconds in (JUDGED_S / 2, JUDGED_S + 1))
    other = replace(long, name="kafka")
    assert len(list(problems_of([short, other], WORTH_JUDGING_S))) == 1
    assert list(problems_of([short, long, other], WORTH_JUDGING_S)) == []
    assert list(problems_of([short], WORTH_JUDGING_S - 1)) == []


def test_only_workers_are_judged() -> None:
    grown = verdict(life(per_h=GROWTH_MIB * 1.3), [])
    assert list(problems_of([grown], 0.0)) == list(grown.problems()) != []
    assert list(problems_of([replace(grown, name="kafka")], 0.0)) == []
