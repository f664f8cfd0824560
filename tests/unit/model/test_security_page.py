"""docs/models/security.md says what the manifest of the shipped bundle says."""

from pathlib import Path
from typing import Any

import pytest

from streamtag.model.bundle import read_bundle
from streamtag.model.manifest import Manifest
from streamtag.model.registry import find_bundle

PAGE = (Path(__file__).parents[3] / "docs" / "models" / "security.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return read_bundle(find_bundle("security", [])).manifest


def interval(figure: dict[str, Any], sign: str = "") -> str:
    return f"{figure['value']:{sign}.3f} ({figure['low']:{sign}.3f} … {figure['high']:{sign}.3f})"


@pytest.mark.parametrize("part", ["tactics", "web"])
def test_its_figures_are_those_of_the_manifest(manifest: Manifest, part: str) -> None:
    found = manifest.evaluation[part]
    sources = found["sources"] if len(found["sources"]) > 1 else {}
    for name, one in {"all": found, **sources}.items():
        for figure in ("micro", "macro"):
            bundle, other = one["bundle"], one["tfidf"]
            row = (
                f"| {name} | {bundle['rows']:,}, {bundle['groups']:,} | {figure} F1 | {interval(bundle[figure])} "
                f"| {interval(other[figure])} | {interval(one['above'][figure], '+')} |"
            )
            assert row in PAGE
    thresholds = {label.id: label.threshold for label in manifest.labels}
    for label, one in found["bundle"]["labels"].items():
        row = (
            f"| `{label}` | {one['positives']:.0f} | {one['f1']:.3f} | {one['precision']:.3f} | {one['recall']:.3f} "
            f"| {found['tfidf']['labels'][label]['f1']:.3f} | {thresholds[label]:g} |"
        )
        assert row in PAGE


def test_its_rows_are_those_of_the_manifest(manifest: Manifest) -> None:
    rows = manifest.training["rows"]
    assert f"On {rows['test']:,} rows of groups it never saw (trained on {rows['train']:,})" in PAGE
    assert f"{manifest.training['recipe']['words']:,}\nwords" in PAGE
