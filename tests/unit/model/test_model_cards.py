"""Model cards: those of the shipped bundles are up to date, and each says what is known and what is not."""

import json
from pathlib import Path

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
