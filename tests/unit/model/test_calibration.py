"""Recalibration: fits against published numbers, curves that rise, and the graph that gives what was fitted."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnxruntime import InferenceSession  # type: ignore[attr-defined]
from scipy.special import expit, logit

from streamtag.model.calibration.curve import apply, logits, probabilities
from streamtag.model.calibration.fit import LEAST_GAP, MOST_KNOTS, fit, isotonic_knots, kept, method_for
from streamtag.model.calibration.graph import with_curves
from streamtag.model.calibration.judge import judge
from streamtag.model.evaluation.labelled import Labelled
from streamtag.model.evaluation.labelled_rows import FIELDS
from streamtag.model.manifest import Curve
from streamtag.model.training.calibrate import fit_platt

LABELS = 3


def test_platt_is_that_of_scikit_learns_own_test() -> None:
    """There A = -0.20261354 and B = 0.65236315 with targets 1 - t; ours are -A and -B, to their three decimals."""
    slope, intercept, _ = fit_platt(np.array([5.0, -4.0, 1.0]), np.array([1, 0, 0], dtype=np.int8))
    assert [slope, intercept] == pytest.approx([0.20261354, -0.65236315], abs=1e-3)


@pytest.mark.parametrize(
    ("positives", "method"),
    [(19, "kept"), (20, "temperature"), (49, "temperature"), (50, "platt"), (999, "platt"), (1_000, "isotonic")],
)
def test_the_method_follows_from_the_rarer_class(positives: int, method: str) -> None:
    assert method_for(positives, 10_000) == method_for(10_000, positives) == method


def test_isotonic_knots_are_the_blocks_of_pool_adjacent_violators() -> None:
    """Three groups of scores whose shares are .1, .5 and .3: the last two are pooled to .4, at their mean."""
    z = np.repeat([-2.0, 0.0, 1.0], 1_000)
    target = np.concatenate([np.arange(1_000) < n for n in (100, 500, 300)]).astype(np.int8)
    xs, ys = isotonic_knots(z, target)
    assert xs == pytest.approx([-2.0, 0.5])
    assert expit(ys) == pytest.approx([0.1, 0.4], abs=1e-3)  # smoothed targets


def test_an_isotonic_curve_is_calibrated_where_a_line_is_not() -> None:
    """A model that is right below 0 and much too sure above: two slopes, which Platt's one cannot have."""
    random = np.random.default_rng(0)
    z = random.normal(0, 2, size=20_000)
    truth = expit(np.where(z < 0, z, z / 4))
    target = (random.random(len(z)) < truth).astype(np.int8)
    off = {}
    for method in ("platt", "isotonic"):
        curve = fit("a", method, z, target)
        assert curve is not None
        off[method] = np.abs(expit(apply(curve, z)) - truth).mean()
    assert off["isotonic"] < off["platt"] / 2


def test_temperature_finds_how_much_too_sure_a_model_is() -> None:
    random = np.random.default_rng(0)
    z = random.normal(size=20_000)
    target = (random.random(len(z)) < expit(z)).astype(np.int8)
    curve = fit("a", "temperature", 3 * z, target)
    assert curve is not None
    assert curve.low == curve.high == pytest.approx(1 / 3, rel=0.05)


def test_scores_that_fall_with_the_truth_and_one_class_have_no_curve() -> None:
    z = np.linspace(-3, 3, 200)
    assert fit("a", "platt", z, (z < 0).astype(np.int8)) is None
    assert fit("a", "platt", z, np.zeros(200, dtype=np.int8)) is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-12, 12), st.booleans()), min_size=2, max_size=300))
def test_an_isotonic_curve_rises_whatever_it_is_fitted_on(rows: list[tuple[float, bool]]) -> None:
    z, target = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=np.int8)
    curve = fit("a", "isotonic", z, target)
    if curve is None:
        return
    assert len(curve.xs) <= MOST_KNOTS
    assert all(np.diff(curve.xs) >= LEAST_GAP)
    assert np.isfinite(curve.ys).all()
    grid = np.linspace(-16, 16, 500)
    assert (np.diff(apply(curve, grid)) > 0).all()


def scores_graph(opset: int = 17, middle: str = "raw") -> bytes:
    """A graph whose scores are its inputs, as of any bundle that ends with probabilities."""
    nodes = [helper.make_node("Identity", ["x"], [middle]), helper.make_node("Identity", [middle], ["scores"])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", LABELS]) for name in ("x", "scores")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ports[:1], ports[1:]),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )
    return bytes(model.SerializeToString())


def run(model: bytes, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    session = InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["scores"], {"x": scores})[0], dtype=np.float32)


CURVES = [
    kept("a", "few", 0, 0),
    Curve("b", "platt", [0.0], [-1.0], 0.7, 0.7, 100, 60),
    Curve("c", "isotonic", [-4.0, -1.0, 0.5, 2.0], [-5.0, -3.0, 0.0, 0.1], 1.0, 1.0, 9_000, 2_000),
]


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
def test_the_graph_gives_what_was_fitted_and_keeps_the_bits_of_what_is_kept(opset: int) -> None:
    p = np.random.default_rng(0).random((500, LABELS)).astype(np.float32)
    p[:4] = np.array([0, 1, 1e-9, 0.5], dtype=np.float32)[:, None]
    got = run(with_curves(scores_graph(opset), CURVES, 1), p)
    assert np.abs(got - probabilities(CURVES, p)).max() < 2e-6
    assert (got[:, 0].view(np.uint32) == p[:, 0].view(np.uint32)).all()


def test_a_graph_can_be_recalibrated_again_and_one_with_a_tensor_logit() -> None:
    p = np.random.default_rng(1).random((50, LABELS)).astype(np.float32)
    once = with_curves(scores_graph(middle="logit"), CURVES, 1)
    twice = run(with_curves(once, CURVES, 2), p)
    assert np.abs(twice - probabilities(CURVES, run(once, p))).max() < 2e-6
    names = [name for node in onnx.load_from_string(once).graph.node for name in node.output]
    assert names.count("logit") == 1


def test_recalibrated_scores_rise_in_float32() -> None:
    p = np.repeat(expit(np.linspace(-9, 9, 4_000))[:, None], LABELS, axis=1).astype(np.float32)
    assert (np.diff(run(with_curves(scores_graph(), CURVES, 1), p), axis=0) >= 0).all()


def made_up(p: NDArray[np.float64], truth: NDArray[np.float64], seed: int = 0) -> tuple[Labelled, NDArray[np.float32]]:
    """Documents whose labels are drawn with the probabilities ``truth`` and scored ``p``, [n, labels]."""
    n, labels = p.shape
    targets = (np.random.default_rng(seed).random(p.shape) < truth).astype(np.int8)
    fields = dict.fromkeys(FIELDS, ("",) * n)
    texts = tuple(map(str, range(n)))
    data = Labelled(tuple("abc"[:labels]), texts, targets, fields, np.arange(n), (None,) * n)
    return data, p.astype(np.float32)


def test_what_is_off_is_mended_and_what_is_right_is_kept() -> None:
    random = np.random.default_rng(3)
    z = random.normal(-1, 1.5, size=(4_000, 3))
    truth = expit(np.stack([z[:, 0] - 1.5, z[:, 1], z[:, 2]], axis=1))
    data, scores = made_up(expit(z), truth)
    data.targets[:, 2] = 0
    data.targets[:15, 2] = 1
    first, second, third = judge(data, scores, draws=100).labels
    assert first.curve.method == "platt"
    assert first.curve.ys[0] == pytest.approx(-1.5, abs=0.25)
    assert first.difference["log_loss"].high < 0
    assert first.after["ece_debiased"].value < first.before["ece_debiased"].value / 3
    assert second.curve.kept
    assert second.curve.why.startswith("isotonic is not shown to be better")
    assert third.curve.why == "15 positives, fewer than 20"
    assert third.before["brier"] == third.after["brier"]


def test_a_model_that_was_right_is_seldom_changed() -> None:
    """The interval of the difference is one of 95 %: its upper end is below 0 by chance in about 1 of 40."""
    changed = 0
    for seed in range(40):
        p = expit(np.random.default_rng(seed).normal(-2, 1, size=(600, 1)))
        data, scores = made_up(p, p, seed)
        changed += not judge(data, scores, draws=100).labels[0].curve.kept
    assert changed <= 3


def test_unknown_labels_are_no_part_of_it() -> None:
    p = expit(np.random.default_rng(5).normal(size=(2_000, 1)))
    data, scores = made_up(p, expit(logit(p) - 2))
    data.targets[::2] = -1
    found = judge(data, scores, draws=100).labels[0]
    assert found.curve.rows == 1_000
    assert np.allclose(logits(scores)[:3], logit(p)[:3], atol=1e-5)


def test_the_folder_is_not_needed_by_a_worker() -> None:
    """The manifest holds the curves; nothing of this room is imported to score."""
    source = Path(__file__).parents[3] / "streamtag" / "model"
    for name in ("scorer.py", "loading.py", "bundle.py", "session.py"):
        assert "calibration" not in (source / name).read_text(encoding="utf-8")
