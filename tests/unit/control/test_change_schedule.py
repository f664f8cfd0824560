"""What changes do by themselves: at their hour, once, by one process at a time, and again when they could not."""

from datetime import UTC, datetime, timedelta

import pytest
from change_rig import ANNA, BORIS, Rig
from control_plane import RecordedMetrics
from services import wait_until

from streamtag.control import change_schedule
from streamtag.control.change_log import ChangeLog
from streamtag.control.change_schedule import _LEASE_MS, ChangeSchedule, ScheduleThread
from streamtag.domain.change import State
from streamtag.errors import UnavailableError
from streamtag.settings import Settings


class Scheduled(Rig):
    def __init__(self) -> None:
        super().__init__()
        self.seed()
        self.metrics = RecordedMetrics()
        self.schedule = self.another()

    def another(self) -> ChangeSchedule:
        """As another process has it."""
        return ChangeSchedule(lambda: self.requests, self.store, self.metrics, now=self.now)


@pytest.fixture
def rig() -> Scheduled:
    return Scheduled()


def test_what_is_approved_goes_live_at_its_hour_and_back_at_its_end(rig: Scheduled) -> None:
    rig.requests.open(rig.moves(threat=0.6), ANNA, not_before=rig.time + timedelta(hours=1), lasts=timedelta(hours=2))
    rig.wait(2)
    assert rig.schedule.step() == [], "nobody has approved it"
    rig.requests.say(1, "approve", BORIS)
    (live,) = rig.schedule.step()
    assert (live.request.state, rig.cutoffs()["threat"]) == (State.LIVE, 0.6)
    assert rig.schedule.step() == []
    rig.wait(2)
    (over,) = rig.schedule.step()
    assert (over.request.state, rig.cutoffs()["threat"]) == (State.EXPIRED, 0.7)
    assert rig.metrics.counts == {"streamtag.changes.done/publish": 1, "streamtag.changes.done/expire": 1}
    assert rig.actions()[:2] == ["expire", "thresholds"]


def test_what_cannot_be_done_is_held_and_tried_again(rig: Scheduled, caplog: pytest.LogCaptureFixture) -> None:
    rig.open(spam=0.55, hours=1)
    rig.requests.publish(1, "anna")
    rig.freezes.begin(BORIS)
    rig.wait(1)
    for _ in range(3):
        assert rig.schedule.step() == []
    assert rig.metrics.values["streamtag.changes.held"] == 1
    assert sum("held up" in line for line in caplog.messages) == 1, "said once a minute"
    rig.freezes.lift(BORIS)
    assert [one.request.state for one in rig.schedule.step()] == [State.EXPIRED]
    rig.schedule.step()
    assert rig.metrics.values["streamtag.changes.held"] == 0


def test_one_process_acts_and_another_takes_over_when_it_is_silent(rig: Scheduled) -> None:
    rig.open(spam=0.55, hours=1)
    rig.open(insult=0.5, hours=2)
    rig.requests.publish(1, "anna")
    rig.requests.publish(2, "anna")
    other = rig.another()
    rig.wait(1)
    assert len(rig.schedule.step()) == 1
    rig.wait(1)
    assert other.step() == [], "the first one holds the lease"
    assert 0 < rig.store.client.pttl(rig.store.keys.scheduler) <= _LEASE_MS
    rig.store.client.delete(rig.store.keys.scheduler)
    assert [one.request.number for one in other.step()] == [2]
    rig.actions()


def test_two_who_act_at_once_all_the_same_go_back_once(rig: Scheduled, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.open(spam=0.55, hours=1)
    rig.requests.publish(1, "anna")
    rig.wait(1)
    monkeypatch.setattr(ChangeSchedule, "_leads", lambda _self: True)
    commit, other = rig.store.commit, rig.another()

    def other_first(**arguments: object) -> object:
        monkeypatch.setattr(rig.store, "commit", commit)
        assert len(other.step()) == 1
        return commit(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.store, "commit", other_first)
    assert rig.schedule.step() == []
    assert [action for action in rig.actions() if action == "expire"] == ["expire"]


def test_the_thread_outlives_an_outage_and_a_defect_and_then_does_what_is_due(
    rig: Scheduled, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig.time = datetime.now(UTC) - timedelta(hours=2)
    rig.open(spam=0.55, hours=1)
    rig.requests.publish(1, "anna")
    due, wrong = ChangeLog.due, [UnavailableError("Redis is away"), ValueError("a defect")]

    def look(log: ChangeLog, now: datetime) -> list[int]:
        if wrong:
            raise wrong.pop(0)
        return due(log, now)

    monkeypatch.setattr(ChangeLog, "due", look)
    monkeypatch.setattr(change_schedule, "ControlStore", lambda _settings: rig.store)
    monkeypatch.setattr(change_schedule, "_LOOK_S", 0.01)
    thread = ScheduleThread(Settings(), rig.metrics)
    thread.start()
    wait_until(lambda: rig.cutoffs()["spam"] == 0.5, 5, "gone back")
    thread.close()
    assert rig.metrics.counts == {"streamtag.changes.done/expire": 1}
    assert "Redis is away" in caplog.text
    assert "unexpected error; it goes on" in caplog.text
