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
"""And about this one by the bad challenger's."""


@dataclass(frozen=True)
class DemoCutoffs:
    """Cut-offs in label order.

    Attributes:
        start: to start with.
        easier: lower ones, that tag visibly more.
        stricter: higher ones: in a spike they tag about what the first ones tag without.
    """

    start: Mapping[str, float]
    easier: Mapping[str, float]
    stricter: Mapping[str, float]

    def other(self, label: str, current: float) -> float:
        """The stricter or the first one, whichever differs more from ``current``: what to try next."""
        return max(self.start[label], self.stricter[label], key=lambda cutoff: abs(cutoff - current))


def choose_cutoffs(
    defaults: Mapping[str, float], scores: NDArray[np.float32], spiked: NDArray[np.float32], max_step: float
) -> DemoCutoffs:
    """Cut-offs with sample texts on both sides.

    Args:
        defaults: label to the bundle's own cut-off, in the order of the columns.
        scores: of sample texts, float32 [n, labels].
        spiked: of sample texts of a spike, float32 [m, labels].
        max_step: from the first set to the others, so that changing one into the other needs no force.
    """
    micro, in_spike = to_micro(scores), to_micro(spiked)
    start, easier, stricter = {}, {}, {}
    for i, (label, default) in enumerate(defaults.items()):
        column = micro[:, i]
        least, most = KEPT_SHARES
        start[label] = default if least <= share_tagged(column, default) <= most else _cutoff(column, START_SHARE)
        easier[label] = max(_cutoff(column, EASIER_SHARE), round(start[label] - max_step, 6))
        usual = _cutoff(in_spike[:, i], share_tagged(column, start[label]))
        stricter[label] = min(max(usual, start[label]), round(start[label] + max_step, 6), 1.0)
    return DemoCutoffs(start, easier, stricter)


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
