"""`streamtag model calibrate`, from file to file: a bundle whose world has changed becomes right again."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign_models import build_numbers_bundle
from model_commands import run, run_json
from scipy.special import expit, logit
from tiny_bundle import build_tiny_bundle

from streamtag.cli import context
from streamtag.domain.scores import MICRO, to_micro
from streamtag.errors import BundleError
from streamtag.model.bundle import read_bundle
from streamtag.model.calibration.fit import kept
from streamtag.model.calibration.graph import with_curves
from streamtag.model.explain import Explainer
from streamtag.model.loading import load_scorer
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    overrides = {"model.directories": f"[{tmp_path}]", "model.bundle": "tiny"}
    monkeypatch.setattr(context, "GLOBALS", context.Globals(overrides=overrides))
    monkeypatch.setattr(context.stdout, "_width", 240)
    return tmp_path


@pytest.fixture
def truth(directory: Path) -> Path:
    """Spam is rarer by 2 logits than tiny@1 says; greetings are too few to say anything."""
    scorer = load_scorer(build_tiny_bundle(directory), batch=64)
    texts = [f"made-up document {i} of {i % 17}" for i in range(700)]
    spam = expit(logit(np.clip(scorer.score(texts)[:, 0].astype(np.float64), 1e-6, 1 - 1e-6)) - 2)
    drawn = np.random.default_rng(0).random(len(texts)) < spam
    lines = [
        {"text": text, "labels": ["spam"] * bool(yes) + ["greeting"] * (i < 3)}
        for i, (text, yes) in enumerate(zip(texts, drawn, strict=True))
    ]
    path = directory / "truth.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def scored(directory: Path, version: str) -> tuple[Scorer, list[str]]:
    lines = (directory / "truth.jsonl").read_text().splitlines()
    return load_scorer(directory / "tiny" / version, batch=64), [json.loads(line)["text"] for line in lines]


def test_a_new_version_is_right_and_decides_the_same_events(directory: Path, truth: Path) -> None:
    found = run_json("calibrate", "tiny@1", "--labels", truth, "--out", directory, "--version", "2", "--draws", 100)
    spam, greeting = found["labels"]
    assert (spam["method"], greeting["method"]) == ("platt", "kept")
    assert spam["after"]["ece_debiased"]["value"] < spam["before"]["ece_debiased"]["value"] / 2
    assert spam["reliability_before"] != spam["reliability_after"]
    assert greeting["why"] == "3 positives, fewer than 20"
    assert [cutoff["changed"] for cutoff in found["cutoffs"]] == [0, 0]
    (old, texts), (new, _) = scored(directory, "1"), scored(directory, "2")
    before, after = old.score(texts), new.score(texts)
    assert (before[:, 1].view(np.uint32) == after[:, 1].view(np.uint32)).all()
    cutoffs = [[label.threshold for label in each.bundle.manifest.labels] for each in (old, new)]
    assert cutoffs[0] != cutoffs[1]
    old_tags, new_tags = (
        to_micro(p) >= np.rint(np.array(c) * MICRO) for p, c in zip((before, after), cutoffs, strict=True)
    )
    assert (old_tags == new_tags).all()
    assert new.bundle.manifest.recalibrations[0].sha256 == old.bundle.ref.sha256
    assert new.bundle.manifest.evaluation["rows"] == 700


def test_the_same_labels_give_the_same_bundle(directory: Path, truth: Path) -> None:
    arguments = ("calibrate", "tiny@1", "--labels", truth, "--draws", 100, "--out")
    one, two = (run_json(*arguments, directory / place)["bundle"] for place in ("a", "b"))
    assert one == two
    assert one["version"].startswith("1-cal-")


def test_labels_may_come_through_a_pipe(directory: Path, truth: Path) -> None:
    content = truth.read_bytes()
    end, start = os.pipe()
    with open(start, "wb") as stream:
        stream.write(content)  # less than a pipe holds
    found = run_json("calibrate", "tiny@1", "--labels", f"/dev/fd/{end}", "--draws", 100, "--out", directory)["bundle"]
    os.close(end)
    digest = hashlib.sha256(content).hexdigest()
    assert found["version"] == f"1-cal-{digest[:8]}"
    recalibrations = scored(directory, found["version"])[0].bundle.manifest.recalibrations
    assert recalibrations[0].labels_sha256 == digest


def test_a_new_version_that_is_not_the_highest_has_to_be_named(directory: Path, truth: Path) -> None:
    arguments = ("calibrate", "tiny@1", "--labels", truth, "--draws", 100, "--out", directory)
    version = f"1-cal-{hashlib.sha256(truth.read_bytes()).hexdigest()[:8]}"
    said = f"tiny without a version goes on meaning 1 or later; write tiny@{version} for this one."
    assert said in run(*arguments)
    assert find_bundle("tiny", [directory]).name == "1"
    assert "without a version" not in run(*arguments, "--version", "2")


def test_a_graph_that_onnx_does_not_take_is_refused(directory: Path) -> None:
    bundle = read_bundle(build_tiny_bundle(directory))
    model = onnx.load_from_string(bundle.model)
    model.graph.name = ""
    with pytest.raises(BundleError) as caught:
        with_curves(model.SerializeToString(), [kept(label, "few", 0, 0) for label in bundle.labels], 1)
    assert caught.value.problems[0].startswith("model.onnx: ")


def test_a_recalibrated_bundle_is_explained_exactly_as_before(directory: Path, truth: Path) -> None:
    run("calibrate", "tiny@1", "--labels", truth, "--out", directory, "--version", "2", "--draws", 100)
    scorer, texts = scored(directory, "2")
    assert {one.method for one in Explainer(scorer).explain(texts[0])} == {"exact"}


def test_a_bundle_of_numbers_can_be_recalibrated_and_recalibrated_again(directory: Path) -> None:
    scorer = load_scorer(build_numbers_bundle(directory, directory / "scratch"), batch=64)
    features = [{"amount": float(i % 100), "age": float(i % 90)} for i in range(400)]
    scores = scorer.score([""] * 400, features)
    for version, shift in (("2", -1.5), ("3", 1.5)):
        draws = np.random.default_rng(1).random(400) < expit(logit(scores[:, 0].astype(np.float64)) + shift)
        lines = [{"features": one, "labels": {"meeting": int(yes)}} for one, yes in zip(features, draws, strict=True)]
        path = directory / "truth.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)))
        before = f"numbers@{int(version) - 1}"
        run("calibrate", before, "--labels", path, "--out", directory, "--version", version, "--draws", 100)
    manifest = load_scorer(directory / "numbers" / "3", batch=64).bundle.manifest
    assert [step.version for step in manifest.recalibrations] == ["1", "2"]


def test_nothing_is_written_where_no_label_gets_better_or_the_version_exists(directory: Path, truth: Path) -> None:
    build_tiny_bundle(directory, version="2", weights_seed=7)
    arguments = ("calibrate", "tiny@1", "--labels", truth, "--draws", 100, "--out", directory, "--version")
    with pytest.raises(BundleError, match="exists at"):
        run(*arguments, "2")
    truth.write_text("\n".join(truth.read_text().splitlines()[:30]))
    assert run_json(*arguments, "3")["path"] is None
    assert "nothing was written" in run(*arguments, "3")
    assert sorted(path.name for path in (directory / "tiny").iterdir()) == ["1", "2"]


def test_cutoffs_keep_their_numbers_where_one_says_so(directory: Path, truth: Path) -> None:
    arguments = ("calibrate", "tiny@1", "--labels", truth, "--draws", 100, "--out", directory, "--keep-cutoffs")
    spam, _ = run_json(*arguments)["cutoffs"]
    assert (spam["before"], spam["after"]) == (0.5, 0.5)
    assert spam["changed"] > 0
    assert "documents decided otherwise" in run(*arguments)
