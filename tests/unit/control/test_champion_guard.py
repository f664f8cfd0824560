"""Whoever changes the champion is told which experiments that ends, first, and can end them with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from control_plane import ANNA, BORIS, BUNDLE, LABELS, Run, current

from streamtag.cli import release
from streamtag.control.champion_guard import ChampionGuard
from streamtag.control.changes import ReleaseChanges
from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.store import ControlStore
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import RefusedError, UnavailableError

pytest_plugins = ("command_line",)

STRICTER = NewCandidate(thresholds=ThresholdSet({"spam": 0.6, "insult": 0.6}))


@pytest.fixture
def comparing(seeded: ControlStore) -> ControlStore:
    """Two releases have decided; a shadow on each label compares with the second."""
    ReleaseChanges(seeded, max_step=1).set_thresholds({"spam": 0.55}, ANNA)
    start(seeded, "spam")
    start(seeded, "insult")
    return seeded


def start(store: ControlStore, label: str) -> None:
    request = Request(ExperimentPlan("shadow", {label: LabelPolicy()}), 1.0, others=LabelPolicy(muted=True))
    ExperimentChanges(ExperimentLog(store)).start(request, STRICTER, ANNA)


def running(store: ControlStore) -> list[int]:
    return [experiment.id.number for experiment in ExperimentLog(store).running()]


@pytest.fixture
def changes_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[object, ...]]:
    """Every command that changes what decides."""

    class Shipped:
        ref = type(BUNDLE)("demo", "2", "b" * 64)
        labels = LABELS
        critical = ()

    monkeypatch.setattr(release, "find_bundle", lambda spec, _directories: Path(spec))
    monkeypatch.setattr(release, "read_admitted", lambda _path, _model: Shipped)
    file = tmp_path / "thresholds.yaml"
    file.write_text("labels: {spam: 0.6, insult: 0.7}")
    return {
        "set": ("thresholds", "set", "spam=0.6"),
        "apply": ("thresholds", "apply", file),
        "restore": ("thresholds", "restore", 1),
        "promote": ("release", "promote", "demo@2"),
        "return": ("release", "return"),
        "candidate": ("experiment", "promote", 1, "--force"),
    }


@pytest.mark.parametrize("name", ["set", "apply", "restore", "promote", "return", "candidate"])
def test_a_change_that_ends_experiments_is_refused_until_that_is_agreed(
    comparing: ControlStore, run: Run, changes_by_command: dict[str, tuple[object, ...]], name: str
) -> None:
    words = (*changes_by_command[name], "-m", "now", "--author", "boris", "--wait", 0)
    with pytest.raises(RefusedError, match="experiments compare with the release that decides now") as refused:
        run(*words)
    assert ["experiment 1 (shadow, of anna" in p for p in refused.value.problems] == [True, False]
    assert "experiment 2 (shadow, of anna" in refused.value.problems[1]
    assert "--end-experiments" in refused.value.hint
    assert (current(comparing).id.number, running(comparing)) == (2, [1, 2])

    found = run(*words, "--end-experiments", "-o", "json")
    assert (found["committed"], found["ended_experiments"], running(comparing)) == (True, [1, 2], [])
    ended = ExperimentLog(comparing).find(1).ended
    assert ended is not None
    assert (ended.author, ended.reason) == ("boris", f"release {found['release']} decides now: now")


def test_a_change_that_changes_nothing_ends_nothing_and_is_not_refused(
    comparing: ControlStore, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "thresholds.yaml"
    file.write_text("labels: {spam: 0.55, insult: 0.6}")
    found = run("thresholds", "apply", file, "-m", "from git", "--end-experiments", "--wait", 0, "-o", "json")
    assert (found["committed"], found["ended_experiments"]) == (False, [])
    assert not run("thresholds", "apply", file, "-m", "from git", "--wait", 0, "-o", "json")["committed"]
    assert running(comparing) == [1, 2]


def test_people_are_told_what_was_stopped(comparing: ControlStore, run: Run) -> None:
    text = run("thresholds", "set", "spam=0.6", "-m", "now", "--end-experiments", "--wait", 0)
    assert "stopped experiment 1: it compared with the release before" in text


def test_experiments_that_compare_with_another_release_are_left_alone(comparing: ControlStore, run: Run) -> None:
    ReleaseChanges(comparing, max_step=1).set_thresholds({"spam": 0.56}, ANNA)
    assert run("thresholds", "set", "spam=0.6", "-m", "x", "--wait", 0, "-o", "json")["ended_experiments"] == []
    assert running(comparing) == [1, 2]


def settled(store: ControlStore, meanwhile: Callable[[], object], *, agreed: bool) -> tuple[list[int], list[str]]:
    """What a change ends, and warns of, where something happens between the look and the change."""
    guard, warnings = ChampionGuard(ExperimentLog(store), agreed), list[str]()

    def before(champion: Any) -> None:
        guard.check(champion)
        meanwhile()

    outcome = ReleaseChanges(store, max_step=1, before=before).set_thresholds({"spam": 0.7}, BORIS)
    ended = guard.settle(outcome, BORIS, warnings.append)
    return [experiment.id.number for experiment in ended], warnings


@pytest.mark.parametrize("agreed", [True, False])
def test_one_that_was_started_in_that_very_moment_is_ended_too_or_warned_of(seeded: ControlStore, agreed: bool) -> None:
    ended, warnings = settled(seeded, lambda: start(seeded, "spam"), agreed=agreed)
    assert (ended, running(seeded)) == (([1], []) if agreed else ([], [1]))
    assert [warning[:12] for warning in warnings] == ([] if agreed else ["experiment 1"])


def test_a_change_that_was_made_stands_though_its_experiments_could_not_be_stopped(
    comparing: ControlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise UnavailableError("Redis is away")

    monkeypatch.setattr(ExperimentChanges, "stop", away)
    ended, warnings = settled(comparing, lambda: None, agreed=True)
    assert (ended, current(comparing).thresholds.labels["spam"]) == ([], 0.7)
    assert warnings == ["the change stands, but experiments that it ends may still run: Redis is away"]
