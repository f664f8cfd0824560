"""Rollouts under anything people, judges, crashes and lost replies do in between, in any order."""

import itertools
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from control_plane import ANNA, BORIS, BUNDLE, DEFAULTS, LABELS, RecordedMetrics, heartbeat, new_store
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamtag.control import experiment_log, store
from streamtag.control.changes import ReleaseChanges
from streamtag.control.connection import run_script
from streamtag.control.experiment_documents import ExperimentChange, ExperimentId
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.fleet import ExperimentFigures, send
from streamtag.control.release_documents import ReleaseId
from streamtag.control.rollout import AUTHOR, Progress, Rollout
from streamtag.control.verdict_documents import HexPeaks, VerdictDocument
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.rollout import Limits, RampStep, RolloutPolicy
from streamtag.domain.thresholds import ThresholdSet
from streamtag.domain.verdict import Peaks, State, Verdict
from streamtag.errors import RefusedError, UnavailableError
from streamtag.settings import Settings

POLICY = RolloutPolicy(
    (RampStep(0.25, after_units=10), RampStep(0.5, after_units=10)), promote=True, limits=Limits(failures=0.01)
)
PATH = [0.1, 0.25, 0.5]
cutoffs = st.sampled_from([0.3, 0.5, 0.7, 0.9])
labels = st.sampled_from(LABELS)


class Rollouts(RuleBasedStateMachine):
    """One control plane; whatever is said of the past is read from its history, which is proven by hashes."""

    @initialize()
    def seed(self) -> None:
        self.store = new_store()
        self.log = ExperimentLog(self.store)
        seconds = itertools.count()
        self.now: Callable[[], datetime] = lambda: (
            datetime(2026, 11, 23, 4, tzinfo=UTC) + timedelta(seconds=next(seconds))
        )
        self.releases = ReleaseChanges(self.store, max_step=1, now=self.now)
        self.experiments = ExperimentChanges(self.log, now=self.now)
        self.releases.seed(BUNDLE, LABELS, DEFAULTS)
        self.failing: dict[str, ExperimentFigures] = {}
        self.began = datetime.now(UTC)
        self.crash()

    @rule()
    def crash(self) -> None:
        """Of the process that looks."""
        self.rollout = Rollout(self.log, Settings(), RecordedMetrics(), now=self.now)

    @rule(label=labels, cutoff=cutoffs, mode=st.sampled_from(["shadow", "shadow", "split"]), guarded=st.booleans())
    def start(self, label: str, cutoff: float, mode: str, guarded: bool) -> None:
        plan = ExperimentPlan(mode, {label: LabelPolicy()})  # type: ignore[arg-type]
        policy = POLICY if guarded else RolloutPolicy()
        request = Request(plan, PATH[0], others=LabelPolicy(muted=True), rollout=policy)
        candidate = NewCandidate(thresholds=ThresholdSet({"spam": cutoff, "insult": 0.6}))
        with suppress(RefusedError):  # another runs on its label, or its units
            self.experiments.start(request, candidate, ANNA)

    @precondition(lambda self: self.log.running())
    @rule(data=st.data(), share=st.sampled_from([0.05, 0.25, 0.4]))
    def set_share(self, data: st.DataObject, share: float) -> None:
        with suppress(RefusedError):  # it is that share already, or stale
            self.experiments.set_share(self.one(data).id.number, share, BORIS)

    @precondition(lambda self: self.log.running())
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        self.experiments.stop(self.one(data).id.number, BORIS)

    @precondition(lambda self: self.log.running())
    @rule(data=st.data(), state=st.sampled_from([State.PASS, State.PASS, State.FAIL, State.INCONCLUSIVE]))
    def conclude(self, data: st.DataObject, state: State) -> None:
        experiment = self.one(data)
        verdict = VerdictDocument(
            number=experiment.id.number,
            experiment_sha256=experiment.id.sha256,
            state=state,
            reasons=(),
            panes_from=0,
            panes_to=1,
            shards={},
            units=0,
            phases=(),
            conflicts=0,
            shed=0,
            peaks=HexPeaks.of(Peaks()),
            hours=0.0,
            decided_at=datetime(2026, 11, 23, tzinfo=UTC),
        )
        self.experiments.conclude(experiment.id.number, verdict, ANNA)

    @rule(cutoff=cutoffs)
    def change_the_champion(self, cutoff: float) -> None:
        self.releases.set_thresholds({"spam": cutoff}, BORIS)

    @precondition(lambda self: self.log.running())
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        """The candidate, on a worker that has just started."""
        self.failing[str(self.one(data).id)] = ExperimentFigures(scored=1000, failures=100)

    @rule(units=st.sampled_from([0, 9, 10, 50]), worse=st.booleans())
    def look(self, units: int, worse: bool) -> None:
        send(self.store, heartbeat(group="streamtag-tagger", started_at=self.began, experiments=self.figures()), 60)
        verdict = Verdict(State.COLLECTING, (), Peaks(), ("spam",) if worse else (), (), (), ())
        self.rollout.step(self.progress(verdict, units))

    @rule(done=st.booleans())
    def look_while_redis_goes_away(self, done: bool) -> None:
        """In the very moment of the first flip: before it is done, or before its reply has come."""

        def away(*arguments: Any) -> Any:
            if done:
                run_script(*arguments)
            raise redis.ConnectionError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "run_script", away)
            patch.setattr(experiment_log, "run_script", away)
            verdict = Verdict(State.COLLECTING, (), Peaks(), (), (), (), ())
            with suppress(UnavailableError):
                self.rollout.step(self.progress(verdict, 50))

    def progress(self, verdict: Verdict, units: int) -> dict[ExperimentId, Progress]:
        return {e.id: Progress(verdict, len(e.phases) - 1, units, self.now()) for e in self.log.running()}

    def figures(self) -> dict[str, ExperimentFigures]:
        well = ExperimentFigures(scored=1000)
        return {str(e.id): self.failing.get(str(e.id), well) for e in self.log.running()}

    def one(self, data: st.DataObject) -> Experiment:
        return data.draw(st.sampled_from(self.log.running()))

    @invariant()
    def only_what_passed_is_promoted_over_its_control(self) -> None:
        experiments = {experiment.id.number: experiment for experiment in self.log.experiments()}
        promoted = []
        for release in (stored.document for stored in self.store.releases()):
            if release.author != AUTHOR:
                continue
            experiment = experiments[int(release.note.rpartition(" ")[2])]
            promoted.append(experiment.id)
            assert experiment.passed
            assert experiment.document.rollout.promote
            assert release.parent is not None
            assert release.parent.number == experiment.document.control.number
            ref = experiment.document.candidate
            candidate = self.store.load(ReleaseId(ref.number, ref.sha256))
            assert self.store.revision(release.thresholds).document.thresholds.to_set() == candidate.thresholds
        assert len(set(promoted)) == len(promoted), "once"

    @invariant()
    def the_rollout_only_walks_the_ramp_or_takes_back_what_fails(self) -> None:
        history = [stored.document for stored in self.log.changes()]
        for change in history:
            if change.author != AUTHOR:
                continue
            shares = [phase.share for phase in change.run.phases]
            assert self.policy(change).ramp
            if change.action == "phase":
                assert shares == PATH[: len(shares)]
            else:
                assert change.action == "return"
                assert str(change.run.experiment) in self.failing

    def policy(self, change: ExperimentChange) -> RolloutPolicy:
        return self.log.find(change.run.experiment.number).document.rollout


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=40, stateful_step_count=40)
