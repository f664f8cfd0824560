"""Rollouts as they are carried out: one change a step, audited, the same after a crash, never over a person's."""

import itertools
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import pytest
from control_plane import (
    ANNA,
    BORIS,
    BUNDLE,
    DEFAULTS,
    LABELS,
    RecordedMetrics,
    current,
    heartbeat,
    new_changes,
    new_store,
)

from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.fleet import ExperimentFigures, send
from streamtag.control.proposal import Who
from streamtag.control.rollout import AUTHOR, Progress, Rollout
from streamtag.control.store import ControlStore
from streamtag.control.verdict_documents import HexPeaks, VerdictDocument
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.release import BundleRef
from streamtag.domain.rollout import Limits, RampStep, RolloutPolicy
from streamtag.domain.thresholds import ThresholdSet
from streamtag.domain.verdict import Peaks, State, Verdict
from streamtag.errors import ConflictError, RefusedError, UnavailableError
from streamtag.settings import Settings

NEXT = NewCandidate(BundleRef("demo", "2", "b" * 64), LABELS, ThresholdSet({"spam": 0.9, "insult": 0.6}))
RAMP = (RampStep(0.25, after_units=1000), RampStep(0.5, after_units=1000))
GROUP = Settings().tagger.group


class Plane:
    """A control plane with one champion, an operator, and the rollout of a process that may be replaced."""

    def __init__(self) -> None:
        self.store: ControlStore = new_store(fakeredis.FakeServer())
        new_changes(self.store).seed(BUNDLE, LABELS, DEFAULTS)
        self.log = ExperimentLog(self.store)
        ticks = itertools.count()
        start = datetime(2026, 11, 23, 4, tzinfo=UTC)
        self.now: Callable[[], datetime] = lambda: start + timedelta(seconds=next(ticks))
        self.changes = ExperimentChanges(self.log, now=self.now)
        self.restart()

    def restart(self) -> None:
        """As after a crash: whatever the process knew is gone."""
        self.metrics = RecordedMetrics()
        self.rollout = Rollout(self.log, Settings(), self.metrics, now=self.now)

    def start(self, policy: RolloutPolicy, label: str = "spam", mode: str = "shadow") -> Experiment:
        plan = ExperimentPlan(mode, {label: LabelPolicy()})  # type: ignore[arg-type]
        request = Request(plan, 0.1, others=LabelPolicy(muted=True), rollout=policy)
        return self.changes.start(request, NEXT, ANNA)

    def conclude(self, experiment: Experiment, state: State) -> Experiment:
        verdict = VerdictDocument(
            number=experiment.id.number,
            experiment_sha256=experiment.id.sha256,
            state=state,
            reasons=("why",),
            panes_from=0,
            panes_to=9,
            shards={0: 9},
            units=2000,
            phases=(),
            conflicts=0,
            shed=0,
            peaks=HexPeaks.of(Peaks()),
            hours=1.0,
            decided_at=datetime(2026, 11, 23, 5, tzinfo=UTC),
        )
        return self.changes.conclude(experiment.id.number, verdict, ANNA)

    def step(self, experiment: Experiment | None = None, units: int = 0, *worse: str, known: bool = True) -> list[str]:
        """One look, in which ``experiment`` has ``units`` in its present phase; gives what was done."""
        verdict = Verdict(State.COLLECTING, (), Peaks(), worse, (), (), ())
        progress = {}
        if experiment:
            phase = len(self.log.find(experiment.id.number).phases) - 1
            progress[experiment.id] = Progress(verdict, phase, units, self.now() if known else None)
        return [done.action.kind for done in self.rollout.step(progress)]

    def share(self, experiment: Experiment) -> float:
        return self.log.find(experiment.id.number).share


@pytest.fixture
def plane() -> Plane:
    return Plane()


def test_a_ramp_is_walked_in_audited_steps_and_no_further(plane: Plane) -> None:
    started = plane.start(RolloutPolicy(RAMP), mode="split")
    assert plane.step(started, 999) == []
    assert plane.step(started, 1000) == ["ramp"]
    assert plane.share(started) == 0.25
    assert plane.step(started, 0) == []
    assert plane.step(started, 5000) == ["ramp"]
    assert plane.step(started, 10**6) == []
    assert [phase.share for phase in plane.log.find(1).phases] == [0.1, 0.25, 0.5]
    (entry,) = plane.store.audit(1)
    expected = {"action": "experiment-phase", "author": AUTHOR, "share": "0.5"}
    assert entry.fields.items() >= expected.items()
    assert entry.fields["reason"].startswith("after 5,000 units and ")
    assert plane.metrics.counts == {"streamtag.rollout.actions/ramp": 2}


def test_without_evidence_or_with_a_worse_label_no_share_grows(plane: Plane) -> None:
    started = plane.start(RolloutPolicy(RAMP), mode="split")
    assert plane.step() == []
    assert plane.step(started, 5000, "spam") == []
    assert plane.step(started, 5000, known=False) == [], "panes wait to be read"
    assert plane.share(started) == 0.1


def test_time_passes_as_the_evidence_comes_and_not_by_the_clock(plane: Plane) -> None:
    """Nobody has counted since, or what was counted has not been read."""
    started = plane.start(RolloutPolicy((RampStep(0.5, after_s=3_600),)))
    verdict = Verdict(State.COLLECTING, (), Peaks(), (), (), (), ())
    began = started.phases[0].began_at
    for _ in range(4_000):
        plane.now()
    for minutes, done in ((0, []), (59.9, []), (60, ["ramp"])):
        progress = {started.id: Progress(verdict, 0, 9, began + timedelta(minutes=minutes))}
        assert [one.action.kind for one in plane.rollout.step(progress)] == done


def test_units_of_the_phase_before_do_not_take_the_next_step(plane: Plane) -> None:
    """Another process may have taken the step since the evidence was looked at."""
    started = plane.start(RolloutPolicy(RAMP), mode="split")
    verdict = Verdict(State.COLLECTING, (), Peaks(), (), (), (), ())
    progress = {started.id: Progress(verdict, 0, 1000, plane.now())}
    assert [done.action.kind for done in plane.rollout.step(progress)] == ["ramp"]
    assert plane.rollout.step(progress) == []
    assert plane.share(started) == 0.25


def test_a_share_that_a_person_sets_ends_the_ramp(plane: Plane) -> None:
    started = plane.start(RolloutPolicy(RAMP), mode="split")
    plane.changes.set_share(1, 0.05, BORIS)
    assert plane.step(started, 10**6) == []
    assert plane.share(started) == 0.05


def test_a_person_who_is_faster_wins(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    started = plane.start(RolloutPolicy(RAMP), mode="split")
    set_share = ExperimentChanges.set_share

    def boris_first(changes: ExperimentChanges, *arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(ExperimentChanges, "set_share", set_share)
        plane.changes.set_share(1, 0.02, BORIS)
        return set_share(changes, *arguments, **options)

    monkeypatch.setattr(ExperimentChanges, "set_share", boris_first)
    assert plane.step(started, 1000) == []
    assert plane.share(started) == 0.02
    assert plane.metrics.counts == {}


@pytest.mark.parametrize("mode", ["shadow", "split"])
def test_past_a_limit_a_candidate_is_taken_back(plane: Plane, mode: str) -> None:
    started = plane.start(RolloutPolicy(RAMP, promote=True, limits=Limits(failures=0.01)), mode=mode)
    began = datetime.now(UTC)

    def beat(scored: int, failures: int) -> None:
        figures = {str(started.id): ExperimentFigures(scored=scored, failures=failures)}
        send(plane.store, heartbeat(group=GROUP, started_at=began, experiments=figures), 60.0)

    assert plane.step(started, 5000) == [], "before any worker says how the candidate fares"
    beat(1000, 10)
    assert plane.step(started, 500) == []
    beat(1500, 40)
    assert plane.step(started, 5000) == ["return"]
    ended = plane.log.find(1).ended
    assert ended is not None
    assert (ended.action, ended.author) == ("return", AUTHOR)
    assert ended.reason == "failures: 40 of 1,540 events (2.60%), limit 1.00%"
    assert (plane.step(), plane.log.running(), current(plane.store).id.number) == ([], [], 1)
    with pytest.raises(ConflictError, match="took the candidate of experiment 1 back"):
        plane.changes.set_share(1, 0.2, ANNA)


def test_heartbeats_of_other_groups_say_nothing(plane: Plane) -> None:
    started = plane.start(RolloutPolicy(limits=Limits(failures=0.01)))
    figures = {str(started.id): ExperimentFigures(failures=10_000)}
    send(plane.store, heartbeat(group="others", started_at=datetime.now(UTC), experiments=figures), 60.0)
    assert plane.step(started, 5000) == []


def test_what_passed_is_promoted_with_exactly_its_content(plane: Plane) -> None:
    started = plane.conclude(plane.start(RolloutPolicy(promote=True)), State.PASS)
    candidate = started.document.candidate
    assert plane.step() == ["promote"]
    champion = current(plane.store)
    assert champion.ref.bundle == candidate.bundle
    assert champion.thresholds == NEXT.thresholds
    assert champion.release.document.parent is not None
    assert champion.release.document.parent.number == started.document.control.number
    assert champion.release.document.note == "promotion of release 2, candidate of experiment 1"
    (entry,) = plane.store.audit(1)
    assert entry.fields.items() >= {"action": "promote", "author": AUTHOR, "release": "3"}.items()
    assert plane.step() == []


@pytest.mark.parametrize("state", [State.FAIL, State.INVALID, State.INCONCLUSIVE])
def test_nothing_else_is_promoted(plane: Plane, state: State) -> None:
    plane.conclude(plane.start(RolloutPolicy(promote=True)), state)
    assert plane.step() == (["ask"] if state is State.INCONCLUSIVE else [])
    assert current(plane.store).id.number == 1


def test_a_promotion_that_a_crash_came_before_is_made_later_and_once(plane: Plane) -> None:
    plane.conclude(plane.start(RolloutPolicy(promote=True)), State.PASS)
    plane.restart()
    assert plane.step() == ["promote"]
    plane.restart()
    assert plane.step() == []
    assert current(plane.store).id.number == 3


@pytest.mark.parametrize("change", ["thresholds", "return"])
def test_a_later_change_of_the_champion_by_a_person_wins(plane: Plane, change: str) -> None:
    plane.conclude(plane.start(RolloutPolicy(promote=True)), State.PASS)
    if change == "return":
        assert plane.step() == ["promote"]
        new_changes(plane.store).return_to(None, BORIS)
    else:
        new_changes(plane.store).set_thresholds({"spam": 0.55}, BORIS)
    decided = current(plane.store)
    plane.restart()
    assert plane.step() == []
    assert current(plane.store) == decided


def test_a_change_of_the_champion_in_the_moment_of_promotion_wins(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.conclude(plane.start(RolloutPolicy(promote=True)), State.PASS)
    commit = plane.store.commit

    def boris_first(**options: Any) -> Any:
        monkeypatch.setattr(plane.store, "commit", commit)
        new_changes(plane.store).set_thresholds({"spam": 0.55}, BORIS)
        return commit(**options)

    monkeypatch.setattr(plane.store, "commit", boris_first)
    assert (plane.step(), plane.step()) == ([], [])
    assert current(plane.store).thresholds.labels["spam"] == 0.55


def test_two_processes_that_look_at_once_promote_once(plane: Plane) -> None:
    plane.conclude(plane.start(RolloutPolicy(promote=True)), State.PASS)
    other = Rollout(plane.log, Settings(), plane.metrics)
    assert [len(other.step({})), len(plane.rollout.step({}))] == [1, 0]
    assert current(plane.store).id.number == 3


def test_a_promotion_waits_for_others_that_compare_with_the_same_champion(plane: Plane) -> None:
    plane.conclude(plane.start(RolloutPolicy(promote=True), "spam"), State.PASS)
    plane.start(RolloutPolicy(), "insult")
    assert plane.step() == ["ask"]
    assert plane.step() == []
    plane.changes.stop(2, BORIS)
    assert plane.step() == ["promote"]


def test_a_person_is_asked_once_and_nothing_is_changed(plane: Plane, caplog: pytest.LogCaptureFixture) -> None:
    plane.conclude(plane.start(RolloutPolicy()), State.PASS)
    with caplog.at_level(logging.WARNING):
        assert (plane.step(), plane.step()) == (["ask"], [])
    assert "rollout of experiment 1: ask: PASS: the policy leaves the promotion to a person" in caplog.text
    assert current(plane.store).id.number == 1


def test_the_champion_that_passed_against_itself_stays_as_it_is(plane: Plane) -> None:
    request = Request(ExperimentPlan("shadow"), 1.0, rollout=RolloutPolicy(promote=True))
    started = plane.changes.start(request, plane.changes.release(1), ANNA)
    plane.conclude(started, State.PASS)
    assert (plane.step(), plane.step()) == ([], [])
    assert current(plane.store).id.number == 1


def test_what_the_control_plane_refuses_is_said_once_and_tried_again(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plane.conclude(plane.start(RolloutPolicy(promote=True)), State.PASS)
    send(plane.store, heartbeat(release=9, release_sha256="f" * 64, revision=1), 60.0)
    assert (plane.step(), plane.step()) == ([], [])
    assert caplog.text.count("rollout of experiment 1: cannot promote: Redis was restored from an older state") == 1
    assert plane.metrics.counts == {"streamtag.rollout.errors": 2}
    plane.store.client.delete(plane.store.keys.fleet)
    assert plane.step() == ["promote"]


def test_a_redis_that_is_away_is_the_callers_to_know(plane: Plane) -> None:
    server = plane.store.client.connection_pool.connection_kwargs["server"]
    server.connected = False
    with pytest.raises(UnavailableError):
        plane.step()
    server.connected = True
    assert plane.step() == []


def test_a_candidate_is_promoted_only_over_its_control(plane: Plane) -> None:
    passed = plane.conclude(plane.start(RolloutPolicy()), State.PASS)
    new_changes(plane.store).set_thresholds({"spam": 0.55}, BORIS)
    with pytest.raises(ConflictError, match="boris was first: release 3"):
        new_changes(plane.store).promote_candidate(passed, ANNA)


def test_without_pass_a_candidate_is_promoted_only_by_force(plane: Plane) -> None:
    failed = plane.conclude(plane.start(RolloutPolicy()), State.FAIL)
    with pytest.raises(RefusedError) as refused:
        new_changes(plane.store).promote_candidate(failed, Who("anna", ""))
    assert refused.value.problems == ("reason: empty", "verdict: experiment 1 has not passed")
    assert new_changes(plane.store).promote_candidate(failed, ANNA, force=True).committed
