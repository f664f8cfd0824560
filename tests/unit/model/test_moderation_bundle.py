"""The bundle that ships: it passes the gates, keeps its promises, and carries no text of its training data."""

import json

import pytest

from streamtag.domain.thresholds import problems
from streamtag.model.bundle import Bundle, read_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.manifest import MANIFEST, PARITY
from streamtag.model.parity import PARITY_TEXTS
from streamtag.model.registry import find_bundle
from streamtag.model.training.data import LABELS

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(find_bundle("moderation", []))


def test_it_passes_every_gate(bundle: Bundle) -> None:
    load_scorer(bundle.path, batch=64)


def test_it_has_the_labels_of_the_data_and_valid_default_thresholds(bundle: Bundle) -> None:
    assert bundle.labels == LABELS
    assert problems(bundle.default_thresholds, bundle.labels) == []


def test_it_is_small(bundle: Bundle) -> None:
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) < 2 * MIB


def test_it_records_how_good_it_was_on_rows_it_never_saw(bundle: Bundle) -> None:
    evaluation = bundle.manifest.evaluation
    assert evaluation["mean_roc_auc"] >= 0.984
    assert max(evaluation["roc_auc_lost"].values()) <= 0.02
    assert evaluation["labels"].keys() == set(LABELS)
    for figures in evaluation["labels"].values():
        assert figures["rows"] == evaluation["rows"] == bundle.manifest.training["rows"]["test"]
        assert figures["positives"] > 0
        assert figures["roc_auc"] > 0.97
        assert figures["ece"] < 0.02


def test_it_records_what_it_was_made_of(bundle: Bundle) -> None:
    training = bundle.manifest.training
    assert [len(source["files"]["jigsaw.csv.gz"]) for source in training["data"]] == [64]
    assert {"config", "rows", "environment", "threshold_rule"} <= training.keys()


def test_its_only_texts_are_the_harmless_fixtures(bundle: Bundle) -> None:
    assert tuple(fixture.text for fixture in bundle.parity.fixtures) == PARITY_TEXTS
    written = json.loads((bundle.path / PARITY).read_bytes())
    assert [fixture["text"] for fixture in written["fixtures"]] == list(PARITY_TEXTS)
    assert sorted(file.name for file in bundle.path.iterdir()) == sorted([MANIFEST, *bundle.manifest.files])


def test_it_tells_a_friendly_text_from_a_rude_one(bundle: Bundle) -> None:
    friendly, rude = load_scorer(bundle.path, batch=64).score(
        ["Thank you for your help with the timetable.", "Shut up, you are a pathetic idiot."]
    )
    toxic, insult = bundle.labels.index("toxic"), bundle.labels.index("insult")
    assert max(friendly[toxic], friendly[insult]) < 0.1
    assert min(rude[toxic], rude[insult]) > 0.7
