"""`streamtag taxonomy`: what it shows, and what it says when it cannot."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streamtag.cli import context
from streamtag.cli.taxonomy import app
from streamtag.errors import RefusedError, SettingsError

ONE = """
taxonomy: plants
version: 1
labels:
  - {id: timber, name: Tree, owner: forest, since: 1}
  - {id: moss, name: Moss, owner: garden, since: 1, critical: true}
"""
TWO = """
taxonomy: plants
version: 2
labels:
  - {id: tree, name: Tree, owner: forest, since: 2, renamed_from: [timber]}
retired:
  - {id: moss, until: 2}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    one, two = tmp_path / "1.yaml", tmp_path / "2.yaml"
    one.write_text(ONE)
    two.write_text(TWO)
    monkeypatch.setattr(context, "GLOBALS", context.Globals(overrides={"model.taxonomy": str(two)}))
    monkeypatch.setattr(context.stdout, "_width", 200)  # no cell is folded
    return one, two


def run(*arguments: object, stdin: str | None = None) -> str:
    found = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.stdout


def run_json(*arguments: object) -> Any:
    return json.loads(run(*arguments, "-o", "json"))


def test_the_configured_taxonomy_is_shown(files: tuple[Path, Path]) -> None:
    assert run_json("show")["labels"][0]["renamed_from"] == ["timber"]
    assert run_json("show", "--file", files[0])["version"] == 1
    text = run("show")
    for part in ("plants", "tree", "forest", "timber", "moss"):
        assert part in text


def test_a_taxonomy_is_checked_alone_and_after_the_one_before(files: tuple[Path, Path]) -> None:
    one, two = files
    assert run_json("check") == {"valid": True, "taxonomy": "plants", "version": 2}
    assert "1 labels, 1 retired" in run("check", two, "--after", one)
    with pytest.raises(RefusedError) as caught:
        run("check", one, "--after", two)
    assert len(caught.value.problems) == 4


def test_versions_are_compared_and_what_may_not_follow_is_refused_after_the_changes(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = files
    kinds = [(change["kind"], change["label"]) for change in run_json("diff", one, two)["changes"]]
    assert kinds == [("renamed", "tree"), ("retired", "moss")]
    assert "was timber" in run("diff", one, two)
    two.write_text(TWO.replace("retired:", "").replace("- {id: moss, until: 2}", ""))
    with pytest.raises(RefusedError, match="may not follow version 1"):
        run("diff", one, two)


def test_ids_of_any_age_are_mapped(files: tuple[Path, Path]) -> None:
    assert run_json("map") == {"moss": None, "timber": "tree", "tree": "tree"}
    assert run_json("map", "timber", "river") == {"timber": "tree", "river": "river"}
    text = run("map", "timber", "moss", "river")
    for part in ("tree", "retired, nothing replaces it", "unknown"):
        assert part in text


def test_tag_events_are_mapped_line_by_line(files: tuple[Path, Path]) -> None:
    line = '{"id":"a","tags":[{"label":"timber","score":0.5,"threshold":0.4}],"scores":{"timber":0.5}}'
    events = [json.loads(found) for found in run("map", "--tags", stdin=f"{line}\n\n{line}\n").splitlines()]
    assert [event["tags"][0]["label"] for event in events] == ["tree", "tree"]
    assert events[0]["scores"] == {"tree": 0.5}
    for broken in ("{", '{"id": "a"}', '{"tags": [1]}', "[]"):
        with pytest.raises(RefusedError, match="line 1 is no tag event"):
            run("map", "--tags", stdin=broken)


def test_without_a_taxonomy_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "GLOBALS", context.Globals())
    with pytest.raises(SettingsError) as caught:
        run("show")
    assert "model.taxonomy" in caught.value.hint
