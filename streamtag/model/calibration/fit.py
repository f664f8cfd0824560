"""Which calibration a label can bear, by the number of its positives, and its fit.

======================  ===========  ==================================================================================
positives or negatives  method       parameters
======================  ===========  ==================================================================================
below 20                kept         none: too few to judge by, whatever was fitted
20 to 49                temperature  1: how sure the model is
50 to 999               Platt        2: how sure, and how common the label is
1,000 and more          isotonic     up to 16 knots (scikit-learn's advice for it is 1,000 and more)
======================  ===========  ==================================================================================

The bounds but the last are judgement; what is fitted stays only if it is better on documents that it was not fitted on.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit, rel_entr
from sklearn.isotonic import isotonic_regression

from streamtag.model.manifest import Curve
from streamtag.model.training.calibrate import fit_platt

__all__ = ["Method", "fit", "kept", "method_for"]

Method = Literal["kept", "temperature", "platt", "isotonic"]
LEAST_TEMPERATURE, LEAST_PLATT, LEAST_ISOTONIC = 20, 50, 1_000
MOST_KNOTS = 16
"""Of an isotonic curve: each costs the graph four operations."""
LEAST_SLOPE, MOST_SLOPE = 0.01, 20.0
"""Of an isotonic curve: ranks stay, and rounding is not blown up."""
SAME = 1e-9
"""Levels as near as this differ by rounding."""
LEAST_GAP = 0.1
"""Between knots, in logits: what float32 rounds of a logit must not be stretched to a difference one can see."""


def method_for(positives: int, negatives: int) -> Method:
    """By the rarer of the two."""
    least = min(positives, negatives)
    if least < LEAST_TEMPERATURE:
        return "kept"
    if least < LEAST_PLATT:
        return "temperature"
    return "platt" if least < LEAST_ISOTONIC else "isotonic"


def kept(label: str, why: str, rows: int, positives: int) -> Curve:
    """No change."""
    return Curve(label, "kept", [0.0], [0.0], 1.0, 1.0, rows, positives, why)


def fit(label: str, method: Method, z: NDArray[np.float64], target: NDArray[np.int8]) -> Curve | None:
    """The curve of one label; None where scores do not rise with the truth, or one class is missing.

    Args:
        label: its id.
        method: not ``kept``.
        z: float64 [n], logits of scores.
        target: int8 [n], 0 or 1.
    """
    rows, positives = len(target), int((target > 0).sum())
    if not 0 < positives < rows:
        return None
    if method == "temperature":
        slope = _fit_temperature(z, target)
        return Curve(label, method, [0.0], [0.0], slope, slope, rows, positives)
    if method == "platt":
        slope, intercept, _ = fit_platt(z, target)
        return Curve(label, method, [0.0], [intercept], slope, slope, rows, positives) if slope > 0 else None
    low, ys, high, xs = _smooth(*isotonic_knots(z, target), z, target)
    return Curve(label, "isotonic", xs, ys, low, high, rows, positives)


def _fit_temperature(z: NDArray[np.float64], target: NDArray[np.int8]) -> float:
    """1/T of Guo et al. 2017 (arXiv 1706.04599, section 4.2), by maximum likelihood, between 1/20 and 20."""

    def loss(exponent: float) -> float:
        scaled = np.exp(exponent) * z
        return float((np.logaddexp(0.0, scaled) - target * scaled).sum())

    bound = np.log(20.0)
    found = minimize_scalar(loss, bounds=(-bound, bound), method="bounded")  # type: ignore[no-untyped-call]
    return float(np.exp(found.x))


def isotonic_knots(z: NDArray[np.float64], target: NDArray[np.int8]) -> tuple[list[float], list[float]]:
    """From logit to logit: the blocks of isotonic regression, each at its mean, by rising logit; the nearest merged."""
    wanted = _platt_targets(target)
    x, inverse = np.unique(z, return_inverse=True)
    weight = np.bincount(inverse).astype(np.float64)
    mean = np.bincount(inverse, wanted) / weight
    level = isotonic_regression(mean, sample_weight=weight)
    block = np.append(0, np.cumsum(np.diff(level) > SAME))
    size = np.bincount(block, weight)
    blocks = np.stack([np.bincount(block, weight * x) / size, np.bincount(block, weight * mean) / size, size])
    while blocks.shape[1] > 1:
        gaps = np.diff(blocks[0])
        near = int(gaps.argmin())
        if gaps[near] >= LEAST_GAP:
            if blocks.shape[1] <= MOST_KNOTS:
                break
            near = int(_cost_of_merging(blocks).argmin())
        blocks = _merged(blocks, near)
    return blocks[0].tolist(), logit(blocks[1]).tolist()


def _smooth(
    xs: list[float], ys: list[float], z: NDArray[np.float64], target: NDArray[np.int8]
) -> tuple[float, list[float], float, list[float]]:
    """The likeliest curve that rises through knots at ``xs``: slope before them, their ys, slope after them, ``xs``.

    Steps would tie what was apart, and lines between the means of blocks miss what lies within them. So the slopes
    between the knots are fitted: a convex problem, like logistic regression, with every slope above 0, and near 1 (the
    scores as they are) where documents say little.
    """
    x, inverse = np.unique(z, return_inverse=True)
    weight, share = np.bincount(inverse), np.bincount(inverse, _platt_targets(target))
    knots = np.array(xs)
    parts = [np.clip(x - at, 0, width) for at, width in zip(knots[:-1], np.diff(knots), strict=True)]
    ends = np.minimum(x - knots[0], 0), np.maximum(x - knots[-1], 0)
    design = np.stack([np.ones_like(x), ends[0], *parts, ends[1]], axis=1)

    def loss_and_gradient(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value = design @ point
        bent = np.append(0.0, point[1:] - 1)
        loss = float((weight * np.logaddexp(0.0, value) - share * value).sum()) + float(bent @ bent) / 2
        return loss / len(z), ((weight * expit(value) - share) @ design + bent) / len(z)

    start = np.array([ys[0], 1.0, *np.diff(ys) / np.diff(xs), 1.0])
    bounds = [(None, None), *[(LEAST_SLOPE, MOST_SLOPE)] * (len(start) - 1)]
    start[1:] = start[1:].clip(LEAST_SLOPE, MOST_SLOPE)
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds).x  # type: ignore[no-untyped-call]
    rises = np.append(0.0, np.cumsum(found[2:-1] * np.diff(knots)))
    return float(found[1]), (found[0] + rises).tolist(), float(found[-1]), xs


def _platt_targets(target: NDArray[np.int8]) -> NDArray[np.float64]:
    """Platt 1999, section 2.2: nobody is sure of the next document on the strength of these."""
    positives = int((target > 0).sum())
    return np.where(target > 0, (positives + 1) / (positives + 2), 1 / (len(target) - positives + 2))


def _cost_of_merging(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much the log loss grows where neighbours become one, float64 [blocks - 1]."""
    _, share, size = blocks
    together = (share[1:] * size[1:] + share[:-1] * size[:-1]) / (size[1:] + size[:-1])

    def lost(part: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(n * (rel_entr(part, together) + rel_entr(1 - part, 1 - together)))

    return lost(share[1:], size[1:]) + lost(share[:-1], size[:-1])


def _merged(blocks: NDArray[np.float64], at: int) -> NDArray[np.float64]:
    size = blocks[2, at : at + 2].sum()
    one = np.append((blocks[:2, at : at + 2] * blocks[2, at : at + 2]).sum(axis=1) / size, size)
    return np.concatenate([blocks[:, :at], one[:, None], blocks[:, at + 2 :]], axis=1)
