"""Releases as commands: all there are with their state, one step back, and the candidate that passed."""

from datetime import UTC, datetime
from typing import Any

import pytest
from control_plane import ANNA, BORIS, DEFAULTS, LABELS, Run, current

from streamtag.cli import thresholds
from streamtag.control.changes import ReleaseChanges
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.store import ControlStore
from streamtag.control.verdict_documents import HexPeaks, VerdictDocument
from streamtag.domain.experiment import ExperimentPlan
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.domain.verdict import Peaks, State
from streamtag.errors import ConflictError, NotFoundError, RefusedError

pytest_plugins = ("command_line",)

NEXT = NewCandidate(BundleRef("demo", "2", "b" * 64), LABELS, ThresholdSet({"spam": 0.9, "insult": 0.6}))


@pytest.fixture
def experiments(seeded: ControlStore) -> ExperimentChanges:
    return ExperimentChanges(ExperimentLog(seeded))


def start(experiments: ExperimentChanges, candidate: Any = NEXT) -> Experiment:
    return experiments.start(Request(ExperimentPlan("shadow"), 1.0), candidate, ANNA)


def conclude(experiments: ExperimentChanges, experiment: Experiment, state: State) -> None:
    verdict = VerdictDocument(
        number=experiment.id.number,
        experiment_sha256=experiment.id.sha256,
        state=state,
        reasons=("why",),
        panes_from=0,
        panes_to=9,
        shards={},
        units=9,
        phases=(),
        conflicts=0,
        shed=0,
        peaks=HexPeaks.of(Peaks()),
        hours=1.0,
        decided_at=datetime(2026, 11, 23, 5, tzinfo=UTC),
    )
    experiments.conclude(experiment.id.number, verdict, BORIS)


def test_all_releases_are_listed_with_what_they_are(
    seeded: ControlStore, run: Run, experiments: ExperimentChanges
) -> None:
    conclude(experiments, start(experiments), State.FAIL)
    start(experiments)
    experiments.stop(2, ANNA)
    ReleaseChanges(seeded, max_step=1).set_thresholds({"spam": 0.6}, ANNA)
    start(experiments, experiments.release(1))
    experiments.stop(3, ANNA)
    start(experiments, experiments.release(2))
    rows = run("release", "list", "-o", "json")
    assert [(row["release"], row["state"], row["experiments"]) for row in rows] == [
        (4, "champion", []),
        (3, "former candidate", [2]),
        (2, "candidate", [1, 4]),
        (1, "earlier", [3]),
    ]
    assert rows[2]["note"] == "candidate of experiment 1"
    text = run("release", "list")
    for expected in (
        "champion",
        "former candidate (experiment 2)",
        "candidate (experiment 4)",
        "earlier (experiment 3)",
    ):
        assert expected in text


@pytest.mark.parametrize("end", ["FAIL", "returned", "stopped"])
def test_how_an_experiment_ended_is_its_state(run: Run, experiments: ExperimentChanges, end: str) -> None:
    started = start(experiments)
    if end == "FAIL":
        conclude(experiments, started, State.FAIL)
    else:
        experiments.stop(1, BORIS, action="return" if end == "returned" else "stop")
    assert [row["state"] for row in run("experiment", "list", "-o", "json")] == [end]
    assert f"{end}, by boris at" in run("experiment", "show", 1)


def test_a_verdict_is_shown_beside_its_candidate(run: Run, experiments: ExperimentChanges) -> None:
    conclude(experiments, start(experiments), State.FAIL)
    assert "former candidate (experiment 1: FAIL)" in run("release", "list")


def test_no_more_are_listed_than_asked_for(seeded: ControlStore, run: Run, experiments: ExperimentChanges) -> None:
    start(experiments)
    for value in (0.6, 0.7, 0.8):
        ReleaseChanges(seeded, max_step=1).set_thresholds({"spam": value}, ANNA)
    numbers = {n: [row["release"] for row in run("release", "list", "-n", n, "-o", "json")] for n in (1, 3, 4, 9)}
    assert numbers == {1: [5], 3: [5, 4, 3], 4: [5, 4, 3, 2], 9: [5, 4, 3, 2, 1]}


def test_return_goes_one_step_back_and_says_so(seeded: ControlStore, run: Run) -> None:
    ReleaseChanges(seeded, max_step=1).set_thresholds({"spam": 0.95}, ANNA)
    text = run("release", "return", "-m", "too strict", "--author", "boris", "--wait", 0)
    assert "committed release 3: bundle demo@1, threshold revision 3" in text
    assert "spam: 0.95 -> 0.5" in text
    assert current(seeded).thresholds == DEFAULTS
    found = run("release", "return", 2, "-m", "after all", "--wait", 0, "-o", "json")
    assert (found["release"], current(seeded).thresholds.labels["spam"]) == (4, 0.95)
    assert run("release", "history", "-o", "json")[0]["note"] == "return to release 2"
    with pytest.raises(NotFoundError, match="no release 9"):
        run("release", "return", 9, "-m", "x")


def test_a_candidate_that_passed_is_promoted_by_number_of_its_experiment(
    seeded: ControlStore, run: Run, experiments: ExperimentChanges
) -> None:
    conclude(experiments, start(experiments), State.PASS)
    found = run("experiment", "promote", 1, "-m", "it passed", "--author", "anna", "--wait", 0, "-o", "json")
    assert (found["release"], found["bundle"], found["author"]) == (3, "demo@2", "anna")
    champion = current(seeded)
    assert (champion.ref.bundle, champion.thresholds) == (NEXT.bundle, NEXT.thresholds)
    with pytest.raises(ConflictError, match="anna was first: release 3"):
        run("experiment", "promote", 1, "-m", "again")


def test_one_that_did_not_pass_is_refused_unless_forced(
    seeded: ControlStore, run: Run, experiments: ExperimentChanges
) -> None:
    conclude(experiments, start(experiments), State.INCONCLUSIVE)
    with pytest.raises(RefusedError) as refused:
        run("experiment", "promote", 1, "-m", "x")
    assert refused.value.problems == ("verdict: experiment 1 has not passed",)
    assert "--force" in refused.value.hint
    assert run("experiment", "promote", 1, "-m", "we know why", "--force", "--wait", 0, "-o", "json")["committed"]


def test_the_history_of_experiments_says_who_did_what(run: Run, experiments: ExperimentChanges) -> None:
    first = start(experiments)
    experiments.set_share(1, 0.5, BORIS)
    conclude(experiments, first, State.FAIL)
    start(experiments)
    rows = run("experiment", "history", "-o", "json")
    assert [(row["experiment"], row["action"], row["author"]) for row in rows] == [
        (2, "start", "anna"),
        (1, "verdict", "boris"),
        (1, "phase", "boris"),
        (1, "start", "anna"),
    ]
    assert (rows[1]["verdict"]["state"], rows[2]["share"], rows[0]["verdict"]) == ("FAIL", 0.5, None)
    assert [row["action"] for row in run("experiment", "history", 1, "-n", 2, "-o", "json")] == ["verdict", "phase"]
    assert all(word in run("experiment", "history") for word in ("FAIL", "second try", "verdict", "start"))
    with pytest.raises(NotFoundError, match="no experiment 7"):
        run("experiment", "history", 7)


def test_watch_says_of_which_experiment_a_step_is_and_what_it_came_to(
    run: Run, experiments: ExperimentChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Store(ControlStore):
        def follow_audit(self, after: str, wait_s: float) -> Any:
            return self.audit(1)

    conclude(experiments, start(experiments), State.FAIL)
    monkeypatch.setattr(thresholds, "ControlStore", Store)
    assert "experiment-verdict experiment 1 (FAIL) by boris: second try" in run("thresholds", "watch", "--count", 1)
