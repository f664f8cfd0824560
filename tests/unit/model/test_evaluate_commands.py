"""`streamtag model evaluate --labels`, `compare` and `thresholds`, from file to file."""

import json
from pathlib import Path

import numpy as np
import pytest
from foreign_models import build_numbers_bundle
from model_commands import run, run_json
from tiny_bundle import build_tiny_bundle
from typer.testing import CliRunner

from streamtag.cli import context
from streamtag.cli.model import app
from streamtag.control.threshold_file import parse_threshold_file
from streamtag.domain.thresholds import problems
from streamtag.errors import RefusedError, StreamtagError
from streamtag.model.loading import load_scorer
from streamtag.model.training.obfuscate import KINDS


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the bundle tiny@1, which the settings name."""
    overrides = {"model.directories": f"[{tmp_path}]", "model.bundle": "tiny"}
    monkeypatch.setattr(context, "GLOBALS", context.Globals(overrides=overrides))
    monkeypatch.setattr(context.stdout, "_width", 200)  # no cell is folded
    build_tiny_bundle(tmp_path)
    return tmp_path


@pytest.fixture
def truth(directory: Path) -> Path:
    """Documents whose spam is what tiny@1 says it is; greetings are too few to decide."""
    texts = [f"made-up {'morning' if i % 4 < 2 else 'evening'} document {i}" for i in range(120)]
    scores = load_scorer(directory / "tiny" / "1", batch=64).score(texts)
    spam = scores[:, 0] > np.median(scores[:, 0])
    lines = [
        {"text": text, "labels": ["spam"] * bool(yes) + ["greeting"] * (i < 3), "lang": "de" if i % 2 else "en"}
        for i, (text, yes) in enumerate(zip(texts, spam, strict=True))
    ]
    path = directory / "truth.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_evaluate_measures_and_writes_one_page(truth: Path) -> None:
    page, terms = truth.with_name("report.html"), truth.with_name("terms.txt")
    terms.write_text("morning\n")
    arguments = ("evaluate", "--labels", truth, "--draws", 100, "--html", page, "--terms", terms)
    found = run_json(*arguments)
    assert (found["rows"], found["labels"], found["positives"]) == (120, ["spam", "greeting"], [60, 3])
    assert found["figures"]["roc_auc"][0]["value"] == 1.0
    assert page.read_text().startswith("<!doctype html>")
    assert "tiny@1" in page.read_text()
    assert not list(truth.parent.glob(".*.tmp"))
    text = run(*arguments)
    for part in ("macro F1", "BPSN", "lang", "spam"):
        assert part in text


def test_a_kept_report_is_on_the_card_from_then_on(truth: Path) -> None:
    kept = run_json("evaluate", "--labels", truth, "--draws", 100, "--robustness", "--keep", "Our truth")
    again = run_json("evaluate", "--labels", truth, "--draws", 100, "--keep", "Our truth, again")
    card = run_json("card", "tiny")
    assert [one["title"] for one in card["measured"]] == ["Our truth", "Our truth, again"]
    assert card["measured"][1]["figures"]["figures"]["f1"][0]["value"] == pytest.approx(
        again["figures"]["f1"][0]["value"], rel=1e-5
    )
    assert len(kept["robustness"]) == len(KINDS)
    assert "### Our truth" in run("card", "tiny")
    damaged = next((truth.parent / "tiny" / ".reports" / "1").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-20])
    found = CliRunner().invoke(app, ["card", "tiny"])
    assert f"{damaged.name} is damaged" in found.stderr
    assert [line for line in found.stdout.splitlines() if line.startswith("### Our truth")]


def test_a_report_is_kept_nowhere_without_a_title_or_a_place(truth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("evaluate", "--labels", truth, "--draws", 100, "--keep")
    with pytest.raises(RefusedError, match="needs a title"):
        run(*arguments, " ")
    monkeypatch.setattr(context, "GLOBALS", context.Globals(overrides={}))
    with pytest.raises(RefusedError, match="no place to keep"):
        run(*arguments, "Our truth", "--bundle", truth.parent / "tiny" / "1")


def test_evaluate_wants_one_kind_of_data(truth: Path) -> None:
    for arguments in (["evaluate"], ["evaluate", "--labels", truth, "--data", truth.parent]):
        with pytest.raises(StreamtagError, match="either --labels or --data"):
            run(*arguments)
    with pytest.raises(StreamtagError, match="--html need --labels"):
        run("evaluate", "--data", truth.parent, "--html", "x")


def test_compare_finds_another_bundle_worse_and_the_same_equal(directory: Path, truth: Path) -> None:
    build_tiny_bundle(directory, version="2", weights_seed=7)
    worse = run_json("compare", "tiny@1", "tiny@2", "--labels", truth, "--draws", 100)["difference"]["roc_auc"][0]
    assert worse["high"] < 0
    same = run_json("compare", "tiny@1", "tiny@1", "--labels", truth, "--draws", 100)["difference"]["roc_auc"][0]
    assert (same["low"], same["value"], same["high"]) == (0, 0, 0)
    assert " *" in run("compare", "tiny@1", "tiny@2", "--labels", truth, "--draws", 100)


def test_documents_of_one_group_show_no_interval_and_no_star(directory: Path, truth: Path) -> None:
    build_tiny_bundle(directory, version="2", weights_seed=7)
    lines = [json.loads(line) | {"group": "one"} for line in truth.read_text().splitlines()]
    truth.write_text("\n".join(map(json.dumps, lines)))
    found = run_json("compare", "tiny@1", "tiny@2", "--labels", truth, "--draws", 100)["difference"]["roc_auc"][0]
    assert (found["low"], found["high"]) == (None, None)
    shown = CliRunner().invoke(app, ["compare", "tiny@1", "tiny@2", "--labels", str(truth), "--draws", "100"])
    assert "[unknown]" in shown.stdout
    assert "*" not in shown.stdout.partition("\n")[2]
    assert "(`group`), too few to draw from: intervals are unknown" in shown.stderr
    page = truth.with_name("report.html")
    assert "[unknown]" in run("evaluate", "--labels", truth, "--draws", 100, "--html", page, "--robustness")
    assert "interval unknown" in page.read_text()
    assert "nan" not in page.read_text()
    truth.write_text("\n".join(json.dumps(line | {"group": str(i % 9)}) for i, line in enumerate(lines)))
    few = CliRunner().invoke(app, ["compare", "tiny@1", "tiny@2", "--labels", str(truth), "--draws", "100"])
    assert "9 groups (`group`), too few to draw from: intervals say little" in few.stderr


def test_compare_refuses_bundles_of_other_labels(directory: Path, truth: Path) -> None:
    build_tiny_bundle(directory, ("spam", "farewell"), name="other")
    with pytest.raises(RefusedError) as refused:
        run("compare", "tiny", "other", "--labels", truth)
    assert len(refused.value.problems) == 2


def test_thresholds_writes_what_apply_reads_and_says_what_is_undecided(truth: Path) -> None:
    out = truth.with_name("cutoffs.yaml")
    arguments = ("thresholds", "--goal", "fbeta(1)", "--labels", truth, "--out", out, "--by", "lang")
    found = run_json(*arguments)
    assert found["labels"]["greeting"]["undecided"] == "3 positives, fewer than 20"
    written = parse_threshold_file(out.read_text(), "cutoffs.yaml").thresholds
    assert problems(written, ("spam", "greeting")) == []
    assert written.labels["greeting"] == 0.5  # the default of the bundle
    assert written.labels["spam"] == pytest.approx(found["labels"]["spam"]["cutoff"])
    assert [dict(segment.when) for segment in written.segments] == [{"lang": "de"}, {"lang": "en"}]
    measured = run_json("evaluate", "--labels", truth, "--thresholds", out, "--draws", 100)
    assert measured["figures"]["f1"][0]["value"] == 1.0
    assert "3 positives, fewer than 20" in run(*arguments)


def test_a_segment_whose_name_looks_like_a_number_is_applied_as_it_is(truth: Path) -> None:
    out = truth.with_name("cutoffs.yaml")
    lines = [{**json.loads(line), "tenant": ("000189", "7e3")[i % 2]} for i, line in enumerate(truth.open())]
    truth.write_text("\n".join(map(json.dumps, lines)))
    run("thresholds", "--goal", "fbeta(1)", "--labels", truth, "--out", out, "--by", "tenant")
    written = parse_threshold_file(out.read_text(), "cutoffs.yaml").thresholds
    assert [dict(segment.when) for segment in written.segments] == [{"tenant": "000189"}, {"tenant": "7e3"}]


def test_a_file_with_cutoffs_of_segments_keeps_its_budget(truth: Path) -> None:
    out = truth.with_name("cutoffs.yaml")
    goal = ("--goal", "alerts_per_hour <= 30", "--events-per-hour", 120)
    lines = [json.loads(line) for line in truth.open()]
    scores = load_scorer(truth.parent / "tiny" / "1", batch=64).score([line["text"] for line in lines])[:, 0]
    highest = np.sort(scores)[-30]  # the cut-off of all alerts on nothing but these
    lines = [{**line, "lang": "fr" if s >= highest else "de"} for line, s in zip(lines, scores.tolist(), strict=True)]
    truth.write_text("\n".join(map(json.dumps, lines)))
    found = run_json("thresholds", *goal, "--labels", truth, "--out", out, "--by", "lang")
    assert found["labels"]["spam"]["cutoff"] is not None
    measured = run_json("evaluate", "--labels", truth, "--thresholds", out, "--draws", 100)
    assert measured["figures"]["recall"][0]["value"] * 60 <= 30


def test_a_goal_that_cannot_be_worked_out_writes_nothing(truth: Path) -> None:
    out = truth.with_name("cutoffs.yaml")
    for goal in ("alerts_per_hour <= 5", "high"):
        with pytest.raises(StreamtagError):
            run("thresholds", "--goal", goal, "--labels", truth, "--out", out)
    assert not out.exists()


def test_a_bundle_of_numbers_is_measured_on_features(directory: Path) -> None:
    build_numbers_bundle(directory, directory / "scratch")
    path = directory / "numbers.jsonl"
    lines = [{"features": {"amount": i % 100, "age": i % 7}, "labels": ["offer"] * (i % 3 == 0)} for i in range(60)]
    path.write_text("\n".join(map(json.dumps, lines)))
    arguments = ("evaluate", "--bundle", "numbers", "--labels", path, "--draws", 100, "--robustness")
    assert run_json(*arguments)["rows"] == 60
    path.write_text('{"features": {"age": 3}, "labels": []}\n{"text": "hello", "labels": []}')
    with pytest.raises(RefusedError, match="cannot score 2 of the documents") as refused:
        run(*arguments)
    assert refused.value.problems[0].startswith("line 1, features.amount: feature amount is missing")


def test_documents_without_text_are_refused_by_a_bundle_of_text(truth: Path) -> None:
    path = truth.with_name("features.jsonl")
    path.write_text('{"features": {"age": 3}, "labels": []}\n{"text": "", "labels": []}')
    with pytest.raises(RefusedError) as refused:
        run("evaluate", "--labels", path)
    assert refused.value.problems == ("line 1, text: no text, and the bundle reads nothing else",)


def test_robustness_names_each_disguise_and_what_it_costs(truth: Path) -> None:
    arguments = ("evaluate", "--labels", truth, "--draws", 100, "--robustness")
    found = {each["kind"]: each for each in run_json(*arguments)["robustness"]}
    assert found.keys() == KINDS.keys()
    # what the bundle folds before it looks costs nothing; letters between spaces are other n-grams
    assert found["zero_width"]["mean_roc_auc"]["value"] == 0
    assert found["spacing"]["mean_roc_auc"]["high"] < 0
    assert "disguised by" in run(*arguments)
