"""`streamtag model held-out`: the rows that a bundle never saw, found anew from its records alone."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_training import write_comments
from tiny_bundle import build_tiny_bundle

from streamtag.errors import RefusedError
from streamtag.model.bundle import read_bundle
from streamtag.model.evaluation.held_out import held_out_lines
from streamtag.model.evaluation.labelled import read_labelled
from streamtag.model.loading import load_scorer
from streamtag.model.training.build import train_bundle
from streamtag.model.training.config import load_config
from streamtag.model.training.held_out import masked_figures
from streamtag.settings import Settings

CONFIG = """
name: made-up
version: "1"
description: for a test
labels: [{id: toxic, description: cheese}, {id: threat, description: glaciers}]
sets: [{reader: jigsaw, path: jigsaw_toxic}]
features: {bits: 12, buckets: 500, select_iterations: 6}
split: {method: stratified, share: 0.25}
loss: {strength: 4, iterations: 10}
folds: 2
"""


class _Silent:
    def stage(self, what: str, steps: int) -> None:
        """Nobody is told."""

    def step(self) -> None:
        """Nobody is told."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("held-out")
    write_comments(directory / "data" / "jigsaw_toxic", rows=500)
    (directory / "c.yaml").write_text(CONFIG)
    config, raw = load_config(str(directory / "c.yaml"))
    train_bundle(config, raw, directory / "data", directory, _Silent())
    return directory


def test_they_are_the_rows_that_the_figures_of_the_manifest_are_of(home: Path, tmp_path: Path) -> None:
    scorer = load_scorer(home / "made-up" / "1", batch=64)
    manifest = scorer.bundle.manifest
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"".join(held_out_lines(manifest, home / "data")))
    data = read_labelled(file, scorer.labels, Settings().events)
    assert len(data.texts) == manifest.training["rows"]["test"] == manifest.evaluation["rows"]
    figures = masked_figures(scorer.labels, scorer.score(data.texts), data.targets)
    assert figures.mean_roc_auc == manifest.evaluation["mean_roc_auc"]
    assert all("group" in json.loads(line) for line in file.read_text().splitlines())


def test_other_data_are_refused_and_so_is_a_bundle_without_records(home: Path, tmp_path: Path) -> None:
    manifest = read_bundle(home / "made-up" / "1").manifest
    write_comments(tmp_path / "jigsaw_toxic", rows=400)
    with pytest.raises(RefusedError, match="not those that made-up@1 was trained from") as refused:
        list(held_out_lines(manifest, tmp_path))
    assert refused.value.problems[0].startswith("set jigsaw:")
    training = manifest.training
    changed: dict[str, Any]
    for changed in (
        {"config": "train.yaml"},
        {"config": {**training["config"], "folds": "two"}},
        {"data": ["comments.csv"]},
        {"data": None},
        {"data": []},
        {"config": None, "recipe": ["salt"]},
        {"config": None, "recipe": {"salt": 5}},
        {"config": None, "recipe": {"sets": {}}},
        {"config": None, "recipe": {"salt": "a"}, "data": [5]},
    ):
        other = msgspec.structs.replace(manifest, training={**training, **changed})
        with pytest.raises(RefusedError, match="recorded in a form that this version does not know"):
            list(held_out_lines(other, home / "data" / ("jigsaw_toxic" if "recipe" in changed else "")))
    with pytest.raises(RefusedError, match="says nothing of rows held out"):
        list(held_out_lines(read_bundle(build_tiny_bundle(tmp_path)).manifest, tmp_path))
