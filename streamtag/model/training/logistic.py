"""L2-regularised logistic regression on sparse rows, one label against the rest, deterministic.

Features can be scaled by how much more often they occur with the label than without it (Wang & Manning, "Baselines
and Bigrams", ACL 2012, there with an SVM). The scale ends up in the weights, so it costs nothing when scoring.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit


@dataclass(frozen=True)
class Linear:
    """One label's ``z = x · weights + bias``; weights float32 [features]."""

    weights: NDArray[np.float32]
    bias: float

    def margin(self, rows: csr_matrix) -> NDArray[np.float64]:
        """z per row, float64 [rows]."""
        return np.asarray(rows @ self.weights, dtype=np.float64) + self.bias


def log_count_ratio(rows: csr_matrix, target: NDArray[np.int8], smoothing: float) -> NDArray[np.float64]:
    """``ln(p / q)`` of each feature's share of the positives' and of the negatives' mass, float64 [features].

    Args:
        rows: [n, features], not negative.
        target: int8 [n], 0 or 1.
        smoothing: added to each feature's mass on both sides.
    """
    shares = []
    for side in (target > 0, target == 0):
        mass = side.astype(np.float64) @ rows + smoothing
        shares.append(mass / mass.sum())
    ratio: NDArray[np.float64] = np.log(shares[0] / shares[1])
    return ratio


def fit_logistic(
    rows: csr_matrix, target: NDArray[np.int8], *, strength: float, smoothing: float | None, iterations: int
) -> Linear:
    """Minimises ``|v|²/2 + strength · Σ log-loss`` over v, where the weights are v times the log-count ratio.

    By L-BFGS from zero; the bias is not penalised.

    Args:
        rows: float32 [n, features].
        target: int8 [n], 0 or 1.
        strength: weight of the data against the penalty (scikit-learn's C).
        smoothing: of the log-count ratio; None leaves the features as they are.
        iterations: at most this many; stopping early is a regulariser of its own.
    """
    sign = np.where(target > 0, 1.0, -1.0)
    scale = np.ones(rows.shape[1]) if smoothing is None else log_count_ratio(rows, target, smoothing)

    def loss_and_gradient(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        inner, bias = point[:-1], point[-1]
        signed = sign * (rows @ (scale * inner).astype(np.float32) + bias)
        pull = (-strength * sign * expit(-signed)).astype(np.float32)
        gradient = np.append(inner + scale * (pull @ rows), pull.sum(dtype=np.float64))
        loss = strength * np.logaddexp(0.0, -signed).sum() + 0.5 * float(inner @ inner)
        return loss, gradient

    found = minimize(  # type: ignore[no-untyped-call]
        loss_and_gradient,
        np.zeros(rows.shape[1] + 1),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations, "maxcor": 10, "ftol": 1e-7, "gtol": 1e-4},
    ).x
    return Linear((scale * found[:-1]).astype(np.float32), float(found[-1]))


def importance(models: list[Linear], rows: csr_matrix) -> NDArray[np.float64]:
    """How much of a margin each feature moves, |weight| x RMS value, the largest share over the labels.

    Returns:
        float64 [features].
    """
    mean_square = np.bincount(
        rows.indices, weights=np.square(rows.data, dtype=np.float64), minlength=rows.shape[1]
    ) / max(1, rows.shape[0])
    moved = np.abs(np.stack([model.weights for model in models])) * np.sqrt(mean_square)
    total = np.sqrt(np.square(moved).sum(axis=1, keepdims=True))
    share: NDArray[np.float64] = (moved / np.where(total > 0, total, 1.0)).max(axis=0)
    return share
