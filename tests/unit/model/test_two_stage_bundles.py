"""Bundles of two stages: made, verified and refused as one; batch, command and stream score by them alike."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import typer
from tiny_bundle import build_tiny_bundle
from typer.testing import CliRunner

from streamtag.cli.model import app as model_app
from streamtag.cli.score import score
from streamtag.domain.scores import to_micro
from streamtag.errors import BundleError, RefusedError, StreamtagError
from streamtag.model.bundle import read_bundle, write_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.manifest import MANIFEST, STAGE2, dump
from streamtag.model.two_stages import final_scores, pair

WORDS = ("river", "stone", "lamp", "green", "seven", "quick", "bread", "window", "orange", "paper", "cloud", "silver")
TEXTS = [" ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 2 + i % 9)) for i in range(120)]
BANDS = {"spam": (0.3, 0.7), "greeting": (0.45, 0.55)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles ``tiny@1``, ``slow@1``, and of both, ``tiny@2``."""
    directory = tmp_path_factory.mktemp("bundles")
    first, second = build_tiny_bundle(directory), build_tiny_bundle(directory, name="slow", weights_seed=3)
    made(directory, first, second)
    return directory


def made(directory: Path, first: Path, second: Path | None, version: str = "2", **given: Any) -> Path:
    chosen: dict[str, Any] = {"name": "tiny", "version": version, "bands": BANDS, "sample": 0.1} | given
    other = None if second is None else read_bundle(second)
    return pair(read_bundle(first), other, directory, **chosen)


def model(*arguments: object) -> Any:
    """Runs `streamtag model`; whatever it raises is raised here."""
    return CliRunner().invoke(model_app, [str(one) for one in arguments], catch_exceptions=False)


def score_lines(bundle: Path, file: Path) -> list[dict[str, Any]]:
    """Runs `streamtag score`."""
    app = typer.Typer()
    app.command()(score)
    run = CliRunner().invoke(app, ["--bundle", str(bundle), str(file)], catch_exceptions=False)
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_a_pair_is_one_bundle_that_holds_both(root: Path) -> None:
    whole, slow = read_bundle(root / "tiny" / "2"), read_bundle(root / "slow" / "1")
    assert whole.stage2 is not None
    assert whole.stage2.ref == slow.ref
    assert whole.stage2.model == slow.model
    assert whole.ref.sha256 != read_bundle(root / "tiny" / "1").ref.sha256
    assert read_bundle(root / "tiny" / "1").stage2 is None


def test_new_bands_keep_both_models(root: Path, tmp_path: Path) -> None:
    again = read_bundle(made(tmp_path, root / "tiny" / "2", None, "3", bands={"spam": (0.1, 0.2)}, sample=0.0))
    before = read_bundle(root / "tiny" / "2")
    assert again.stage2 is not None
    assert before.stage2 is not None
    assert (again.model, again.stage2.ref) == (before.model, before.stage2.ref)
    with pytest.raises(RefusedError, match="has one stage"):
        made(tmp_path, root / "tiny" / "1", None)
    with pytest.raises(RefusedError, match="two stages itself"):
        made(tmp_path, root / "tiny" / "1", root / "tiny" / "2")


def test_stages_must_score_the_same_labels_in_the_same_order(root: Path, tmp_path: Path) -> None:
    other = build_tiny_bundle(tmp_path, ("greeting", "spam"))
    with pytest.raises(RefusedError, match="same labels in the same order"):
        made(tmp_path, root / "tiny" / "1", other)


def test_bands_that_cannot_be_are_refused_and_nothing_is_written(root: Path, tmp_path: Path) -> None:
    wrong = {"ham": (0.1, 0.2), "spam": (0.9, 0.2)}
    with pytest.raises(BundleError) as caught:
        made(tmp_path, root / "tiny" / "1", root / "slow" / "1", bands=wrong)
    assert len(caught.value.problems) == 2
    assert not list(tmp_path.rglob("*.json"))


def changed(root: Path, tmp_path: Path, **stage2: Any) -> Path:
    """A copy of the pair whose manifest says something else of its second stage."""
    copy = tmp_path / "copy"
    shutil.copytree(root / "tiny" / "2", copy)
    manifest = read_bundle(copy).manifest
    assert manifest.stage2 is not None
    other = msgspec.structs.replace(manifest.stage2, **stage2)
    (copy / MANIFEST).write_bytes(dump(msgspec.structs.replace(manifest, stage2=other)))
    return copy


def test_a_second_stage_that_is_not_what_the_manifest_says_is_refused(root: Path, tmp_path: Path) -> None:
    manifest = read_bundle(root / "tiny" / "2").manifest
    assert manifest.stage2 is not None
    named = msgspec.structs.replace(manifest.stage2.bundle, version="9")
    with pytest.raises(BundleError) as caught:
        read_bundle(changed(root, tmp_path, bundle=named))
    [problem] = caught.value.problems
    assert problem.startswith("stage2.manifest.json: is slow@1")


@pytest.mark.parametrize("file", [MANIFEST, "model.onnx", "parity.json", "buckets.npy"])
def test_every_file_of_the_second_stage_is_verified(root: Path, tmp_path: Path, file: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root / "tiny" / "2", copy)
    target = copy / f"{STAGE2}{file}"
    target.write_bytes(target.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError) as caught:
        read_bundle(copy)
    assert any(problem.startswith(f"{STAGE2}{file}: sha256") for problem in caught.value.problems)
    target.unlink()
    with pytest.raises(BundleError):
        read_bundle(copy)


def test_a_second_stage_that_fails_a_gate_is_not_loaded(root: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    shutil.copytree(root / "slow" / "1", slow)
    found = read_bundle(slow)
    fixtures = [msgspec.structs.replace(one, scores=[0.123, 0.456]) for one in found.parity.fixtures]
    parity = dump(msgspec.structs.replace(found.parity, fixtures=fixtures))
    files = {name: (slow / name).read_bytes() for name in found.manifest.files} | {"parity.json": parity}
    wrong = write_bundle(tmp_path / "out", found.manifest, files)
    with pytest.raises(BundleError, match=r"stage 2 of bundle tiny@2 .* fails the gate: parity"):
        load_scorer(made(tmp_path / "out", root / "tiny" / "1", wrong), batch=8)


def test_what_is_in_no_band_keeps_the_bits_of_stage_1(root: Path) -> None:
    scorer, alone = load_scorer(root / "tiny" / "2", batch=16), load_scorer(root / "tiny" / "1", batch=16)
    later = load_scorer(root / "slow" / "1", batch=16).score(TEXTS)
    first = alone.score(TEXTS)
    assert scorer.bands is not None
    held = scorer.bands.hold(to_micro(first))
    assert 10 < held.sum() < 110
    wanted = np.where(held[:, None], later, first)
    assert (final_scores(scorer, TEXTS).view(np.uint32) == wanted.view(np.uint32)).all()
    assert (final_scores(alone, TEXTS).view(np.uint32) == first.view(np.uint32)).all()


def test_score_shows_the_stage_of_each_line(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(TEXTS), encoding="utf-8")
    lines, plain = score_lines(root / "tiny" / "2", file), score_lines(root / "tiny" / "1", file)
    assert {line.get("stage2") for line in lines} == {None, "band", "sample"}
    assert all(("stage1_scores" in line) == (line.get("stage") == "2") for line in lines)
    assert not any({"stage", "stage2", "stage1_scores"} & line.keys() for line in plain)
    for line, alone in zip(lines, plain, strict=True):
        assert (line.get("stage1_scores") or line["scores"]) == alone["scores"]


# -- the commands ------------------------------------------------------------------------------------------------------


def test_from_two_bundles_to_bands_by_commands_alone(root: Path, tmp_path: Path) -> None:
    first, second, out = root / "tiny" / "1", root / "slow" / "1", tmp_path / "out"
    model("pair", first, second, "--version", "all", "--sample", "1", "--out", out)
    texts, scored, bands = tmp_path / "texts.txt", tmp_path / "scored.jsonl", tmp_path / "bands.json"
    texts.write_text("\n".join(f"{text} {i}" for i, text in enumerate(TEXTS * 8)), encoding="utf-8")
    scored.write_text("\n".join(map(json.dumps, score_lines(out / "tiny" / "all", texts))), encoding="utf-8")
    proposed = model("band", out / "tiny" / "all", "--scores", scored, "--miss", "0.2", "-o", "json").stdout
    found = json.loads(proposed)
    assert (found["events"], found["passed_over"]) == (960, 0)
    assert found["labels"]["spam"]["flips"] >= found["labels"]["spam"]["needed"]
    low, high = found["bands"]["spam"]
    assert low <= 0.5 <= high
    bands.write_text(proposed, encoding="utf-8")
    banded = ("--version", "4", "--bands", bands, "--out", out, "-o", "json")
    written = json.loads(model("pair", out / "tiny" / "all", *banded).stdout)
    assert {one["label"]: [one["low"], one["high"]] for one in written["stage2"]["bands"]} == found["bands"]
    assert load_scorer(out / "tiny" / "4", batch=8).second is not None
    assert "slow@1; bands: spam" in " ".join(model("show", out / "tiny" / "4").stdout.split())


def test_only_the_sample_is_looked_at_and_few_flips_leave_a_label_undecided(root: Path, tmp_path: Path) -> None:
    scores, first = {"spam": 0.9, "greeting": 0.1}, {"spam": 0.4, "greeting": 0.1}
    lines: list[dict[str, Any]] = [
        {"scores": scores, "stage1_scores": first, "stage2": why} for why in ("sample", "sample", "band")
    ]
    lines.append({"scores": scores, "stage2": "shed"})
    lines.append({**lines[0], "release": {"bundle": {"sha256": "0" * 64}}})
    file = tmp_path / "tags.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    found = json.loads(model("band", root / "tiny" / "2", "--scores", file, "-o", "json").stdout)
    assert (found["events"], found["passed_over"], found["bands"]) == (2, 3, {})
    undecided = {"band": None, "undecided": True, "outside": 0, "share": 0.0, "needed": 46}
    assert found["labels"] == {"spam": {**undecided, "flips": 2}, "greeting": {**undecided, "flips": 0}}
    shown = model("band", root / "tiny" / "2", "--scores", file).stdout
    assert "undecided: 46 flips are needed" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("nonsense", "1: not a tag event"),
        (b'{"stage": "\xff"}', "1: not a tag event"),
        ('{"other": ' + "[" * 100_000, "1: not a tag event"),
        ('{"scores": {"spam": 1}, "stage1_scores": {"spam": 1, "greeting": 0}, "stage2": "sample"}', "'greeting'"),
        ('{"scores": {"spam": 2, "greeting": 0}, "stage1_scores": {"spam": 1, "greeting": 0}}', "no probability"),
        ('{"scores": {"spam": 1, "greeting": 0}}', "no event among 1 lines"),
    ],
)
def test_scores_that_are_none_are_refused_by_line(root: Path, tmp_path: Path, content: str | bytes, said: str) -> None:
    file = tmp_path / "scores.jsonl"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RefusedError) as caught:
        model("band", root / "tiny" / "2", "--scores", file)
    assert said in " ".join([caught.value.message, *caught.value.problems])


def test_a_file_that_holds_no_bands_is_refused(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "bands.yaml"
    file.write_text("spam: 0.5\ngreeting: [0.1]\n", encoding="utf-8")
    options = ("--version", "7", "--bands", file, "--out", tmp_path)
    with pytest.raises(RefusedError) as caught:
        model("pair", root / "tiny" / "1", root / "slow" / "1", *options)
    assert [one.split(":")[0] for one in caught.value.problems] == ["spam", "greeting"]


def test_bands_by_a_margin_around_the_cutoffs(root: Path, tmp_path: Path) -> None:
    options = ("--version", "8", "--margin", "0.5", "--out", tmp_path, "-o", "json")
    written = json.loads(model("pair", root / "tiny" / "1", root / "slow" / "1", *options).stdout)
    cutoffs = read_bundle(root / "tiny" / "1").default_thresholds.labels
    for one in written["stage2"]["bands"]:
        assert one["low"] < cutoffs[one["label"]] < one["high"]
    assert [one["label"] for one in written["stage2"]["bands"]] == list(cutoffs)
    with pytest.raises(StreamtagError, match="exclude each other"):
        model("pair", root / "tiny" / "1", "--bands", tmp_path / "no.yaml", *options)
