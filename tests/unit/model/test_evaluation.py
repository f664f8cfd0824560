"""Figures and intervals against scikit-learn, published numbers, and each other."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.model.evaluation.evaluate import evaluate_scores
from streamtag.model.evaluation.labelled import Labelled
from streamtag.model.evaluation.labelled_rows import FIELDS
from streamtag.model.evaluation.metrics import BY_LABEL, Measured, bootstrap, paired
from streamtag.model.evaluation.report import render
from streamtag.model.training.metrics import expected_calibration_error


def made_up(rows: int = 400, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Scores with ties that say something of their targets, three labels."""
    random = np.random.default_rng(seed)
    scores = np.round(random.beta(0.5, 2, size=(rows, 3)), 2)
    return scores, (random.random((rows, 3)) < scores).astype(np.int8)


def test_figures_equal_those_of_scikit_learn() -> None:
    scores, targets = made_up()
    found = Measured(scores, targets, np.full(3, 0.4)).figures()
    tagged = scores >= 0.4
    for j in range(3):
        assert found["roc_auc"][j] == pytest.approx(roc_auc_score(targets[:, j], scores[:, j]))
        assert found["average_precision"][j] == pytest.approx(average_precision_score(targets[:, j], scores[:, j]))
        assert found["f1"][j] == pytest.approx(f1_score(targets[:, j], tagged[:, j]))
        assert found["ece"][j] == pytest.approx(expected_calibration_error(scores[:, j], targets[:, j]))
    assert found["micro_f1"][0] == pytest.approx(f1_score(targets, tagged, average="micro"))
    assert found["macro_f1"][0] == pytest.approx(f1_score(targets, tagged, average="macro"))
    assert found["hamming_loss"][0] == pytest.approx((targets != tagged).mean())


@given(st.lists(st.integers(0, 3), min_size=20, max_size=20))
def test_a_weight_counts_as_so_many_copies(weights: list[int]) -> None:
    scores, targets = made_up(20)
    copies = np.repeat(np.arange(20), weights)
    weighted = Measured(scores, targets, np.full(3, 0.4)).figures(np.array(weights))
    repeated = Measured(scores[copies], targets[copies], np.full(3, 0.4)).figures()
    for name in BY_LABEL:
        np.testing.assert_allclose(weighted[name], repeated[name], atol=1e-12)


def test_unknown_labels_count_in_no_figure() -> None:
    scores, targets = made_up()
    masked = targets.copy()
    masked[200:, 0] = -1
    found = Measured(scores, masked, np.full(3, 0.4)).figures()
    half = Measured(scores[:200], targets[:200], np.full(3, 0.4)).figures()
    assert all(found[name][0] == pytest.approx(half[name][0]) for name in BY_LABEL)
    masked[:, 0] = -1
    empty = Measured(scores, masked, np.full(3, 0.4)).figures()
    assert np.isnan(empty["f1"][0])
    assert not np.isnan(empty["macro_f1"][0])


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        targets = (random.random((200, 1)) < 0.5).astype(np.int8)
        scores = np.full((200, 1), 0.9)  # every document is tagged: precision is the share of positives, 0.5
        found = bootstrap(Measured(scores, targets, np.array([0.5])), np.arange(200), draws=100, seed=seed)
        covered += found["precision"][0].low <= 0.5 <= found["precision"][0].high
    assert 52 <= covered <= 60


def test_the_ece_of_a_perfect_model_has_the_bias_simulated_elsewhere() -> None:
    found = []
    for seed in range(600):  # the mean of so many is known to 0.00016
        random = np.random.default_rng(seed)
        scores = random.beta(0.5, 20, size=(500, 1))
        targets = (random.random((500, 1)) < scores).astype(np.int8)
        found.append(Measured(scores, targets, np.array([0.5])).figures()["ece"][0])
    assert np.mean(found) == pytest.approx(0.0096, abs=0.0008)


def test_the_debiased_ece_drops_what_a_small_sample_adds_and_keeps_what_is_wrong() -> None:
    plain, debiased, wrong = [], [], []
    for seed in range(20):
        random = np.random.default_rng(seed)
        scores = random.beta(0.5, 20, size=(500, 1))
        targets = (random.random((500, 1)) < scores).astype(np.int8)
        found = bootstrap(Measured(scores, targets, np.array([0.5])), np.arange(500), draws=100)
        assert np.isnan(found["ece"][0].low)  # no interval that leaves its own figure out
        assert found["ece_debiased"][0].low <= found["ece_debiased"][0].value <= found["ece_debiased"][0].high
        plain.append(found["ece"][0].value)
        debiased.append(found["ece_debiased"][0].value)
        off = bootstrap(Measured(scores + 0.2, targets, np.array([0.5])), np.arange(500), draws=100)
        wrong.append(off["ece_debiased"][0].value)
    assert np.mean(debiased) < 0.75 * np.mean(plain)
    assert np.mean(wrong) == pytest.approx(0.2, abs=0.01)


def test_copies_in_a_group_do_not_make_an_interval_narrower() -> None:
    scores, targets = made_up(100)
    alone = bootstrap(Measured(scores, targets, np.full(3, 0.4)), np.arange(100), draws=200)
    many = Measured(np.tile(scores, (9, 1)), np.tile(targets, (9, 1)), np.full(3, 0.4))
    assert bootstrap(many, np.tile(np.arange(100), 9), draws=200)["f1"][0].low == pytest.approx(alone["f1"][0].low)


def test_of_one_group_no_interval_is_known() -> None:
    scores, targets = made_up(100)
    measured, group = Measured(scores, targets, np.array([0.5, 0.5, 0.5])), np.zeros(100, dtype=np.intp)
    found, difference = bootstrap(measured, group, draws=100), paired(measured, measured, group, draws=100)
    assert found["f1"][0].value == measured.figures()["f1"][0]
    assert np.isnan(found["mean_ece_debiased"][0].value)
    for each in (*(one for column in found.values() for one in column), difference["f1"][0]):
        assert np.isnan([each.low, each.high]).all()


def test_memory_does_not_grow_with_the_draws() -> None:
    rows, draws = 20_000, 100
    scores, targets = made_up(rows)
    one = Measured(scores[:, :1], targets[:, :1], np.array([0.4]))
    tracemalloc.start()
    try:
        paired(one, one, np.arange(rows), draws=draws)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < rows * draws * 8 / 2


def test_a_bundle_does_not_differ_from_itself_and_noise_is_worse() -> None:
    scores, targets = made_up()
    a = Measured(scores, targets, np.full(3, 0.4))
    assert all(each.low == each.high == 0 for each in paired(a, a, np.arange(400), draws=100)["roc_auc"])
    noise = Measured(np.random.default_rng(1).random((400, 3)), targets, np.full(3, 0.4))
    assert all(each.high < 0 for each in paired(a, noise, np.arange(400), draws=100)["roc_auc"])


def labelled(texts: list[str], targets: list[int], lang: list[str]) -> Labelled:
    fields = {name: tuple(lang) if name == "lang" else ("",) * len(texts) for name in FIELDS}
    columns = np.array(targets, dtype=np.int8).reshape(-1, 1)
    return Labelled(("<spam>",), tuple(texts), columns, fields, np.arange(len(texts)), (None,) * len(texts))


def test_a_term_that_raises_scores_shows_in_bpsn_alone() -> None:
    texts = ["a gardener waves", "a gardener waves", "a cook waves", "a cook waves"]
    scores = np.array([[0.9], [0.8], [0.7], [0.1]])
    data = labelled(texts, [1, 0, 1, 0], ["en"] * 4)
    (bias,) = evaluate_scores(data, scores, ThresholdSet({"<spam>": 0.5}), draws=100, terms=["gardener"]).terms
    assert (bias.rows, bias.positives) == (2, 1)
    assert (bias.subgroup_auc, bias.bpsn_auc, bias.bnsp_auc) == (1.0, 0.0, 1.0)


def test_slices_follow_language_and_length_and_the_page_stands_alone() -> None:
    data = labelled(["short", "x" * 300] * 60, [0, 1] * 60, ["de", "en"] * 60)
    found = evaluate_scores(data, np.array([[0.2], [0.8]] * 60), ThresholdSet({"<spam>": 0.5}), draws=100)
    assert {(s.by, s.value, s.rows) for s in found.slices} == {
        ("lang", "de", 60), ("lang", "en", 60), ("characters", "0 to 49", 60), ("characters", "200 to 999", 60),
    }  # fmt: skip
    page = render(found, BundleRef("tiny", "1", "0" * 64), "<on> these")
    assert "&lt;spam&gt;" in page
    assert "&lt;on&gt; these" in page
    # no markup of a label, nothing from elsewhere, no text of any document
    for absent in ("<spam>", "http", "src=", "url(", "xxx"):
        assert absent not in page
