"""What the demo compares with the champion: cut-offs of which one is far too low, and others that hardly change."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamtag.devstack.demo.cutoffs import DemoCutoffs, plain, share_tagged
from streamtag.domain.scores import MICRO, to_micro

__all__ = ["Challenger", "choose_challengers"]

LOST_SHARE = 0.02
"""The good one loses about this share of a label's alerts: by far less than the tolerance."""
_OFTEN = 0.05
_MOST = 2


@dataclass(frozen=True)
class Challenger:
    """One experiment of the demo.

    Attributes:
        kind: what is to be expected of it; nothing but the words on the screen depends on it.
        what: how it differs, for people.
        cutoffs: label to cut-off, of all labels.
        judged: the labels that the verdict rests on; all others are muted.
    """

    kind: Literal["bad", "good"]
    what: str
    cutoffs: Mapping[str, float]
    judged: tuple[str, ...]


def choose_challengers(cutoffs: DemoCutoffs, scores: NDArray[np.float32]) -> tuple[Challenger, ...]:
    """A bad one and a good one, on labels of their own; of a bundle with one label only the bad one.

    Args:
        cutoffs: what the demo starts with, and what it could be changed to.
        scores: of sample texts, float32 [n, labels].
    """
    micro = to_micro(scores)
    columns = dict(zip(cutoffs.start, micro.T, strict=True))
    before = {label: share_tagged(column, cutoffs.start[label]) for label, column in columns.items()}
    # what is tagged often is known soon; the first label is the one to play with
    often = sorted(columns, key=before.__getitem__, reverse=True)
    worst = next((label for label in often if label != next(iter(columns))), often[0])
    others = [label for label in often if label != worst]
    equal = [label for label in others if before[label] >= _OFTEN][:_MOST] or others[:1]
    bad = Challenger(
        "bad",
        f"{worst} from {plain(cutoffs.start[worst])} to {plain(cutoffs.easier[worst])}",
        {**cutoffs.start, worst: cutoffs.easier[worst]},
        (worst,),
    )
    if not equal:
        return (bad,)
    near = {label: _near(columns[label], cutoffs.start[label]) for label in equal}
    return bad, Challenger("good", f"{', '.join(equal)}: hardly changed", {**cutoffs.start, **near}, tuple(equal))


def _near(micro: NDArray[np.int64], cutoff: float) -> float:
    """A slightly higher cut-off."""
    tagged = micro[micro >= round(cutoff * MICRO)]
    if not len(tagged):
        return cutoff
    exact = float(np.quantile(tagged, LOST_SHARE)) / MICRO
    return next((near for digits in (3, 4) if (near := float(f"{exact:.{digits}g}")) > cutoff), round(exact, 6))
