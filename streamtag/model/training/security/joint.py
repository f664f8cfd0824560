"""L2-regularised logistic regression of many labels at once, each on the rows that annotate it; deterministic.

One pass over the rows serves all labels. L-BFGS runs in coordinates scaled by the curvature at the start: rare labels
and rare features would else need many times the iterations.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

_LEAST_RATE = 1e-4


@dataclass(frozen=True)
class LinearModel:
    """``z = x · weights + bias``; weights float32 [features, labels], bias float64 [labels]."""

    weights: NDArray[np.float32]
    bias: NDArray[np.float64]

    def margins(self, rows: csr_matrix) -> NDArray[np.float64]:
        """z, float64 [rows, labels]."""
        return np.asarray(rows @ self.weights, dtype=np.float64) + self.bias


def fit_joint(rows: csr_matrix, targets: NDArray[np.int8], *, strength: float, iterations: int) -> LinearModel:
    """Minimises ``|weights|²/2 + strength · Σ log-loss`` over the targets that are known; the bias is free.

    Args:
        rows: float32 [n, features].
        targets: int8 [n, labels], 1, 0, or -1: unknown, no part of the loss.
        strength: weight of the data against the penalty (scikit-learn's C).
        iterations: at most this many.
    """
    n_features, n_labels = rows.shape[1], targets.shape[1]
    cells = n_features * n_labels
    share = np.where(targets >= 0, np.float32(strength), np.float32(0))
    sign = np.where(targets > 0, np.float32(1), np.float32(-1))
    columns = rows.T.tocsr()
    start, feature_step, bias_step = _scales(columns, share, targets)

    def loss_and_gradient(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = feature_step * point[:cells].reshape(n_features, n_labels)
        bias = start + bias_step * point[cells:]
        signed = sign * (rows @ weights.astype(np.float32) + bias.astype(np.float32))
        pull = -share * sign * expit(-signed)
        gradient = np.empty_like(point)
        gradient[:cells] = (feature_step * (weights + columns @ pull)).ravel()
        gradient[cells:] = bias_step * pull.sum(axis=0, dtype=np.float64)
        loss = float((share * np.logaddexp(0, -signed)).sum(dtype=np.float64))
        return loss + 0.5 * float(np.square(weights).sum(dtype=np.float64)), gradient

    found = minimize(  # type: ignore[no-untyped-call]
        loss_and_gradient,
        np.zeros(cells + n_labels),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations, "maxcor": 8, "ftol": 1e-6, "gtol": 1e-3},
    ).x
    weights = feature_step * found[:cells].reshape(n_features, n_labels)
    return LinearModel(weights.astype(np.float32), start + bias_step * found[cells:])


def _scales(
    columns: csr_matrix, share: NDArray[np.float32], targets: NDArray[np.int8]
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float64]]:
    """Biases that give each label its rate, and steps: 1/sqrt of the second derivatives there."""
    total = share.sum(axis=0, dtype=np.float64)
    rate = (share * (targets > 0)).sum(axis=0, dtype=np.float64) / np.maximum(total, 1e-9)
    rate = np.clip(rate, _LEAST_RATE, 1 - _LEAST_RATE)
    variance = rate * (1 - rate)
    squared = columns.multiply(columns).tocsr()  # type: ignore[no-untyped-call]
    curvature = 1 + (squared @ share) * variance
    feature_step: NDArray[np.float32] = (1 / np.sqrt(curvature)).astype(np.float32)
    bias_step: NDArray[np.float64] = 1 / np.sqrt(np.maximum(total * variance, 1e-9))
    return np.log(rate / (1 - rate)), feature_step, bias_step


def importance(model: LinearModel, rows: csr_matrix) -> NDArray[np.float64]:
    """How much of a margin each feature moves, |weight| x RMS value, the largest share over the labels; [features]."""
    square = np.bincount(rows.indices, weights=np.square(rows.data, dtype=np.float64), minlength=rows.shape[1])
    moved = np.abs(model.weights) * np.sqrt(square / max(1, rows.shape[0]))[:, None]
    total = np.sqrt(np.square(moved).sum(axis=0, keepdims=True))
    share: NDArray[np.float64] = (moved / np.where(total > 0, total, 1.0)).max(axis=1)
    return share
