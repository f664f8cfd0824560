"""Model cards: those of the shipped bundles are up to date, and each says what is known and what is not."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tiny_bundle import build_tiny_bundle
from typer.testing import CliRunner

from streamtag.cli import context
from streamtag.cli.model import app
from streamtag.errors import RefusedError
from streamtag.model.bundle import read_bundle, write_bundle
from streamtag.model.card import card, facts
from streamtag.model.card_notes import datasets, measured, notes, read_figures, saved, sets_of
from streamtag.model.card_tables import interval, table
from streamtag.model.registry import find_bundle
from streamtag.model.shipped import SHIPPED

DOCS = Path(__file__).parents[3] / "docs" / "models"
NAMES = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_a_shipped_bundle_is_its_card(name: str) -> None:
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    bundle = read_bundle(find_bundle(name, []))
    assert page == card(bundle, measured(bundle)), "run: make docs"


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_bundle_has_notes_licences_and_figures_of_its_own(name: str) -> None:
    bundle = read_bundle(find_bundle(name, []))
    said = notes(bundle)
    assert said is not None
    assert said.not_for
    assert sets_of(bundle.manifest).keys() <= datasets().keys()
    assert measured(bundle), "measure it anew: docs/howto-evaluate.md, Model cards"


def test_every_figure_of_the_card_is_one_of_the_manifest() -> None:
    bundle = read_bundle(find_bundle("security", []))
    for part in ("tactics", "web"):
        found = bundle.manifest.evaluation[part]
        for figure in ("micro", "macro"):
            cells = (interval(found["bundle"][figure]), interval(found["tfidf"][figure]))
            assert " | ".join(cells) in card(bundle)


def test_a_bundle_that_nobody_described_says_so(tmp_path: Path) -> None:
    text = card(read_bundle(build_tiny_bundle(tmp_path)))
    for said in ("Nobody has recorded what it is for", "Not recorded: the model was made elsewhere", "`greeting`"):
        assert said in text


def test_notes_are_not_those_of_another_model_of_the_same_name(tmp_path: Path) -> None:
    """Notes are of models trained from public sets; a bundle of this name from other data is not meant."""
    bundle = read_bundle(find_bundle("moderation", []))
    files = {name: (bundle.path / name).read_bytes() for name in bundle.manifest.files}
    training = {**bundle.manifest.training, "data": [{"name": "our_comments/a.csv", "rows": 10}]}
    other = read_bundle(write_bundle(tmp_path, msgspec.structs.replace(bundle.manifest, training=training), files))
    assert notes(other) is None
    assert measured(other) == []
    assert "| `our_comments` | not recorded | 10 | not recorded |" in card(other)


OTHER_FORMS: list[tuple[str, Any]] = [
    ("evaluation", {"f1": 0.9}),
    ("evaluation", {"rows": "many"}),
    ("evaluation", {"labels": {"spam": 0.5}}),
    ("evaluation", {"labels": [0.5]}),
    ("evaluation", {"f1": {"micro": {"low": 0.1}}}),
    ("evaluation", {"roc_auc_lost": ["leet"]}),
    ("evaluation", {"all": {"bundle": "ours@1"}}),
    ("training", {"rows": 500}),
    ("training", {"config": "train.yaml"}),
    ("training", {"config": {"sets": ["ours"]}, "data": [{"name": "a", "rows": 1}]}),
    ("training", {"data": ["comments.csv"]}),
    ("training", {"data": [{"name": "a"}]}),
    ("training", {"imported": "yes"}),
    ("training", {"environment": ["numpy"]}),
]


@pytest.mark.parametrize(("record", "content"), OTHER_FORMS)
def test_a_record_of_another_form_is_called_so(tmp_path: Path, record: str, content: dict[str, Any]) -> None:
    tiny = read_bundle(build_tiny_bundle(tmp_path))
    bundle = dataclasses.replace(tiny, manifest=msgspec.structs.replace(tiny.manifest, **{record: content}))
    assert "Recorded in a form that this version does not know." in card(bundle)
    assert facts(bundle)[record] == content


def test_such_a_bundle_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "GLOBALS", context.Globals())
    tiny = read_bundle(build_tiny_bundle(tmp_path / "tiny"))
    files = {name: (tiny.path / name).read_bytes() for name in tiny.manifest.files}
    for i, (record, content) in enumerate(OTHER_FORMS):
        manifest = msgspec.structs.replace(tiny.manifest, version=f"other{i}", **{record: content})
        found = CliRunner().invoke(app, ["show", str(write_bundle(tmp_path, manifest, files))])
        assert (found.exit_code, found.exception) == (0, None), (record, content)


def test_figures_of_a_label_that_is_not_scored_have_no_cutoff(tmp_path: Path) -> None:
    tiny = read_bundle(build_tiny_bundle(tmp_path))
    of_label = {"positives": 3, "roc_auc": 0.9, "average_precision": 0.5, "ece": 0.1, "ece_null_95": 0.2}
    evaluation = {"rows": 9, "labels": {"gone": of_label}, "f1": {"micro": {"value": 0.5, "low": 0.4}}}
    bundle = dataclasses.replace(tiny, manifest=msgspec.structs.replace(tiny.manifest, evaluation=evaluation))
    assert "| `gone` | 3 | 0.9000 | 0.500 | 0.1000 | < 0.2000 |  |" in card(bundle)


def test_figures_that_no_card_could_show_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "GLOBALS", context.Globals())
    bundle = read_bundle(find_bundle("moderation", []))
    document = {**measured(bundle)[0].figures, "bundle": msgspec.to_builtins(bundle.ref)}
    with pytest.raises(RefusedError, match="these are no figures"):
        read_figures(json.dumps({**document, "figures": {}}).encode(), "held.json", bundle)
    path = tmp_path / "at=0.5.json"
    path.write_text(json.dumps(document))
    for given, title in ((str(path), "Measured on at=0.5"), (f"Ours={tmp_path / 'held.json'}", "Ours")):
        (tmp_path / "held.json").write_text(json.dumps(document))
        assert f"### {title}\n" in CliRunner().invoke(app, ["card", "moderation", "--figures", given]).stdout


def test_figures_are_of_one_bundle_and_can_be_kept(tmp_path: Path) -> None:
    bundle = read_bundle(find_bundle("moderation", []))
    shipped = measured(bundle)[0]
    document = {**shipped.figures, "bundle": msgspec.to_builtins(bundle.ref), "curves": []}
    found = read_figures(json.dumps(document).encode(), "held.json", bundle)
    assert found.title == "Measured on held"
    assert "### Measured on held" in card(bundle, [found])
    kept = json.loads(saved(bundle.ref, [found]))
    assert kept["sha256"] == bundle.ref.sha256
    assert "bundle" not in kept["measured"][0]["figures"]
    other = read_bundle(build_tiny_bundle(tmp_path))
    with pytest.raises(RefusedError, match="another bundle"):
        read_figures(json.dumps(document).encode(), "held.json", other)
    with pytest.raises(RefusedError, match="holds no figures"):
        read_figures(b"[]", "held.json", bundle)


def test_the_command_writes_markdown_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "GLOBALS", context.Globals())
    bundle = read_bundle(find_bundle("moderation", []))
    assert CliRunner().invoke(app, ["card", "moderation"]).stdout == card(bundle, measured(bundle))
    found = json.loads(CliRunner().invoke(app, ["card", "moderation", "-o", "json"]).stdout)
    assert found == json.loads(msgspec.json.encode(facts(bundle, measured(bundle))))


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert table(("a",), [("x|y",)]).splitlines()[-1] == "| x\\|y |"
