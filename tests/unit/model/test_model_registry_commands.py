"""`streamtag model publish|promote|aliases|diff`: places for bundles, and what a promotion is."""

from pathlib import Path

import pytest
from model_commands import run, run_json
from signing import ANNA
from tiny_bundle import build_tiny_bundle

from streamtag.cli import context
from streamtag.errors import BundleError, NotFoundError, RefusedError, SettingsError
from streamtag.model.bundle import peek_ref

TAXONOMY = """
taxonomy: letters
version: 2
labels:
  - {id: spam, name: Spam, owner: post, since: 1, critical: true}
  - {id: welcome, name: Greetings, owner: post, since: 2, renamed_from: [greeting]}
"""


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of bundles that the settings name, with `tiny` 1 and 2."""
    overrides = {"model.directories": f"[{tmp_path / 'published'}]", "model.bundle": "tiny"}
    monkeypatch.setattr(context, "GLOBALS", context.Globals(overrides=overrides))
    monkeypatch.setattr(context.stdout, "_width", 200)  # no cell is folded
    for version in ("1", "2"):
        build_tiny_bundle(tmp_path / "published", version=version, weights_seed=int(version))
    return tmp_path / "published"


def test_a_promotion_moves_the_alias_and_proposes_a_release(published: Path) -> None:
    first = run_json("promote", "tiny@1", "--alias", "production", "--reason", "tried", "--author", "anna")
    assert (first["moved"], first["before"]) == (True, None)
    assert first["proposal"] == ["streamtag", "release", "promote", "tiny@1", "--reason", "tried"]
    text = run("promote", "tiny", "--alias", "production", "--reason", "it's better", "--author", "boris")
    assert "was version 1" in text
    assert "streamtag release promote tiny@2 --reason 'it'\"'\"'s better'" in text
    assert run_json("promote", "tiny@2", "--alias", "production", "--reason", "x")["moved"] is False
    assert run_json("show", "tiny@production")["ref"]["version"] == "2"
    listed = {(b["name"], b["version"]): b["aliases"] for b in run_json("list")["bundles"]}
    assert (listed["tiny", "1"], listed["tiny", "2"]) == ([], ["production"])
    history = run_json("aliases", "tiny")["history"]
    assert [(one["author"], one["reason"]) for one in history] == [("boris", "it's better"), ("anna", "tried")]
    assert "boris" in run("aliases", "tiny")


def test_a_promotion_says_where_a_second_person_is_needed(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_tiny_bundle(published, version="3", critical=("spam",))

    def proposed(version: str, reason: str) -> str:
        return run("promote", f"tiny@{version}", "--alias", "production", "--reason", reason)

    assert "second person" not in proposed("2", "harmless")
    text = proposed("3", "better")
    assert "needs a second person (critical: spam)" in text
    assert "streamtag change open --bundle tiny@3 --reason better" in text
    for rule, needed in (("none", False), ("all", True)):
        overrides = {**context.GLOBALS.overrides, "changes.approval": rule}
        monkeypatch.setattr(context, "GLOBALS", context.Globals(overrides=overrides))
        assert ("second person" in proposed("2", "again")) is needed


@pytest.mark.parametrize(
    ("bundle", "alias", "said"),
    [
        ("tiny@1", "2", "would hide the version tiny@2"),
        ("moderation", "production", "part of the package"),
        ("tiny@1", "a/b", "the alias is not valid"),
        ("some/where", "production", "the alias is not valid"),
    ],
)
def test_what_cannot_have_an_alias_is_refused(published: Path, bundle: str, alias: str, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        run("promote", bundle, "--alias", alias, "--reason", "x")
    assert not (published / "tiny" / ".aliases").exists()


def test_every_reason_is_named_at_once(published: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        run("promote", "some/where", "--alias", "a/b", "--reason", " ")
    assert len(caught.value.problems) == 3


def test_a_broken_bundle_is_not_promoted(published: Path) -> None:
    (published / "tiny" / "2" / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError):
        run("promote", "tiny@2", "--alias", "production", "--reason", "x")
    assert not (published / "tiny" / ".aliases").exists()


def test_a_bundle_is_published_once_and_found_there(published: Path, tmp_path: Path) -> None:
    to = tmp_path / "elsewhere"
    assert run_json("publish", "tiny@1", "--to", to)["created"] is True
    assert "already, with the same content\n" in run("publish", "tiny@1", "--to", to)
    ANNA.sign(published / "tiny" / "1")
    assert "already, with the same content; its signature is new" in run("publish", "tiny@1", "--to", to)
    again = run_json("publish", "tiny@1", "--to", to)
    assert (again["created"], again["new_signature"]) == (False, False)
    assert peek_ref(to / "tiny" / "1") == peek_ref(published / "tiny" / "1")
    (to / "tiny" / "1" / "model.onnx").write_bytes(b"rotten")
    assert "; these were damaged, and are written anew: model.onnx\n" in run("publish", "tiny@1", "--to", to)
    (to / "tiny" / "1" / "model.onnx").write_bytes(b"rotten")
    assert run_json("publish", "tiny@1", "--to", to)["mended"] == ["model.onnx"]
    assert run_json("aliases", "tiny", "--place", to)["aliases"] == {}
    with pytest.raises(SettingsError):
        run("aliases", "tiny@1")
    with pytest.raises(NotFoundError):
        run("aliases", "nobody")


def test_bundles_are_compared_part_by_part(published: Path) -> None:
    build_tiny_bundle(published, ("spam", "letter"), version="3", threshold=0.7, critical=("spam",))
    found = {
        (d["part"], d["what"]): (d["before"], d["after"]) for d in run_json("diff", "tiny@1", "tiny@3")["differences"]
    }
    assert found["labels", "columns"] == ("spam, greeting", "spam, letter")
    assert found["labels", "spam.critical"] == (False, True)
    assert found["cut-offs", "spam"] == (0.5, 0.7)
    assert found["cut-offs", "greeting"] == (0.5, None)
    assert found["training", "weights_seed"] == (1, 0)
    assert ("files", "model.onnx.sha256") in found
    assert not any(part == "contract" for part, _ in found)
    assert "weights_seed" in run("diff", "tiny@1", "tiny@3")
    assert "are the same" in run("diff", "tiny@1", "tiny@1")


def test_the_list_says_which_place_does_not_answer(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context.GLOBALS.overrides["model.directories"] = f"[{published}, 'nothing://bundles']"
    listed = run_json("list")["bundles"]
    assert [b["version"] for b in listed if b["name"] == "tiny"] == ["1", "2"]
    assert next(b["problems"] for b in listed if not b["name"])[0].startswith("nothing://bundles is no URL")


def test_bundles_at_a_url_are_listed_from_their_manifests(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run("publish", "tiny@1", "--to", "memory://list/bundles")
    context.GLOBALS.overrides["model.directories"] = "['memory://list/bundles']"
    listed = next(b for b in run_json("list")["bundles"] if b["name"] == "tiny")
    assert (listed["labels"], listed["place"], listed["path"]) == (["spam", "greeting"], "memory://list/bundles", None)
    assert not (tmp_path / "cache").exists()
    assert run_json("verify", "tiny")["valid"] is True


def test_the_taxonomy_says_what_is_critical_and_what_a_label_has_become(published: Path, tmp_path: Path) -> None:
    file = tmp_path / "taxonomy.yaml"
    file.write_text(TAXONOMY)
    context.GLOBALS.overrides["model.taxonomy"] = str(file)
    text = run("show")
    assert "label greeting is welcome by now" in text
    assert "yes" in text
    assert run_json("verify")["valid"] is True  # a renamed label is known
    file.write_text(TAXONOMY.replace(", renamed_from: [greeting]", ""))
    with pytest.raises(BundleError) as caught:
        run("verify")
    assert caught.value.problems == ("label greeting: unknown to taxonomy letters 2",)
    with pytest.raises(BundleError):
        run("promote", "tiny@1", "--alias", "production", "--reason", "x")
