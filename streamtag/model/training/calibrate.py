"""Margins to probabilities, and probabilities to default cut-offs."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, xlogy

from streamtag.model.manifest import Calibration

HINGE_POSITIVES = 100
"""Fewer positives than this do not carry a third parameter."""


def calibrate(label: str, margin: NDArray[np.float64], target: NDArray[np.int8]) -> Calibration:
    """The calibration of one label: Platt's, with a hinge where there is evidence enough for one.

    The margins of a sparse linear model stretch differently for texts that are clearly of the label (few of its words
    decide) and for those that are not: one slope for both is off where it matters, around the cut-offs.

    Args:
        label: its id.
        margin: float64 [n], z of rows the model was not fitted on.
        target: int8 [n], 0 or 1.
    """
    rows, positives = len(target), int((target > 0).sum())
    if positives >= HINGE_POSITIVES:
        a, b, hinge = fit_platt(margin, target, hinged=True)
        if a > 0 and a + hinge > 0:  # else scores would not rise with the margin
            return Calibration(label, "hinged-platt", a, b, rows, positives, hinge)
    a, b, _ = fit_platt(margin, target)
    return Calibration(label, "platt", a, b, rows, positives)


def fit_platt(
    margin: NDArray[np.float64], target: NDArray[np.int8], *, hinged: bool = False
) -> tuple[float, float, float]:
    """``(a, b, hinge)`` of ``sigmoid(a z + hinge max(z, 0) + b)``, by maximum likelihood on Platt's smoothed targets.

    Platt (1999): (N₊ + 1)/(N₊ + 2) for positives and 1/(N₋ + 2) for negatives keep the fit finite however few
    there are. His A and B are -a and -b; he has no hinge.

    Args:
        margin: float64 [n].
        target: int8 [n], 0 or 1.
        hinged: False leaves the hinge at 0.
    """
    positives = int((target > 0).sum())
    negatives = len(target) - positives
    wanted = np.where(target > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    columns = [margin, np.ones_like(margin)] + ([np.maximum(margin, 0)] if hinged else [])
    design = np.stack(columns, axis=1)

    def loss_and_gradient(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = design @ point
        # log-loss by logit: softplus(x) - t x, which never takes the logarithm of zero
        loss = float((np.logaddexp(0.0, logit) - wanted * logit).sum())
        return loss, (expit(logit) - wanted) @ design

    start = np.zeros(design.shape[1])
    start[1] = np.log((positives + 1) / (negatives + 1))
    options = {"gtol": 1e-6, "maxiter": 500}
    found = minimize(loss_and_gradient, start, jac=True, method="BFGS", options=options).x  # type: ignore[no-untyped-call]
    return float(found[0]), float(found[1]), float(found[2]) if hinged else 0.0


def probability(calibration: Calibration, margin: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the graph makes of margins, float64 [n]."""
    logit = calibration.a * margin + calibration.hinge * np.maximum(margin, 0) + calibration.b
    return np.asarray(expit(logit), dtype=np.float64)


def log_loss(probabilities: NDArray[np.float64], target: NDArray[np.int8]) -> float:
    """Mean negative log-likelihood, in nats."""
    off = -(xlogy(target, probabilities) + xlogy(1 - target, 1 - probabilities))
    return float(off.mean())


def good_f1_threshold(
    probabilities: NDArray[np.float64], target: NDArray[np.int8], *, within: float, decimals: int = 3
) -> float:
    """The lowest cut-off of a grid whose F1 is within a share of the highest.

    F1 is nearly flat around its top, and chance says where in it the very top lies; the low end is steadier, and
    finds more.

    Args:
        probabilities: float64 [n].
        target: int8 [n], 0 or 1.
        within: largest relative loss of F1, 0 … 1.
        decimals: of the grid 0.001 … 0.999.
    """
    steps = 10**decimals
    grid = np.arange(1, steps) / steps
    ranked = np.sort(probabilities)
    ranked_positive = np.sort(probabilities[target > 0])
    flagged = len(ranked) - np.searchsorted(ranked, grid)
    hits = len(ranked_positive) - np.searchsorted(ranked_positive, grid)
    f1 = 2 * hits / np.maximum(1, flagged + len(ranked_positive))
    return float(grid[int(np.argmax(f1 >= f1.max() * (1 - within)))])
