"""`streamtag model`: what it shows, and what it says when it cannot."""

from pathlib import Path

import pytest
from model_commands import run, run_json
from tiny_bundle import build_tiny_bundle

from streamtag.cli import context, model_train
from streamtag.errors import BundleError, NotFoundError, RefusedError, SettingsError
from streamtag.model.bundle import MANIFEST, MODEL, read_bundle
from streamtag.model.registry import find_bundle


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of bundles that the settings name."""
    overrides = {"model.directories": f"[{tmp_path}]", "model.bundle": "tiny"}
    monkeypatch.setattr(context, "GLOBALS", context.Globals(overrides=overrides))
    return tmp_path


def test_list_names_every_bundle_and_why_one_would_be_refused(directory: Path) -> None:
    build_tiny_bundle(directory, version="1")
    broken = build_tiny_bundle(directory, version="2")
    (broken / MODEL).write_bytes(b"")
    manifest = build_tiny_bundle(directory, version="3") / MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b"spam", b"sp\xffm"))
    found = {(b["name"], b["version"]): b for b in run_json("list")["bundles"]}
    shipped = {*(("moderation", v) for v in "123"), ("moderation-two-stage", "1"), *(("security", v) for v in "12")}
    assert found.keys() == {("tiny", "1"), ("tiny", "2"), ("tiny", "3")} | shipped
    assert found["tiny", "1"]["problems"] == []
    assert found["tiny", "1"]["labels"] == ["spam", "greeting"]
    assert found["tiny", "2"]["problems"][0].startswith(MODEL)
    assert found["tiny", "3"]["problems"] == [f"{MANIFEST}: not UTF-8"]
    assert "tiny" in run("list")


def test_show_gives_identity_labels_and_figures(directory: Path) -> None:
    build_tiny_bundle(directory)
    shown = run_json("show", "moderation")
    assert shown["ref"]["name"] == "moderation"
    assert shown["manifest"]["evaluation"]["mean_roc_auc"] > 0.975
    text = run("show", "moderation")
    for part in ("moderation@3", shown["ref"]["sha256"], "identity_hate", "ROC-AUC"):
        assert part in text
    assert "tiny@1" in run("show")  # the bundle of the settings, which was never evaluated


def test_verify_runs_the_gates(directory: Path) -> None:
    path = build_tiny_bundle(directory)
    assert run_json("verify")["valid"] is True
    assert "passes every gate" in run("verify", str(path))
    (path / MODEL).write_bytes(b"")
    with pytest.raises(BundleError):
        run("verify")


def test_what_is_not_there_is_said(directory: Path) -> None:
    with pytest.raises(NotFoundError):
        run("show", "nobody")
    with pytest.raises(NotFoundError, match="jigsaw"):
        run("evaluate", "--data", str(directory), "--bundle", "moderation@1")
    with pytest.raises(RefusedError, match="do not fit") as caught:
        run("evaluate", "--data", str(directory), "--bundle", "moderation@2")
    assert "jigsaw" in caught.value.problems[0]


def test_a_missing_extra_is_named_with_what_to_install(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")

    monkeypatch.setattr(context, "import_module", missing)
    with pytest.raises(SettingsError, match="sklearn") as caught:
        run("evaluate", "--data", str(directory), "--bundle", str(find_bundle("moderation", [])))
    assert "streamtag[train]" in caught.value.hint


def test_settings_that_are_wrong_are_refused_before_anything_is_trained(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setenv("STREAMTAG_MODEL__BATCH", "nonsense")
    monkeypatch.setattr(model_train, "optional_module", lambda name, *_: started.append(name))
    with pytest.raises(SettingsError, match=r"model\.batch"):
        run("train", "moderation", "--data", str(directory), "--out", str(directory))
    assert not started


def test_train_and_evaluate_agree(directory: Path) -> None:
    from test_training import RECIPE, write_comments

    from streamtag.model.training.data import read_jigsaw
    from streamtag.model.training.moderation import train_moderation

    write_comments(directory / "data")
    comments = read_jigsaw(directory / "data")
    path = train_moderation(comments, directory, version="9", recipe=RECIPE, report=lambda message: None)
    trained = {"evaluation": read_bundle(path).manifest.evaluation}
    found = run_json("evaluate", "--data", str(directory / "data"), "--bundle", "moderation@9")
    assert found["as_recorded"] is True
    assert found["figures"]["mean_roc_auc"] == trained["evaluation"]["mean_roc_auc"]
    assert "as recorded" in run("evaluate", "--data", str(directory / "data"), "--bundle", "moderation@9")
