"""Cut-offs of the demo: inside the range in which harmless made-up texts score, so that there is something to see.

The bundle's own cut-off stays where it tags some of them. For most labels it (rightly) tags none: those are lowered.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamtag.domain.scores import MICRO, to_micro

__all__ = ["DemoCutoffs", "choose_cutoffs", "plain", "share_tagged"]

KEPT_SHARES = (0.01, 0.2)
"""The bundle's own cut-off is kept where it tags a share of the events between these."""
START_SHARE = 0.08
"""Elsewhere about this share of the events gets the label at the start."""
EASIER_SHARE = 0.35
"""And about this one after the change that the demo makes, or suggests."""


@dataclass(frozen=True)
class DemoCutoffs:
    """Cut-offs to start with, and lower ones that tag visibly more. Both in label order."""

    start: Mapping[str, float]
    easier: Mapping[str, float]

    def other(self, label: str, current: float) -> float:
        """Whichever of the two differs more from ``current``: what to try next."""
        return max(self.start[label], self.easier[label], key=lambda cutoff: abs(cutoff - current))


def choose_cutoffs(defaults: Mapping[str, float], scores: NDArray[np.float32], max_step: float) -> DemoCutoffs:
    """Cut-offs with sample texts on both sides.

    Args:
        defaults: label to the bundle's own cut-off, in the order of the columns.
        scores: of sample texts, float32 [n, labels].
        max_step: between the two sets, so that changing one into the other needs no force.
    """
    micro = to_micro(scores)
    start, easier = {}, {}
    for i, (label, default) in enumerate(defaults.items()):
        column = micro[:, i]
        least, most = KEPT_SHARES
        start[label] = default if least <= share_tagged(column, default) <= most else _cutoff(column, START_SHARE)
        easier[label] = max(_cutoff(column, EASIER_SHARE), round(start[label] - max_step, 6))
    return DemoCutoffs(start, easier)


def _cutoff(micro: NDArray[np.int64], share: float) -> float:
    """The roundest number that tags about ``share`` of the sample: no less than half of it, no more than twice."""
    exact = float(np.quantile(micro, 1 - share)) / MICRO
    for digits in (1, 2, 3, 4):
        candidate = round(float(f"{exact:.{digits}g}"), 6)
        if share / 2 <= share_tagged(micro, candidate) <= share * 2:
            return candidate
    return round(exact, 6)


def share_tagged(micro: NDArray[np.int64], cutoff: float) -> float:
    """Share of these scores (in millionths) that a cut-off tags."""
    return float(np.mean(micro >= round(cutoff * MICRO)))


def plain(cutoff: float) -> str:
    """A cut-off without exponent and trailing zeros: ``0.00003``."""
    return f"{cutoff:.6f}".rstrip("0").rstrip(".") or "0"
