"""What two bundles differ in, entry by entry, and never by the place of an entry in a list."""

from pathlib import Path

import msgspec
import pytest
from tiny_bundle import build_tiny_bundle

from streamtag.model.bundle import read_bundle
from streamtag.model.bundle_diff import Difference, bundle_differences
from streamtag.model.manifest import Manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return read_bundle(build_tiny_bundle(tmp_path)).manifest


def test_a_bundle_does_not_differ_from_itself_under_another_name(manifest: Manifest) -> None:
    other = msgspec.structs.replace(manifest, name="other", version="9", description="Another.")
    assert bundle_differences(manifest, manifest) == bundle_differences(manifest, other) == []


def test_labels_in_another_order_differ_in_their_columns_alone(manifest: Manifest) -> None:
    turned = msgspec.structs.replace(manifest, labels=manifest.labels[::-1], calibration=manifest.calibration[::-1])
    assert bundle_differences(manifest, turned) == [
        Difference("labels", "columns", "spam, greeting", "greeting, spam"),
    ]


def test_figures_are_compared_one_by_one_and_what_one_side_lacks_is_none(manifest: Manifest) -> None:
    old = msgspec.structs.replace(manifest, evaluation={"labels": {"spam": {"roc_auc": 0.97}}, "rows": 10})
    new = msgspec.structs.replace(manifest, evaluation={"labels": {"spam": {"roc_auc": 0.98, "ece": 0.01}}, "rows": 10})
    assert bundle_differences(old, new) == [
        Difference("figures", "labels.spam.roc_auc", 0.97, 0.98),
        Difference("figures", "labels.spam.ece", None, 0.01),
    ]


def test_parts_come_in_the_order_in_which_people_ask(manifest: Manifest) -> None:
    label = msgspec.structs.replace(manifest.labels[0], threshold=0.7, critical=True)
    new = msgspec.structs.replace(
        manifest,
        labels=[label, *manifest.labels[1:]],
        preprocessing=msgspec.structs.replace(manifest.preprocessing, head_chars=10),
        ort=msgspec.structs.replace(manifest.ort, mem_pattern=True),
        files={},
    )
    parts = [difference.part for difference in bundle_differences(manifest, new)]
    assert list(dict.fromkeys(parts)) == ["labels", "cut-offs", "contract", "session", "files"]
