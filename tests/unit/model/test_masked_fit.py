"""Logistic regression with masked cells: the optimum scikit-learn finds, and nothing learnt from what is unknown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import check_grad
from scipy.sparse import csr_matrix, random_array
from sklearn.linear_model import LogisticRegression

from streamtag.model.ngrams import NgramContract
from streamtag.model.training.backbone import cell_weights, count_all, weigh
from streamtag.model.training.masked import Fit, _loss, fit_masked
from streamtag.model.training.matrix import count_matrix


def made_up(n: int = 300, features: int = 40, labels: int = 3) -> tuple[csr_matrix, NDArray[np.int8]]:
    rng = np.random.default_rng(7)
    rows = csr_matrix(random_array((n, features), density=0.3, rng=rng, dtype=np.float32))  # type: ignore[no-untyped-call]
    truth = rng.standard_normal((features, labels))
    noise = rng.logistic(size=(n, labels))
    return rows, (rows @ truth + noise > 0.5).astype(np.int8)


def test_it_finds_the_optimum_that_scikit_learn_finds() -> None:
    rows, targets = made_up()
    found = fit_masked(rows, targets, np.ones(targets.shape, dtype=np.float32), Fit(2.0, iterations=500))
    for j in range(targets.shape[1]):
        oracle = LogisticRegression(C=2.0, tol=1e-8, max_iter=5_000)  # type: ignore[no-untyped-call]
        oracle.fit(rows, targets[:, j])
        assert found.weights[:, j] == pytest.approx(oracle.coef_[0], abs=2e-2)
        assert found.bias[j] == pytest.approx(oracle.intercept_[0], abs=2e-2)


def test_unknown_cells_change_nothing() -> None:
    rows, targets = made_up()
    masked = targets.copy()
    masked[::2, 1] = -1
    weights = np.ones(targets.shape, dtype=np.float32)
    how = Fit(2.0, smoothing=1.0, iterations=300)
    found = fit_masked(rows, masked, weights, how)
    alone = fit_masked(rows[1::2], targets[1::2, 1:2], weights[1::2, 1:2], how)
    assert found.weights[:, 1] == pytest.approx(alone.weights[:, 0], abs=2e-2)


def test_a_weight_of_two_is_the_row_twice() -> None:
    rows, targets = made_up()
    weights = np.ones(targets.shape, dtype=np.float32)
    weights[:100] = 2
    twice = np.concatenate([np.arange(300), np.arange(100)])
    how = Fit(1.0, iterations=500)
    found = fit_masked(rows, targets, weights, how)
    oracle = fit_masked(rows[twice], targets[twice], np.ones((400, 3), dtype=np.float32), how)
    assert found.weights == pytest.approx(oracle.weights, abs=2e-2)


@pytest.mark.parametrize("focus", [0.0, 1.0, 2.0])
def test_the_slope_of_the_loss_is_its_derivative(focus: float) -> None:
    def loss(at: NDArray[np.float64]) -> float:
        return float(_loss(at, focus)[0].sum())  # type: ignore[arg-type]

    def slope(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(_loss(at, focus)[1], dtype=np.float64)  # type: ignore[arg-type]

    assert check_grad(loss, slope, np.linspace(-8, 8, 33)) < 1e-5


def test_focal_loss_is_that_of_the_paper() -> None:
    # Lin et al., fig. 1 and eq. 4: at p = 0.9 and gamma = 2 the loss is a hundredth of the log-loss.
    margin = np.array([np.log(9.0)], dtype=np.float32)
    assert _loss(margin, 2.0)[0] / _loss(margin, 0.0)[0] == pytest.approx(0.01, rel=1e-4)


def test_class_weights_even_out_positives_and_negatives() -> None:
    targets = np.array([[1, 1]] + [[0, -1]] * 8 + [[0, 0]], dtype=np.int8)
    weight = np.full(10, 0.5, dtype=np.float32)
    balanced = cell_weights(targets, weight, "balanced")
    assert balanced[targets[:, 0] == 1, 0].sum() == pytest.approx(balanced[targets[:, 0] == 0, 0].sum())
    assert cell_weights(targets, weight, "root")[0].tolist() == pytest.approx([1.5, 0.5])
    assert (cell_weights(targets, weight, "none") == 0.5).all()


@given(st.lists(st.text(max_size=60), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_rows_are_weighed_as_the_contract_does_when_it_serves(texts: list[str], seed: int) -> None:
    contract = NgramContract(bits=8)
    rng = np.random.default_rng(seed)
    buckets = np.sort(rng.choice(256, size=64, replace=False)).astype(np.uint32)
    idf = rng.integers(200, 2_000, size=64).astype(np.uint16)
    served = count_matrix(contract, texts, buckets=buckets, idf=idf)
    trained = weigh(count_all(contract, texts), buckets, idf)
    apart = abs(trained - served)
    assert apart.max() < 1e-4  # its norm is summed in integers, of log-TF² in units of 1/1024
