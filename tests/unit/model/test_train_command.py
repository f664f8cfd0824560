"""`streamtag model train` on made-up, harmless sets: it learns from both, repeats itself, refuses bad input."""

import csv
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_commands import run_json
from test_training import FILLER, TOPICS, write_comments
from typer.testing import CliRunner

from streamtag.cli import context, model_train
from streamtag.cli.model import app
from streamtag.errors import NotFoundError, RefusedError, StreamtagError
from streamtag.model.bundle import peek_ref, read_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.training.config import CONFIGS, load_config
from streamtag.model.training.readers.content import JIGSAW

CONFIG = """
name: made-up
version: "3"
description: for a test
labels:
  - {id: toxic, description: cheese}
  - {id: threat, description: glaciers, critical: true}
  - {id: identity_hate, description: lanterns}
sets:
  - {reader: jigsaw, path: jigsaw_toxic}
  - {reader: davidson, weight: 0.5, means: {identity_hate: [hate]}, positives_only: [identity_hate]}
features: {contract: hashed-ngrams/3, bits: 12, buckets: 700, select_iterations: 8, half: true}
split: {method: stratified, share: 0.25}
loss: {strength: 4, iterations: 15}
blend: [{strength: 1, smoothing: 1, iterations: 10}]
augment: {share: 0.2, kinds: [leet, spacing]}
identity: {share: 0.1, weight: 0.5, unknown: [identity_hate]}
folds: 2
"""


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "GLOBALS", context.Globals())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    write_comments(directory / "jigsaw_toxic", rows=600)
    (directory / "davidson").mkdir()
    random = np.random.default_rng(8)
    with (directory / "davidson" / "labeled_data.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["", "count", "hate_speech", "offensive_language", "neither", "class", "tweet"])
        for i in range(120):
            hate = 3 if i % 2 else 0
            words = [*random.choice(FILLER, size=8).tolist(), TOPICS["identity_hate"] if hate else "harbour"]
            out.writerow([i, 3, hate, 0, 3 - hate, 0, " ".join(words)])
    return directory


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "made-up.yaml"
    file.write_text(CONFIG)
    return file


def run(*arguments: str) -> Any:
    return run_json("train", *arguments)


def test_it_learns_from_both_sets_and_records_all_it_took(config: Path, data: Path, tmp_path: Path) -> None:
    found = run(str(config), "--data", str(data), "--out", str(tmp_path / "out"))
    bundle = read_bundle(Path(found["path"]))
    assert (bundle.ref.name, bundle.ref.version) == ("made-up", "3")
    evaluation, training = bundle.manifest.evaluation, bundle.manifest.training
    assert evaluation["mean_roc_auc"] > 0.9
    assert evaluation["f1"]["macro"]["low"] <= evaluation["f1"]["macro"]["value"] <= evaluation["f1"]["macro"]["high"]
    assert evaluation["roc_auc_lost"]["zero_width"] == pytest.approx(0, abs=0.02)
    assert [source["rows"] for source in training["data"]] == [600, 120]
    assert all(len(digest) == 64 for source in training["data"] for digest in source["files"].values())
    assert training["config"]["loss"]["strength"] == 4
    assert training["rows"]["test"] == evaluation["rows"] <= 400  # natural rows only: two of three of the first set
    scores = load_scorer(Path(found["path"]), batch=8).score(["a quiet glacier on the river", "the old window"])
    assert scores[0, 1] > scores[1, 1]

    again = run(str(config), "--data", str(data), "--out", str(tmp_path / "again"))
    assert peek_ref(Path(again["path"])) == bundle.ref

    shown = CliRunner().invoke(app, ["evaluate", "--data", str(data), "--bundle", found["path"], "-o", "json"])
    assert json.loads(shown.stdout)["as_recorded"] is True

    for name in ("jigsaw_toxic", "davidson"):
        shutil.copytree(data / name, tmp_path / "other" / name)
    (tmp_path / "other" / "davidson" / "NOTE.txt").touch()
    other = str(tmp_path / "other")
    shown = CliRunner().invoke(app, ["evaluate", "--data", other, "--bundle", found["path"], "-o", "json"])
    measured = json.loads(shown.stdout)
    assert (measured["as_recorded"], measured["figures"]["rows"]) == (None, 400)  # all natural rows, trained on or not


def test_compare_measures_every_pattern_on_the_same_rows(config: Path, data: Path) -> None:
    found = run(str(config), "--data", str(data), "--compare")
    assert list(found["patterns"]) == ["independent", "chain", "embedding", "pairwise", "two_stage"]
    assert found["best"] in found["patterns"]
    assert found["patterns"]["independent"]["macro_f1_gain"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    for figures in found["patterns"].values():
        assert figures["macro_f1"]["low"] <= figures["macro_f1"]["value"] <= figures["macro_f1"]["high"]
        assert figures["mean_roc_auc"] > 0.85


def test_every_problem_of_a_configuration_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        CONFIG.replace("reader: davidson", "reader: nobody")
        .replace("folds: 2", "folds: one\nspeed: 9")
        .replace("strength: 4", "strength: -1")
    )
    with pytest.raises(RefusedError) as refused:
        load_config(str(file))
    text = "\n".join(refused.value.problems)
    for place in ("sets.1.reader", "folds", "speed", "loss.strength"):
        assert place in text
    file.write_text(CONFIG.replace("id: threat", "id: toxic").replace("[identity_hate]}", "[spam]}"))
    with pytest.raises(RefusedError) as refused:
        load_config(str(file))
    assert "toxic stands twice" in refused.value.problems[0]
    assert "no label spam" in refused.value.problems[0]
    with pytest.raises(NotFoundError, match="no configuration nowhere"):
        load_config("nowhere")


def test_data_that_do_not_fit_are_refused_and_nothing_is_written(config: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(RefusedError) as refused:
        run(str(config), "--data", str(other), "--out", str(out))
    assert [problem.partition(":")[0] for problem in refused.value.problems] == ["set jigsaw", "set davidson"]
    (other / "davidson").symlink_to(data / "davidson")
    (other / "jigsaw_toxic").mkdir()
    with gzip.open(other / "jigsaw_toxic" / "jigsaw.csv.gz", "wt") as file:
        file.write(
            ",".join(["id", "comment_text", *JIGSAW]) + "\n" + "".join(f"{i},x{i}y,0,0,0,0,0,0\n" for i in range(9))
        )
    with pytest.raises(RefusedError) as refused:
        run(str(config), "--data", str(other), "--out", str(out))
    assert refused.value.problems == ("label toxic: no row has it", "label threat: no row has it")
    assert not out.exists()


def test_out_and_compare_exclude_each_other(config: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(StreamtagError, match="exclude"):
        run(str(config), "--data", str(data), "--out", str(tmp_path), "--compare")
    with pytest.raises(StreamtagError, match="where to write"):
        run(str(config), "--data", str(data))


ENCODER = "encoder: {sha256: " + "a" * 64 + "}\n"


def test_what_an_encoder_needs_is_said_before_the_training(config: Path, data: Path, tmp_path: Path) -> None:
    arguments = (str(config), "--data", str(data), "--out", str(tmp_path / "out"))
    with pytest.raises(StreamtagError, match="made-up has no encoder"):
        run(*arguments, "--encoder", str(tmp_path))
    config.write_text(CONFIG + ENCODER)
    with pytest.raises(StreamtagError, match="starts from a pretrained encoder"):
        run(*arguments)


def test_the_package_that_an_encoder_needs_is_named(
    config: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(CONFIG + ENCODER)
    arguments = (str(config), "--data", str(data), "--out", str(tmp_path / "out"), "--encoder", str(tmp_path / "no"))
    monkeypatch.setattr(model_train, "find_spec", lambda name: None if name == "safetensors" else object())
    with pytest.raises(StreamtagError, match="needs the package safetensors"):
        run(*arguments)
    monkeypatch.setattr(model_train, "find_spec", lambda name: object())
    with pytest.raises(NotFoundError, match=r"no encoder: .*config\.json"):
        run(*arguments)


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_configurations_that_ship_are_valid(name: str) -> None:
    assert load_config(name)[0].name == name


def test_a_log_tells_every_tenth_of_a_long_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with model_train._Shown() as shown:
        for what, steps in (("short", 40), ("long", 1_933), ("of unknown length", 0)):
            shown.stage(what, steps)
            for _ in range(steps or 5):
                shown.step()
    told = capsys.readouterr().err.splitlines()
    assert told == ["short", "long", *(f"long: {tenth} %" for tenth in range(10, 101, 10)), "of unknown length"]
