"""The schedule of a campaign is a function of its seed; its end is when it was told to end."""

import itertools
import random
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faults import campaign
from faults.campaign import ALL_KINDS, Course, Plan, happened, rounds
from faults.fault import Fault
from faults.operator import CHANGES
from faults.ports import Ports
from faults.read_side_faults import APP_KINDS
from faults.stage import Stage
from faults.statistics_campaign import drawn

from streamtag.errors import UnavailableError


def made_up_stage(brokers: int = 2) -> Stage:
    seats = [SimpleNamespace(index=i) for i in range(4)]
    found = SimpleNamespace(
        seats=seats,
        working=seats[:-1],
        spare=seats[-1],
        disk=SimpleNamespace(small=True),
        services=SimpleNamespace(cluster=SimpleNamespace(brokers=list(range(brokers)))),
        operator=SimpleNamespace(made=Counter(dict.fromkeys(CHANGES, 10))),
        upstream=SimpleNamespace(finished=False),
    )
    return cast(Stage, found)


def schedule(seed: int, count: int = 200) -> list[tuple[float, list[tuple[Any, ...]]]]:
    """All that is drawn: pauses, kinds, victims, durations, points."""
    dealt = itertools.islice(rounds(made_up_stage(), Plan(seed, 1, 1)), count)
    own = ("seat", "node", "hold_s", "point", "_skip", "_hard", "_gap_s", "_by_s", "_delay_ms", "_seats")

    def drawn(fault: Fault) -> tuple[Any, ...]:
        return fault.name, *(repr(getattr(fault, name, None)) for name in own)

    return [(pause, [drawn(fault) for fault in faults]) for pause, faults in dealt]


def test_one_seed_deals_the_same_faults_to_two_campaigns() -> None:
    assert schedule(7) == schedule(7)


def test_another_seed_deals_others() -> None:
    assert schedule(7) != schedule(8)


def test_rare_kinds_come_up_in_time() -> None:
    """At the campaign's pace of nine rounds a minute, each kind ten times within 25 minutes."""
    dealt = itertools.islice(rounds(made_up_stage(), Plan(7, 1, 1)), 25 * 9)
    often = Counter(fault.name for _, faults in dealt for fault in faults)
    assert set(often) == {kind.name for kind in ALL_KINDS}
    assert min(often.values()) >= 10


def test_two_faults_at_once_hurt_different_things() -> None:
    for _, faults in itertools.islice(rounds(made_up_stage(), Plan(3, 1, 1)), 300):
        assert len({fault.hurts for fault in faults}) == len(faults)


def test_only_what_keeps_a_worker_from_knowing_excuses_it() -> None:
    """Frozen workers and hurt roads to Redis excuse those they hurt, Redis itself everybody, Kafka nobody."""
    stage = made_up_stage()
    for _, faults in itertools.islice(rounds(stage, Plan(7, 1, 1)), 300):
        for fault in faults:
            if fault.hurts == "kafka" or fault.name in ("worker killed", "worker drained", "clock stepped"):
                assert list(fault.blurred()) == []
            elif "frozen" in fault.name and fault.hurts == "workers":
                assert fault.blurred() == [fault.seat]
            elif fault.name.startswith("redis"):
                assert fault.blurred() == stage.seats


@pytest.mark.parametrize(
    ("minutes", "least", "over"),
    [(4.9, 10, False), (5.1, 10, True), (5.1, 9, False), (19.9, 9, False), (20.1, 9, True)],
    ids=["too early", "enough", "one kind too rarely", "still", "at the latest"],
)
def test_a_campaign_goes_on_until_each_kind_has_happened_but_not_for_ever(
    minutes: float, least: int, over: bool
) -> None:
    stage, plan = made_up_stage(), Plan(7, 5, 1, each=10, at_most_minutes=20)
    course = Course(minutes=minutes)
    course.faults.update({kind.name: 10 for kind in ALL_KINDS} | {"worker killed": least})
    assert campaign._over(stage, plan, course) == over


@pytest.mark.parametrize(
    ("minutes", "least", "kinds"), [(4.9, 9, len(ALL_KINDS)), (5.1, 9, 1), (5.1, 10, len(ALL_KINDS))]
)
def test_past_its_minutes_a_campaign_goes_on_with_what_came_too_rarely(minutes: float, least: int, kinds: int) -> None:
    stage, plan = made_up_stage(), Plan(7, 5, 1, each=10, at_most_minutes=20)
    course = Course(minutes=minutes)
    course.faults.update({kind.name: 10 for kind in ALL_KINDS} | {"worker killed": least})
    dealt = itertools.islice(rounds(stage, plan), 200)
    struck = {fault.name for _, drawn in dealt for fault in campaign._wanted(stage, plan, course, drawn)}
    assert len(struck) == kinds
    assert "worker killed" in struck


def test_kinds_that_this_machine_cannot_have_are_not_waited_for() -> None:
    assert "broker failover" not in happened(made_up_stage(brokers=1), Plan(7, 5, 1), Course())
    assert happened(made_up_stage(brokers=2), Plan(7, 5, 1), Course())["broker failover"] == 0


def test_campaigns_side_by_side_get_other_ports(tmp_path: Any) -> None:
    with Ports(tmp_path) as one, Ports(tmp_path) as other:
        mine, theirs = {one.take() for _ in range(20)}, {other.take() for _ in range(20)}
    assert len(mine) == len(theirs) == 20
    assert not mine & theirs


def test_a_block_of_ports_that_is_used_up_says_so(tmp_path: Any) -> None:
    with Ports(tmp_path) as ports:
        for _ in range(50):
            ports.take()
        ports._next = ports._end
        with pytest.raises(UnavailableError, match="used up"):
            ports.take()


def test_faults_of_the_read_side_follow_from_the_seed() -> None:
    def first(seed: int) -> list[tuple[float, tuple[str, float]]]:
        draws = drawn(
            random.Random(seed), APP_KINDS, (1.0, 2.0), 3.0, lambda kind, choose: (kind.name, choose.random())
        )
        return list(itertools.islice(draws, 24))

    assert first(7) == first(7) != first(8)
    assert all(3.0 <= pause_s <= 6.0 for pause_s, _ in first(7))
    assert {name for _, (name, _) in first(7)} == {kind.name for kind in APP_KINDS}
