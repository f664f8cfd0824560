"""A recalibration as one function for all methods: piecewise linear and rising, from logit to logit."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from streamtag.model.manifest import Curve

__all__ = ["SUREST", "apply", "logits", "probabilities"]

SUREST = 2.0**-23
"""Scores nearer to 0 or 1 are taken for this, or 1 less this: float32 has it, and little beyond."""


def logits(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """ln(p / (1 - p)) of scores, as the graph takes it."""
    sure = np.clip(np.asarray(scores, dtype=np.float64), SUREST, 1 - SUREST)
    return np.asarray(np.log(sure) - np.log1p(-sure), dtype=np.float64)


def apply(curve: Curve, logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """The curve at each logit: through its knots, with its slopes beyond them.

    A sum of terms that each rise with the logit: so it rises in any precision, and the graph has the same form.
    """
    xs, ys = np.array(curve.xs), np.array(curve.ys)
    value = ys[0] + curve.low * np.minimum(logit - xs[0], 0)
    for x, width, slope in zip(xs[:-1], np.diff(xs), np.diff(ys) / np.diff(xs), strict=True):
        value = value + slope * np.clip(logit - x, 0, width)
    return np.asarray(value + curve.high * np.maximum(logit - xs[-1], 0), dtype=np.float64)


def probabilities(curves: Sequence[Curve], scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """What the graph makes of scores [n, labels]; a label that is kept keeps them, bit for bit."""
    columns = [
        np.asarray(scores[:, j], dtype=np.float64) if curve.kept else expit(apply(curve, logits(scores[:, j])))
        for j, curve in enumerate(curves)
    ]
    return np.stack(columns, axis=1)
