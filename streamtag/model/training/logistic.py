"""L2-regularised logistic regression on sparse rows, one label against the rest, deterministic."""

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


def fit_logistic(rows: csr_matrix, target: NDArray[np.int8], *, strength: float, iterations: int) -> Linear:
    """Minimises ``|w|²/2 + strength · Σ log-loss`` by L-BFGS; the bias is not penalised.

    Args:
        rows: float32 [n, features].
        target: int8 [n], 0 or 1.
        strength: weight of the data against the penalty (scikit-learn's C).
        iterations: at most this many; stopping early is a regulariser of its own.
    """
    sign = np.where(target > 0, 1.0, -1.0)
    columns = rows.T.tocsr()  # the gradient's product, row-wise: twice as fast as the transposed one

    def loss_and_gradient(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, bias = point[:-1], point[-1]
        signed = sign * (rows @ weights.astype(np.float32) + bias)
        pull = (-strength * sign * expit(-signed)).astype(np.float32)
        gradient = np.append(weights + columns @ pull, pull.sum(dtype=np.float64))
        loss = strength * np.logaddexp(0.0, -signed).sum() + 0.5 * float(weights @ weights)
        return loss, gradient

    found = minimize(  # type: ignore[no-untyped-call]
        loss_and_gradient,
        np.zeros(rows.shape[1] + 1),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations, "maxcor": 10, "ftol": 1e-7, "gtol": 1e-4},
    ).x
    return Linear(found[:-1].astype(np.float32), float(found[-1]))


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
