"""Micro and macro F1 with intervals, where rows come in groups that belong together."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

DRAWS = 1_000
_SEED = 20_240_501


class Interval(msgspec.Struct, frozen=True):
    """A figure and what 95 of 100 redrawn samples gave."""

    value: float
    low: float
    high: float


class F1Figures(msgspec.Struct, frozen=True):
    """Figures of tags against truth.

    Attributes:
        rows, groups: that they rest on.
        micro: over all cells that are known.
        macro: mean of the labels that have a positive.
        labels: per label F1, precision, recall, positives.
    """

    rows: int
    groups: int
    micro: Interval
    macro: Interval
    labels: dict[str, dict[str, float]]


def f1_figures(
    labels: Sequence[str], tagged: NDArray[np.bool_], targets: NDArray[np.int8], groups: Sequence[str]
) -> F1Figures:
    """Micro and macro F1 with percentile bootstrap intervals over groups (Efron 1979; seeded).

    Rows of one rule are alike, so that drawing rows would give intervals that are too narrow: groups are drawn.

    Args:
        labels: columns.
        tagged: bool [rows, labels].
        targets: int8 [rows, labels]; -1 is unknown and counts nowhere.
        groups: of the rows.
    """
    counts = _counts(tagged, targets, groups)
    total = counts.sum(axis=0)
    draws = np.random.default_rng(_SEED).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=DRAWS)
    redrawn = np.tensordot(draws.astype(np.float64), counts, axes=1)
    return F1Figures(
        rows=len(targets),
        groups=len(counts),
        micro=_interval(_micro(total[None])[0], _micro(redrawn)),
        macro=_interval(_macro(total[None])[0], _macro(redrawn)),
        labels={label: _of_label(total[j]) for j, label in enumerate(labels)},
    )


def difference(
    tagged: NDArray[np.bool_], other: NDArray[np.bool_], targets: NDArray[np.int8], groups: Sequence[str]
) -> dict[str, Interval]:
    """By how much micro and macro F1 of ``tagged`` are above those of ``other`` on the same rows, paired by group."""
    one, two = _counts(tagged, targets, groups), _counts(other, targets, groups)
    draws = np.random.default_rng(_SEED).multinomial(len(one), np.full(len(one), 1 / len(one)), size=DRAWS)
    found = {}
    for name, figure in (("micro", _micro), ("macro", _macro)):
        value = figure(one.sum(axis=0)[None])[0] - figure(two.sum(axis=0)[None])[0]
        redrawn = [figure(np.tensordot(draws.astype(np.float64), counts, axes=1)) for counts in (one, two)]
        found[name] = _interval(value, redrawn[0] - redrawn[1])
    return found


def _counts(tagged: NDArray[np.bool_], targets: NDArray[np.int8], groups: Sequence[str]) -> NDArray[np.float64]:
    """True positives, false positives, false negatives per group, float64 [groups, labels, 3]."""
    names, group_of = np.unique(np.array(groups), return_inverse=True)
    counts = np.zeros((len(names), targets.shape[1], 3))
    yes, no = targets == 1, targets == 0
    for k, cell in enumerate((tagged & yes, tagged & no, ~tagged & yes)):
        np.add.at(counts[:, :, k], group_of, cell)
    return counts


def _f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    hits, wrong, missed = counts[..., 0], counts[..., 1], counts[..., 2]
    f1: NDArray[np.float64] = 2 * hits / np.maximum(1, 2 * hits + wrong + missed)
    return f1


def _micro(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return _f1(counts.sum(axis=1))


def _macro(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    present = counts[..., 0] + counts[..., 2] > 0
    macro: NDArray[np.float64] = (_f1(counts) * present).sum(axis=1) / np.maximum(1, present.sum(axis=1))
    return macro


def _interval(value: float, redrawn: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(redrawn, [0.025, 0.975])
    return Interval(round(float(value), 4), round(float(low), 4), round(float(high), 4))


def _of_label(counts: NDArray[np.float64]) -> dict[str, float]:
    hits, wrong, missed = counts.tolist()
    return {
        "f1": round(2 * hits / max(1.0, 2 * hits + wrong + missed), 4),
        "precision": round(hits / max(1.0, hits + wrong), 4),
        "recall": round(hits / max(1.0, hits + missed), 4),
        "positives": hits + missed,
    }
