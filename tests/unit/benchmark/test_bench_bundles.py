from pathlib import Path

import numpy as np
import pytest
from bench.bundles import SHIPPED, build_standin
from bench.corpus import Corpus
from bench.floors import Hashing
from bench.throughput import cutoffs

from streamtag.model.bundle import read_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return Corpus().texts[5_000:6_000]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return load_scorer(build_standin(50, tmp_path_factory.mktemp("bundles")), batch=64)  # passes every gate


def test_a_standin_reads_texts_as_the_shipped_bundle_does(scorer: Scorer) -> None:
    shipped = read_bundle(find_bundle(SHIPPED, []))
    assert scorer.bundle.manifest.preprocessing == shipped.manifest.preprocessing
    assert scorer.bundle.contents == shipped.contents
    assert len(scorer.labels) == 50


def test_the_same_standin_is_made_everywhere(scorer: Scorer, tmp_path: Path) -> None:
    assert read_bundle(build_standin(50, tmp_path)).ref == scorer.bundle.ref


def test_scores_of_every_label_are_spread(scorer: Scorer, texts: list[str]) -> None:
    scores = scorer.score(texts)
    assert (scores.min(axis=0) < 0.05).all()
    assert (np.median(scores, axis=0) > 0.1).all()
    assert (scores.max(axis=0) > 0.7).all()


def test_cutoffs_give_each_event_as_many_tags_whatever_the_number_of_labels(scorer: Scorer, texts: list[str]) -> None:
    at = np.array(list(cutoffs(scorer, texts).values()))
    assert 1.5 < (scorer.score(texts) >= at).sum(axis=1).mean() < 1.9


def test_the_hashing_floor_does_the_arithmetic_of_the_contract(scorer: Scorer, texts: list[str]) -> None:
    encoded = [scorer.featuriser.encode(text) for text in texts[:64]]
    counts = scorer.featuriser.counts(encoded)
    hashing = Hashing(scorer)
    keys = hashing.sorted_keys(*hashing.join(encoded))
    weights = hashing.weights(keys, encoded)
    # It knows nothing of n-grams that would reach into the next text: a few more a text.
    assert 0 <= len(weights) - len(counts.weights) < 8 * len(encoded)
    assert weights.sum() == pytest.approx(counts.weights.sum(), rel=0.02)
