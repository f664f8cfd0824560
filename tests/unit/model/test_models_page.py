"""docs/models.md says what the shipped bundle and the code say."""

from pathlib import Path

import msgspec

from streamtag.model.bundle import read_bundle
from streamtag.model.ngrams import MIX_1, MIX_2, ROLL
from streamtag.model.registry import find_bundle
from streamtag.model.training.metrics import Figures

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")


def test_its_figures_are_those_of_the_manifest() -> None:
    manifest = read_bundle(find_bundle("moderation", [])).manifest
    recorded = {name: value for name, value in manifest.evaluation.items() if name != "split"}
    figures = msgspec.convert(recorded, Figures)
    for label in manifest.labels:
        found = figures.labels[label.id]
        row = (
            f"| `{label.id}` | {found.positives} | {found.roc_auc:.4f} | {found.average_precision:.3f} "
            f"| {found.ece:.4f} | < {found.ece_null_95:.4f} | {label.threshold:g} |"
        )
        assert row in PAGE
    means = f"| mean | | {figures.mean_roc_auc:.4f} | {figures.mean_average_precision:.3f} | {figures.mean_ece:.4f} |"
    assert means in PAGE
    assert f"On {figures.rows:,} natural-rate rows" in PAGE


def test_its_hash_is_the_one_in_the_code() -> None:
    for constant in (ROLL, MIX_1, MIX_2):
        assert f"0x{constant:08X}" in PAGE
