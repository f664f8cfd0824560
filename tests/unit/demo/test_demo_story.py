"""What the demo does by itself, and when; its experiments on a Redis in memory."""

from datetime import UTC, datetime
from typing import Any

import pytest
from control_plane import ANNA, BUNDLE, DEFAULTS, LABELS, current, new_changes, new_store

from streamtag.control.changes import ReleaseChanges
from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.store import ControlStore
from streamtag.control.verdict_documents import HexPeaks, VerdictDocument
from streamtag.devstack.demo.challengers import Challenger
from streamtag.devstack.demo.cutoffs import DemoCutoffs
from streamtag.devstack.demo.events import EventSource
from streamtag.devstack.demo.following import Following
from streamtag.devstack.demo.story import AUTHOR, Story
from streamtag.devstack.demo.trials import Trials
from streamtag.domain.verdict import Peaks, PhaseCounts, State
from streamtag.stats.read_model import ReadModel

START = dict(DEFAULTS.labels)
CUTOFFS = DemoCutoffs(START, {**START, "spam": 0.3}, {**START, "spam": 0.7})
BAD = Challenger("bad", "insult from 0.6 to 0.4", {**START, "insult": 0.4}, ("insult",))
GOOD = Challenger("good", "spam: hardly changed", {**START, "spam": 0.501}, ("spam",))


class Rig:
    """A control plane, and the demo's story on it."""

    def __init__(self, seconds: float | None) -> None:
        self.store: ControlStore = new_store()
        self.changes: ReleaseChanges = new_changes(self.store)
        self.changes.seed(BUNDLE, LABELS, DEFAULTS)
        self.log = ExperimentLog(self.store)
        self.model = ReadModel(self.store)
        self.trials = Trials(self.log, self.model)
        self.following = Following(self.store, [], current(self.store))
        self.events = EventSource(1)
        parts = (self.following, self.changes, self.trials, (BAD, GOOD), self.events)
        self.story = Story(seconds, "spam", CUTOFFS, *parts)

    def step(self, elapsed_s: float) -> None:
        self.trials.look()
        self.story.step(elapsed_s, self.following.look())

    def document(self, number: int, **changes: Any) -> VerdictDocument:
        experiment = self.log.find(number)
        label = experiment.document.plan.judged()
        facts: dict[str, Any] = {
            "number": number, "experiment_sha256": experiment.id.sha256, "state": State.COLLECTING, "reasons": (),
            "panes_from": 0, "panes_to": 4, "shards": {0: 4}, "units": 200,
            "phases": (PhaseCounts(1.0, 200, 200, dict.fromkeys(label, (50, 0, 20))),), "conflicts": 0, "shed": 0,
            "peaks": HexPeaks.of(Peaks(dict.fromkeys(label, 30.0))), "hours": 0.001,
            "decided_at": datetime(2026, 11, 23, tzinfo=UTC), **changes,
        }  # fmt: skip
        return VerdictDocument(**facts)

    def conclude(self, number: int, state: State) -> None:
        verdict = self.document(number, state=state, reasons=("as it is",))
        ExperimentChanges(self.log).conclude(number, verdict, ANNA)
        self.trials.look()


def test_experiments_begin_as_anybody_would_start_them_and_judge_only_their_own_labels() -> None:
    rig = Rig(None)
    rig.step(1.0)
    assert "After 4 s the demo compares 2 challengers" in rig.story.notice
    assert rig.trials.awaited
    rig.step(4.0)
    first, second = rig.log.running()
    assert [list(one.document.plan.judged()) for one in (first, second)] == [["insult"], ["spam"]]
    assert (first.document.author, first.document.reason, first.share) == (AUTHOR, BAD.what, 1.0)
    assert first.document.control == current(rig.store).ref
    assert [state.state for state in rig.trials.states] == ["COLLECTING", "COLLECTING"]
    assert rig.trials.running == (1, 2)


def test_evidence_shows_before_there_is_a_verdict_and_a_verdict_only_once_it_is_stored() -> None:
    rig = Rig(None)
    rig.step(4.0)
    experiment = rig.log.find(1)
    rig.model.write_evidence([(experiment.id, rig.document(1, state=State.FAIL, reasons=("insult: worse",)))])
    rig.trials.look()
    state = rig.trials.states[0]
    assert (state.state, state.reasons, state.units) == ("COLLECTING", (), 200)
    assert state.after_s == pytest.approx(3.6)
    (label,) = state.labels
    assert (label.label, label.control_rate, label.candidate_rate, label.so) == ("insult", 0.1, 0.35, "worse")
    assert label.ratio[0] > label.allowed[1]
    rig.conclude(1, State.FAIL)
    state = rig.trials.states[0]
    assert (state.state, state.reasons, state.over) == ("FAIL", ("as it is",), True)
    assert rig.trials.running == (2,)


def test_the_change_in_the_spike_waits_for_the_verdicts() -> None:
    rig = Rig(20.0)
    rig.step(2.5)
    before = current(rig.store)
    rig.step(8.0)
    assert "After 9 s a flood" in rig.story.notice
    assert not rig.events.spike
    rig.step(9.0)
    assert rig.events.spike
    assert "After 12 s the demo moves spam from 0.5 to 0.7" in rig.story.notice
    rig.step(13.0)
    assert "once the experiments have ended" in rig.story.notice
    assert current(rig.store) == before
    rig.conclude(1, State.FAIL)
    rig.conclude(2, State.PASS)
    rig.step(14.0)
    move = rig.story.move
    assert move is not None
    assert (move.label, move.before, move.after) == ("spam", 0.5, 0.7)
    assert current(rig.store).thresholds.labels["spam"] == 0.7
    assert move.new_revision == current(rig.store).ref.revision != move.old_revision == before.ref.revision


def test_in_a_run_too_short_for_a_verdict_experiments_are_stopped_before_the_change() -> None:
    rig = Rig(4.0)
    rig.step(0.6)
    rig.step(3.0)
    assert [(state.state, state.reasons) for state in rig.trials.states] == [
        ("stopped", ("this run is too short for a verdict",))
    ] * 2
    assert rig.log.running() == []
    assert rig.story.move is not None


def test_an_experiment_that_ends_by_itself_as_it_is_stopped_keeps_its_verdict() -> None:
    rig = Rig(4.0)
    rig.step(0.6)
    experiments = ExperimentChanges(rig.log)
    experiments.conclude(1, rig.document(1, state=State.FAIL, reasons=("as it is",)), ANNA)
    rig.story.step(3.0, rig.following.look())  # which has not looked since
    assert [state.state for state in rig.trials.states] == ["FAIL", "stopped"]
    assert rig.story.move is not None


def test_a_run_without_an_end_changes_nothing_by_itself() -> None:
    rig = Rig(None)
    for elapsed_s in (4.0, 60.0, 600.0):
        rig.step(elapsed_s)
    assert current(rig.store).ref.number == 1
    assert rig.events.spike
    assert "raise its cut-off" in rig.story.notice


def test_an_experiment_that_somebody_stops_is_shown_with_the_reason() -> None:
    rig = Rig(None)
    rig.step(4.0)
    ExperimentChanges(rig.log).stop(1, ANNA)
    rig.trials.look()
    state = rig.trials.states[0]
    assert (state.state, state.reasons) == ("stopped", (ANNA.reason,))
    assert rig.trials.running == (2,)
