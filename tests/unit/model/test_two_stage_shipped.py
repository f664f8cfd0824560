"""The bundle of two stages that ships: what it is made of, that it passes the gates, and says how good it was."""

import pytest

from streamtag.model.bundle import Bundle, read_bundle
from streamtag.model.contracts.combined import CombinedContract
from streamtag.model.loading import load_scorer
from streamtag.model.parity import PARITY_TEXTS
from streamtag.model.registry import find_bundle
from streamtag.model.two_stages import final_scores

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(find_bundle("moderation-two-stage", []))


def test_stage_1_is_the_bundle_that_ships_alone(bundle: Bundle) -> None:
    alone = read_bundle(find_bundle("moderation@3", []))
    assert bundle.model == alone.model
    assert bundle.contents == alone.contents
    assert bundle.default_thresholds == alone.default_thresholds


def test_both_stages_pass_every_gate_and_the_second_is_heard(bundle: Bundle) -> None:
    scorer = load_scorer(bundle.path, batch=8)
    texts = ["see you at noon", "you are a very silly goose and I will hurt your feelings"]
    assert scorer.second is not None
    first, second, final = scorer.score(texts), scorer.second.score(texts), final_scores(scorer, texts)
    assert (final[0] == first[0]).all()
    assert (final[1] == second[1]).all()
    assert (first[1] != second[1]).any()


def test_stage_2_reads_tokens_and_the_same_n_grams(bundle: Bundle) -> None:
    assert bundle.stage2 is not None
    contract = bundle.stage2.manifest.preprocessing
    assert isinstance(contract, CombinedContract)
    assert [part.kind for part in contract.parts] == ["tokenizer/1", bundle.manifest.preprocessing.kind]


def test_stage_2_records_what_it_starts_from_and_how_good_it_was(bundle: Bundle) -> None:
    assert bundle.stage2 is not None
    training, evaluation = bundle.stage2.manifest.training, bundle.stage2.manifest.evaluation
    assert training["encoder"]["files"]["model.safetensors"] == training["config"]["encoder"]["sha256"]
    assert training["environment"]["torch"]
    assert evaluation["mean_roc_auc"] >= 0.986
    assert max(evaluation["roc_auc_lost"].values()) <= 0.02
    assert max(figures["ece"] for figures in evaluation["labels"].values()) < 0.02


def test_its_fixtures_are_harmless_and_it_is_no_burden(bundle: Bundle) -> None:
    assert bundle.stage2 is not None
    assert tuple(fixture.text for fixture in bundle.stage2.parity.fixtures) == PARITY_TEXTS
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) < 12 * MIB
