"""Who starts an experiment that takes longer than panes are kept is told so."""

import shutil
from pathlib import Path

import pytest

from streamtag.domain.experiment import ExperimentPlan
from streamtag.events.topics import directory
from streamtag.settings import load_settings
from streamtag.stats.kept_panes import outlasts_its_panes

TOPICS = load_settings(environ={}).settings.topics


@pytest.mark.parametrize(("hours", "told"), [(336, False), (720, False), (720.1, True)])
def test_an_experiment_may_take_as_long_as_panes_are_kept(hours: float, told: bool) -> None:
    assert bool(outlasts_its_panes(ExperimentPlan("split", max_hours=hours), TOPICS)) is told


@pytest.mark.parametrize(("kept", "told"), [(3_600_000, ["kept for 1 (retention.ms of own.panes)"]), (-1, [])])
def test_a_declaration_of_ones_own_says_how_long_they_are_kept(tmp_path: Path, kept: int, told: list[str]) -> None:
    shutil.copytree(directory(), tmp_path / "topics")
    mine = tmp_path / "topics" / "panes.yaml"
    mine.write_text(mine.read_text().replace("retention.ms: 2592000000", f"retention.ms: {kept}"))
    topics = TOPICS.model_copy(update={"panes": "own.panes", "declarations": tmp_path / "topics"})
    found = outlasts_its_panes(ExperimentPlan("split", max_hours=2), topics)
    assert [part in line for part, line in zip(told, found, strict=True)] == [True] * len(told)
