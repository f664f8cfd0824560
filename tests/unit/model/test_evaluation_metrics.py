"""Figures against published numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime import InferenceSession  # type: ignore[attr-defined]

from streamtag.model.manifest import Calibration
from streamtag.model.training.calibrate import calibrate, fit_platt, good_f1_threshold, log_loss, probability
from streamtag.model.training.graph import build_graph
from streamtag.model.training.metrics import ece_null_quantile, evaluate, expected_calibration_error


def test_ece_equals_the_published_example() -> None:
    # torchmetrics' documentation: l1 norm, two bins
    probability = np.array([0.25, 0.25, 0.55, 0.75, 0.75])
    target = np.array([0, 0, 1, 1, 1])
    assert expected_calibration_error(probability, target, bins=2) == pytest.approx(0.2900, abs=5e-5)


def test_ece_bins_are_closed_on_the_right_and_hold_both_ends() -> None:
    assert expected_calibration_error(np.array([0.5, 0.5]), np.array([0, 1]), bins=2) == 0
    # 0.5 belongs to the lower bin: alone there, it is off by one half
    assert expected_calibration_error(np.array([0.5, 0.6]), np.array([1, 0]), bins=2) == pytest.approx(0.55)
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([0, 1]), bins=2) == 0


@pytest.mark.parametrize(("rows", "bias"), [(500, 0.0096), (5_000, 0.0031), (50_000, 0.0010)])
def test_ece_of_a_perfect_model_has_the_bias_that_simulation_predicts(rows: int, bias: float) -> None:
    random = np.random.default_rng(7)
    found = []
    for _ in range(60):
        probability = random.beta(0.5, 20, size=rows)
        found.append(expected_calibration_error(probability, (random.random(rows) < probability).astype(np.int8)))
    assert np.mean(found) == pytest.approx(bias, rel=0.15)


def test_a_calibrated_model_stays_within_its_null_band_and_a_bold_one_does_not() -> None:
    random = np.random.default_rng(3)
    probability = random.beta(0.5, 10, size=5_000)
    target = (random.random(5_000) < probability).astype(np.int8)
    assert expected_calibration_error(probability, target) < ece_null_quantile(probability) * 1.2
    bold = np.minimum(1.0, probability * 2)
    assert expected_calibration_error(bold, target) > ece_null_quantile(bold) * 2


def test_platt_equals_the_published_example() -> None:
    # scikit-learn's test of _SigmoidCalibration, whose A and B have the other sign
    a, b, hinge = fit_platt(np.array([5.0, -4.0, 1.0]), np.array([1, 0, 0], dtype=np.int8))
    assert hinge == 0
    assert -a == pytest.approx(-0.20261354, abs=1e-5)
    assert -b == pytest.approx(0.65236315, abs=1e-5)


def test_platt_recovers_slope_and_intercept() -> None:
    random = np.random.default_rng(11)
    margin = random.normal(-2, 3, size=200_000)
    target = (random.random(len(margin)) < 1 / (1 + np.exp(-(0.7 * margin - 1.3)))).astype(np.int8)
    a, b, _ = fit_platt(margin, target)
    assert a == pytest.approx(0.7, abs=0.02)
    assert b == pytest.approx(-1.3, abs=0.03)


@pytest.mark.parametrize("target", [[0, 0, 0], [1, 1, 1]])
def test_platt_stays_finite_with_one_class_only(target: list[int]) -> None:
    assert np.isfinite(fit_platt(np.array([-1.0, 0.0, 1.0]), np.array(target, dtype=np.int8))).all()


def test_the_hinge_finds_another_slope_above_zero() -> None:
    random = np.random.default_rng(13)
    margin = random.normal(-1, 2, size=200_000)
    logit = 0.8 * margin + 1.5 * np.maximum(margin, 0) - 1.0
    target = (random.random(len(margin)) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    found = calibrate("some", margin, target)
    assert found.method == "hinged-platt"
    assert (found.rows, found.positives) == (200_000, int(target.sum()))
    assert [found.a, found.b, found.hinge] == pytest.approx([0.8, -1.0, 1.5], abs=0.06)
    plain = calibrate("some", margin[:300], target[:300] * 0)
    assert (plain.method, plain.hinge) == ("platt", 0.0)


def test_scores_rise_with_the_margin_or_there_is_no_hinge() -> None:
    margin = np.linspace(-3, 3, 2_000)
    peaked = (np.abs(margin) < 1).astype(np.int8)  # above zero, more margin means less of the label
    assert calibrate("some", margin, peaked).method == "platt"


@pytest.mark.parametrize("hinge", [0.0, 1.5, -0.4])
def test_the_graph_calibrates_as_recorded(hinge: float) -> None:
    entry = Calibration("some", "hinged-platt", 0.9, -1.3, rows=0, positives=0, hinge=hinge)
    margin = np.array([-4.0, -0.5, 0.0, 0.5, 4.0])
    # One feature whose coefficient is 1: its weight is the margin.
    graph = build_graph(np.ones((1, 1), dtype=np.float32), np.zeros(1, dtype=np.float32), [entry])
    session = InferenceSession(graph, providers=["CPUExecutionProvider"])
    weights = np.zeros((5, 1, 8), dtype=np.float32)
    weights[:, 0, 0] = margin
    (scores,) = session.run(None, {"ids": np.zeros((5, 8), dtype=np.int32), "weights": weights})
    assert np.asarray(scores)[:, 0] == pytest.approx(probability(entry, margin), abs=1e-6)


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.booleans()), min_size=1, max_size=40).filter(
        lambda rows: any(positive for _, positive in rows)
    ),
    st.sampled_from([0.0, 0.01, 0.3]),
)
def test_the_cut_off_is_the_lowest_with_an_f1_near_the_best(rows: list[tuple[int, bool]], within: float) -> None:
    probabilities = np.array([milli / 1000 for milli, _ in rows])
    target = np.array([positive for _, positive in rows], dtype=np.int8)

    def f1(milli: int) -> float:
        flagged = probabilities >= milli / 1000
        return 2 * int((flagged & (target > 0)).sum()) / max(1, int(flagged.sum()) + int(target.sum()))

    chosen = good_f1_threshold(probabilities, target, within=within)
    good = max(f1(milli) for milli in range(1, 1000)) * (1 - within)
    assert chosen == next(milli for milli in range(1, 1000) if f1(milli) >= good) / 1000


def test_figures_say_what_they_rest_on_and_leave_out_what_needs_two_classes() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.1], [0.6, 0.1], [0.1, 0.1]], dtype=np.float32)
    targets = np.array([[1, 0], [0, 0], [0, 0], [0, 0]], dtype=np.int8)
    figures = evaluate(["often", "never"], scores, targets)
    assert figures.rows == 4
    assert figures.labels["often"].roc_auc == 1.0
    assert figures.labels["often"].positives == 1
    assert figures.labels["never"].roc_auc is None
    assert figures.labels["never"].average_precision is None
    assert figures.mean_roc_auc == 1.0


def test_log_loss_of_certainty_is_zero() -> None:
    assert log_loss(np.array([0.0, 1.0]), np.array([0, 1], dtype=np.int8)) == 0
