"""Margins to probabilities, and probabilities to default cut-offs."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, xlogy


def fit_platt(margin: NDArray[np.float64], target: NDArray[np.int8]) -> tuple[float, float]:
    """Slope a and intercept b of ``sigmoid(a z + b)``, by maximum likelihood on Platt's smoothed targets.

    Platt (1999): (N₊ + 1)/(N₊ + 2) for positives and 1/(N₋ + 2) for negatives keep the fit finite however few
    there are. His A and B are -a and -b.

    Args:
        margin: float64 [n], z of rows the model was not fitted on.
        target: int8 [n], 0 or 1.
    """
    positives = int((target > 0).sum())
    negatives = len(target) - positives
    wanted = np.where(target > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss_and_gradient(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = point[0] * margin + point[1]
        # log-loss by logit: softplus(x) - t x, which never takes the logarithm of zero
        loss = float((np.logaddexp(0.0, logit) - wanted * logit).sum())
        off = expit(logit) - wanted
        return loss, np.array([off @ margin, off.sum()])

    start = np.array([0.0, np.log((positives + 1) / (negatives + 1))])
    options = {"gtol": 1e-6, "maxiter": 500}
    found = minimize(loss_and_gradient, start, jac=True, method="BFGS", options=options)  # type: ignore[no-untyped-call]
    return float(found.x[0]), float(found.x[1])


def log_loss(probability: NDArray[np.float64], target: NDArray[np.int8]) -> float:
    """Mean negative log-likelihood, in nats."""
    off = -(xlogy(target, probability) + xlogy(1 - target, 1 - probability))
    return float(off.mean())


def best_f1_threshold(probability: NDArray[np.float64], target: NDArray[np.int8], *, decimals: int = 3) -> float:
    """The cut-off with the highest F1 among those on a grid of ``decimals``; the lowest of equals.

    Args:
        probability: float64 [n].
        target: int8 [n], 0 or 1.
        decimals: of the grid 0.001 … 0.999.
    """
    steps = 10**decimals
    grid = np.arange(1, steps) / steps
    ranked = np.sort(probability)
    ranked_positive = np.sort(probability[target > 0])
    flagged = len(ranked) - np.searchsorted(ranked, grid)
    hits = len(ranked_positive) - np.searchsorted(ranked_positive, grid)
    f1 = 2 * hits / np.maximum(1, flagged + len(ranked_positive))
    return float(grid[int(np.argmax(f1))])
