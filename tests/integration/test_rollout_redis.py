"""Verdicts and rollouts on a real Redis: many at once, a person in between, a Redis that is killed in between."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

import pytest
from services import Redis

from streamtag.control.changes import ReleaseChanges
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.proposal import Who
from streamtag.control.rollout import AUTHOR, Progress, Rollout
from streamtag.control.store import ControlStore, Current
from streamtag.control.verdict_documents import HexPeaks, VerdictDocument
from streamtag.devstack.redis import RedisServer
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.release import BundleRef
from streamtag.domain.rollout import RampStep, RolloutPolicy
from streamtag.domain.thresholds import ThresholdSet
from streamtag.domain.verdict import Peaks, State, Verdict
from streamtag.errors import ConflictError, NotFoundError, RefusedError, UnavailableError
from streamtag.settings import Settings
from streamtag.telemetry.metrics import Metrics

pytestmark = pytest.mark.services

BUNDLE = BundleRef("demo", "1", "a" * 64)
LABELS = ("spam", "insult")
DEFAULTS = ThresholdSet({"spam": 0.5, "insult": 0.6})
CANDIDATE = NewCandidate(BundleRef("demo", "2", "b" * 64), LABELS, ThresholdSet({"spam": 0.9, "insult": 0.6}))
POLICY = RolloutPolicy((RampStep(0.25, after_units=10), RampStep(0.5, after_units=10)), promote=True)
ANNA = Who("anna", "a test")
T = TypeVar("T")


class Process:
    """Whoever changes something: connections of its own, and a rollout that remembers nothing of others."""

    def __init__(self, url: str, namespace: str) -> None:
        self.settings = Settings.model_validate({"redis": {"url": url, "namespace": namespace, "timeout_s": 2.0}})
        self.store = ControlStore(self.settings.redis)
        self.log = ExperimentLog(self.store)
        self.releases = ReleaseChanges(self.store, max_step=1.0)
        self.experiments = ExperimentChanges(self.log)
        self.rollout = Rollout(self.log, self.settings, Metrics.in_memory())

    def start(self, label: str = "spam", mode: str = "split", candidate: NewCandidate = CANDIDATE) -> Experiment:
        plan = ExperimentPlan(mode, {label: LabelPolicy()})  # type: ignore[arg-type]
        return self.experiments.start(
            Request(plan, 0.1, others=LabelPolicy(muted=True), rollout=POLICY), candidate, ANNA
        )

    def look(self, experiment: Experiment, units: int = 10) -> list[str]:
        verdict = Verdict(State.COLLECTING, (), Peaks(), (), (), (), ())
        phase = len(self.log.find(experiment.id.number).phases) - 1
        return [
            done.action.kind
            for done in self.rollout.step({experiment.id: Progress(verdict, phase, units, datetime.now(UTC))})
        ]

    def present(self) -> Current:
        found = self.store.current()
        assert found is not None
        return found


@pytest.fixture
def new_process(redis_server: Redis, namespace: str) -> Callable[[], Process]:
    """Processes on one seeded namespace of the session's Redis."""
    Process(redis_server.url, namespace).releases.seed(BUNDLE, LABELS, DEFAULTS)
    return lambda: Process(redis_server.url, namespace)


def verdict_on(experiment: Experiment, state: State, units: int = 1000) -> VerdictDocument:
    return VerdictDocument(
        number=experiment.id.number,
        experiment_sha256=experiment.id.sha256,
        state=state,
        reasons=("why",),
        panes_from=0,
        panes_to=9,
        shards={0: 9},
        units=units,
        phases=(),
        conflicts=0,
        shed=0,
        peaks=HexPeaks.of(Peaks()),
        hours=1.0,
        decided_at=datetime(2026, 11, 23, 5, tzinfo=UTC),
    )


def at_once(processes: list[Process], work: Callable[[Process, int], T]) -> list[T]:
    """What each gets, all begun in the same moment."""
    start = threading.Barrier(len(processes))

    def run(n: int) -> T:
        start.wait()
        return work(processes[n], n)

    with ThreadPoolExecutor(len(processes)) as pool:
        return list(pool.map(run, range(len(processes))))


def test_a_verdict_that_many_store_at_once_is_stored_once_and_all_succeed(new_process: Callable[[], Process]) -> None:
    first = new_process()
    started = first.start()
    verdict = verdict_on(started, State.FAIL)
    ended = at_once(
        [new_process() for _ in range(10)], lambda one, n: one.experiments.conclude(1, verdict, Who(f"app-{n}", "why"))
    )
    assert len({found.ended.change for found in ended if found.ended is not None}) == 1
    assert [stored.document.action for stored in first.log.changes()] == ["verdict", "start"]
    stored = first.log.verdict(first.log.find(1))
    assert stored is not None
    assert stored.document == verdict


def test_of_two_verdicts_the_first_stands(new_process: Callable[[], Process]) -> None:
    started = new_process().start()

    def conclude(process: Process, n: int) -> State | None:
        state = (State.FAIL, State.PASS)[n % 2]
        try:
            found = process.experiments.conclude(1, verdict_on(started, state), ANNA).verdict
        except ConflictError:
            return None
        return found.state if found else None

    reached = at_once([new_process() for _ in range(8)], conclude)
    assert len(set(reached) - {None}) == 1
    assert reached.count(None) == 4


def test_of_many_rollouts_that_look_at_once_each_step_is_taken_once(new_process: Callable[[], Process]) -> None:
    first = new_process()
    started, processes = first.start(), [new_process() for _ in range(6)]

    def look(process: Process, _n: int) -> list[str]:
        return [kind for _ in range(5) for kind in process.look(started)]

    taken = [kind for kinds in at_once(processes, look) for kind in kinds]
    assert taken == ["ramp", "ramp"]
    assert [phase.share for phase in first.log.find(1).phases] == [0.1, 0.25, 0.5]
    first.experiments.conclude(1, verdict_on(started, State.PASS), ANNA)
    assert [kind for kinds in at_once(processes, look) for kind in kinds] == ["promote"]
    assert (first.present().ref.bundle, first.present().id.number) == (CANDIDATE.bundle, 3)


def test_a_redis_that_is_killed_between_verdict_and_promotion_loses_neither(
    own_redis: RedisServer, namespace: str
) -> None:
    before = Process(own_redis.url, namespace)
    before.releases.seed(BUNDLE, LABELS, DEFAULTS)
    started = before.start()
    before.experiments.conclude(1, verdict_on(started, State.PASS), ANNA)
    own_redis.kill()
    with pytest.raises(UnavailableError):
        before.look(started)
    own_redis.start()
    after = Process(own_redis.url, namespace)
    assert after.look(started) == ["promote"]
    assert before.look(started) == []
    assert [release.document.number for release in after.store.releases()] == [3, 1]


def test_whatever_people_do_meanwhile_only_what_passed_under_its_control_is_promoted(
    new_process: Callable[[], Process],
) -> None:
    """People start, share, stop and change thresholds; judges conclude; rollouts look: each again and again."""
    state_of: dict[str, State] = {}

    def person(process: Process, dice: random.Random) -> None:
        running = [experiment.id.number for experiment in process.log.running()]
        what = dice.random()
        if what < 0.85 or not running:
            # Mostly on one label, so that one runs at a time: others beside it would keep it from promotion.
            other = NewCandidate(thresholds=ThresholdSet({"spam": round(dice.random(), 3), "insult": 0.6}))
            process.start(dice.choice(LABELS[:1] * 9 + LABELS), "shadow", other)
        elif what < 0.9:
            process.experiments.set_share(running[0], dice.random(), ANNA)
        elif what < 0.95:
            process.experiments.stop(running[0], ANNA)
        else:
            process.releases.set_thresholds({"spam": round(dice.random(), 3)}, ANNA)

    def judge(process: Process, dice: random.Random) -> None:
        for experiment in process.log.running():
            state = dice.choice([State.PASS, State.PASS, State.FAIL, State.INCONCLUSIVE, State.INVALID])
            process.experiments.conclude(experiment.id.number, verdict_on(experiment, state), ANNA)
            state_of[experiment.id.sha256] = state

    def live(process: Process, n: int) -> None:
        dice = random.Random(n)
        for _ in range(60):
            try:
                if n < 3:
                    person(process, dice)
                elif n == 3:
                    judge(process, dice)
                else:
                    for experiment in process.log.running():
                        process.look(experiment)
                    process.rollout.step({})
            except (ConflictError, RefusedError, NotFoundError):
                continue

    at_once([new_process() for _ in range(6)], live)
    last = new_process()
    for experiment in last.log.running():
        last.experiments.stop(experiment.id.number, ANNA)
    passed = last.start()
    last.experiments.conclude(passed.id.number, verdict_on(passed, State.PASS), ANNA)
    state_of[passed.id.sha256] = State.PASS
    assert last.look(passed) == ["promote"]
    by_number = {experiment.id.number: experiment for experiment in last.log.experiments()}
    for release in (r.document for r in last.store.releases() if r.document.author == AUTHOR):
        experiment = by_number[int(release.note.rpartition(" ")[2])]
        assert state_of[experiment.id.sha256] is State.PASS
        assert experiment.passed
        assert release.parent is not None
        control = experiment.document.control
        assert (release.parent.number, release.parent.sha256) == (control.number, control.sha256)
        assert release.bundle.version == experiment.document.candidate.bundle.version
