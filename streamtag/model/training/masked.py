"""Logistic regression of many labels at once on sparse rows, each label on the rows that annotate it; deterministic.

One pass over the rows serves all labels. L-BFGS runs in coordinates scaled by the curvature at the start: rare labels
and rare features would else need many times the iterations. Features can be scaled by log-count ratios (Wang & Manning,
"Baselines and Bigrams", ACL 2012); the scale ends up in the weights, so it costs nothing when scoring.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit, log_expit

_LEAST_RATE = 1e-4
_MEMORY = 8  # pairs of vectors that L-BFGS keeps

Progress = Callable[[], None]


@dataclass(frozen=True)
class LinearModel:
    """``z = x · weights + bias``; weights float32 [features, labels], bias float64 [labels]."""

    weights: NDArray[np.float32]
    bias: NDArray[np.float64]

    def margins(self, rows: csr_matrix) -> NDArray[np.float64]:
        """z, float64 [rows, labels]."""
        return np.asarray(rows @ self.weights, dtype=np.float64) + self.bias


@dataclass(frozen=True)
class Fit:
    """How a model is fitted.

    Attributes:
        strength: weight of the data against the penalty (scikit-learn's C).
        smoothing: of the log-count ratios that scale the features; None leaves them as they are.
        focus: γ of the focal loss ``-(1 - p)^γ ln p`` (Lin et al., ICCV 2017, eq. 4); 0 is log-loss.
        iterations: of L-BFGS, at most; stopping early is a regulariser of its own.
    """

    strength: float
    smoothing: float | None = None
    focus: float = 0.0
    iterations: int = 40


def fit_masked(
    rows: csr_matrix,
    targets: NDArray[np.int8],
    weights: NDArray[np.float32],
    how: Fit,
    progress: Progress = lambda: None,
) -> LinearModel:
    """Minimises ``|v|²/2 + strength · Σ weight · loss`` over v, where the weights are v times the features' scale.

    Args:
        rows: float32 [n, features].
        targets: int8 [n, labels], 1, 0, or -1: unknown, no part of the loss.
        weights: float32 [n, labels], of each cell in the loss; not read where unknown.
        how: strength, scale, loss.
        progress: called after each iteration.
    """
    n_features, n_labels = rows.shape[1], targets.shape[1]
    cells = n_features * n_labels
    share = np.where(targets >= 0, how.strength * weights, np.float32(0)).astype(np.float32)
    sign = np.where(targets > 0, np.float32(1), np.float32(-1))
    columns = rows.T.tocsr()
    scale = np.float32(1) if how.smoothing is None else log_count_ratios(columns, targets, weights, how.smoothing)
    start, step, bias_step = _scales(columns, share, targets, scale)
    reach = scale * step  # from coordinates of the search to weights

    def loss_and_gradient(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        inner = point[:cells].reshape(n_features, n_labels)
        bias = start + bias_step * point[cells:]
        signed = sign * (rows @ (reach * inner).astype(np.float32) + bias.astype(np.float32))
        loss, slope = _loss(signed, how.focus)
        pull = share * sign * slope
        gradient = np.empty_like(point)
        gradient[:cells] = (step * step * inner + reach * (columns @ pull)).ravel()
        gradient[cells:] = bias_step * pull.sum(axis=0, dtype=np.float64)
        penalty = 0.5 * float(np.square(step * inner).sum(dtype=np.float64))
        return float((share * loss).sum(dtype=np.float64)) + penalty, gradient

    found = minimize(  # type: ignore[no-untyped-call]
        loss_and_gradient,
        np.zeros(cells + n_labels),
        jac=True,
        method="L-BFGS-B",
        callback=lambda _: progress(),
        options={"maxiter": how.iterations, "maxcor": _MEMORY, "ftol": 1e-6, "gtol": 1e-3},
    ).x
    fitted = reach * found[:cells].reshape(n_features, n_labels)
    return LinearModel(fitted.astype(np.float32), start + bias_step * found[cells:])


def log_count_ratios(
    columns: csr_matrix, targets: NDArray[np.int8], weights: NDArray[np.float32], smoothing: float
) -> NDArray[np.float32]:
    """``ln(p / q)`` of each feature's share of the positives' and of the negatives' mass, float32 [features, labels].

    Args:
        columns: [features, n], not negative.
        targets: int8 [n, labels]; unknown cells count on neither side.
        weights: float32 [n, labels].
        smoothing: added to each feature's mass on both sides.
    """
    logs = []
    for side in (targets > 0, targets == 0):
        mass = columns @ (side * weights) + np.float32(smoothing)
        logs.append(np.log(mass / mass.sum(axis=0, keepdims=True)))
    return np.asarray(logs[0] - logs[1], dtype=np.float32)


def importance(model: LinearModel, rows: csr_matrix) -> NDArray[np.float64]:
    """How much of a margin each feature moves, |weight| x RMS value, the largest share over the labels; [features]."""
    square = np.bincount(rows.indices, weights=np.square(rows.data, dtype=np.float64), minlength=rows.shape[1])
    moved = np.abs(model.weights) * np.sqrt(square / max(1, rows.shape[0]))[:, None]
    total = np.sqrt(np.square(moved).sum(axis=0, keepdims=True))
    share: NDArray[np.float64] = (moved / np.where(total > 0, total, 1.0)).max(axis=1)
    return share


def _loss(signed: NDArray[np.float32], focus: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Focal loss and its slope at the margin towards the right side."""
    log_right = log_expit(signed)
    if focus == 0:
        return -log_right, -expit(-signed)
    right, wrong = expit(signed), expit(-signed)
    damped = wrong**focus
    return -damped * log_right, damped * (focus * right * log_right - wrong)


def _scales(
    columns: csr_matrix,
    share: NDArray[np.float32],
    targets: NDArray[np.int8],
    scale: NDArray[np.float32] | np.float32,
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float64]]:
    """Bias that gives each label its rate; steps of weights and biases, 1/sqrt of their second derivative there."""
    total = share.sum(axis=0, dtype=np.float64)
    rate = (share * (targets > 0)).sum(axis=0, dtype=np.float64) / np.maximum(total, 1e-9)
    rate = np.clip(rate, _LEAST_RATE, 1 - _LEAST_RATE)
    variance = rate * (1 - rate)
    parts = np.square(columns.data), columns.indices, columns.indptr
    squared = csr_matrix(parts, shape=columns.shape)  # type: ignore[no-untyped-call]
    curvature = 1 + np.square(scale) * (squared @ share) * variance
    step: NDArray[np.float32] = (1 / np.sqrt(curvature)).astype(np.float32)
    bias_step: NDArray[np.float64] = 1 / np.sqrt(np.maximum(total * variance, 1e-9))
    return np.log(rate / (1 - rate)), step, bias_step
