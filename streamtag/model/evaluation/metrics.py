"""Figures of scores on labelled documents, and how sure they are: a bootstrap over groups of documents.

Unknown labels (-1) count in no figure. A figure that nothing supports, e.g. the ROC-AUC of a label without positives,
is NaN, and a mean is over those that are numbers. Of one group there is nothing to draw: the ends of intervals are NaN.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BY_LABEL", "DEBIASED", "OVERALL", "Interval", "Measured", "bootstrap", "paired"]

ECE_BINS = 15
_FEWEST_GROUPS = 2
SUREST = 5e-7
"""Half of the unit of scores: a score of 0 or 1 costs in log loss what one nearest to it would."""
BY_LABEL = ("roc_auc", "average_precision", "precision", "recall", "f1", "ece", "brier", "log_loss")
OVERALL = ("micro_f1", "macro_f1", "hamming_loss", "mean_roc_auc", "mean_average_precision", "mean_ece")
DEBIASED = {"ece": "ece_debiased", "mean_ece": "mean_ece_debiased"}
"""What `bootstrap` adds: the ECE without the part that a small sample adds to it."""

Figures = Mapping[str, NDArray[np.float64]]
"""Each of `BY_LABEL` → float64 [labels]; each of `OVERALL` → float64 [1]."""


@dataclass(frozen=True)
class Interval:
    """A figure and its percentile interval; NaN where nothing supports it."""

    value: float
    low: float
    high: float


class Measured:
    """Scores sorted once, to be measured under many weightings of the documents.

    Args:
        scores: float [n, labels], probabilities.
        targets: int8 [n, labels]: 1 yes, 0 no, -1 unknown.
        cutoffs: float [n, labels] or [labels]; a document is tagged where ``score >= cutoff``.
    """

    def __init__(self, scores: NDArray[np.floating], targets: NDArray[np.int8], cutoffs: NDArray[np.floating]) -> None:
        self.rows, self._labels = targets.shape
        micro = np.rint(np.asarray(scores, dtype=np.float64) * 1e6).astype(np.int64)  # as the tagger compares
        tagged = micro >= np.rint(np.asarray(cutoffs, dtype=np.float64) * 1e6).astype(np.int64)
        self._columns = [_Column(micro[:, j], targets[:, j], tagged[:, j]) for j in range(self._labels)]

    def figures(self, weights: NDArray[np.floating | np.integer] | None = None) -> Figures:
        """All figures with document i counted ``weights[i]`` times (once by default)."""
        weight = np.ones(self.rows) if weights is None else np.asarray(weights, dtype=np.float64)
        found = np.array([column.figures(weight) for column in self._columns]).reshape(self._labels, -1)
        by_label = {name: found[:, i] for i, name in enumerate(BY_LABEL)}
        hits, alerts, positives, rows = found[:, len(BY_LABEL) :].sum(axis=0)
        overall = {
            "micro_f1": _share(2 * hits, alerts + positives),
            "macro_f1": _mean(by_label["f1"]),
            "hamming_loss": _share(alerts + positives - 2 * hits, rows),
            "mean_roc_auc": _mean(by_label["roc_auc"]),
            "mean_average_precision": _mean(by_label["average_precision"]),
            "mean_ece": _mean(by_label["ece"]),
        }
        return {**by_label, **{name: np.array([value]) for name, value in overall.items()}}


class _Column:
    """One label: its known rows, by falling score."""

    def __init__(self, micro: NDArray[np.int64], target: NDArray[np.int8], tagged: NDArray[np.bool_]) -> None:
        rows = np.nonzero(target >= 0)[0]
        self._rows = rows[np.argsort(-micro[rows], kind="stable")]
        score = micro[self._rows]
        self._ends = np.append(np.nonzero(np.diff(score))[0], len(score) - 1)  # last row of each distinct score
        self._target = (target[self._rows] == 1).astype(np.float64)
        self._tagged = tagged[self._rows]
        self._probability = score / 1e6
        sure = np.clip(self._probability, SUREST, 1 - SUREST)
        self._surprise = -np.where(self._target == 1, np.log(sure), np.log1p(-sure))
        bins = np.ceil(self._probability * ECE_BINS).astype(np.intp) - 1  # closed on the right, as in torchmetrics
        self._bins = np.clip(bins, 0, ECE_BINS - 1)

    def figures(self, weights: NDArray[np.float64]) -> tuple[float, ...]:
        """`BY_LABEL`, then hits, alerts, positives and rows."""
        weight = weights[self._rows]
        rows = float(weight.sum())
        if rows == 0:
            return (*[np.nan] * len(BY_LABEL), 0.0, 0.0, 0.0, 0.0)
        positive = weight * self._target
        found = np.cumsum(positive)[self._ends]
        alerted = np.cumsum(weight)[self._ends]
        positives = float(found[-1])
        hits, alerts = float(positive[self._tagged].sum()), float(weight[self._tagged].sum())
        off = np.bincount(self._bins, weights=weight * self._probability - positive, minlength=ECE_BINS)
        return (
            _roc_auc(found, alerted - found),
            _average_precision(found, alerted),
            _share(hits, alerts),
            _share(hits, positives),
            _share(2 * hits, alerts + positives) if positives else np.nan,
            float(np.abs(off).sum()) / rows,
            float((weight * (self._probability - self._target) ** 2).sum()) / rows,
            float((weight * self._surprise).sum()) / rows,
            hits,
            alerts,
            positives,
            rows,
        )


def _roc_auc(hits: NDArray[np.float64], false: NDArray[np.float64]) -> float:
    """Trapezia over (false, hits) at each distinct score: a tie counts one half, as in Mann-Whitney's U."""
    if not hits[-1] or not false[-1]:
        return float("nan")
    before = np.concatenate(([0.0], hits[:-1]))
    return float((np.diff(false, prepend=0.0) * (hits + before)).sum() / (2 * hits[-1] * false[-1]))


def _average_precision(hits: NDArray[np.float64], alerts: NDArray[np.float64]) -> float:
    """Σ (Rₖ - Rₖ₋₁) Pₖ over distinct scores, a step function."""
    if not hits[-1]:
        return float("nan")
    precision = np.divide(hits, alerts, out=np.zeros_like(hits), where=alerts > 0)
    return float((np.diff(hits, prepend=0.0) * precision).sum() / hits[-1])


def bootstrap(measured: Measured, group: NDArray[np.intp], *, draws: int, seed: int = 0) -> dict[str, list[Interval]]:
    """Each figure with its 95 % percentile interval, from ``draws`` draws of whole groups with replacement.

    The ECE is biased upwards on a sample, and on draws from it twice over: percentiles would leave out the very figure
    they are of. So ``ece`` and ``mean_ece`` come without an interval, and `DEBIASED` gives each less its bias as the
    draws show it, 2 v - mean(v*), with the basic interval 2 v - quantiles(v*), neither below 0.
    """
    point = measured.figures()
    drawn = [measured.figures(w) for w in _weights(group, draws, seed)]
    found = _intervals(point, drawn)
    for name, debiased in DEBIASED.items():
        spread = _spread(name, point, drawn)
        found[debiased] = [_debiased(float(value), spread[:, j]) for j, value in enumerate(point[name])]
        found[name] = [Interval(each.value, float("nan"), float("nan")) for each in found[name]]
    return found


def paired(
    a: Measured, b: Measured, group: NDArray[np.intp], *, draws: int, seed: int = 0
) -> dict[str, list[Interval]]:
    """Each figure of ``b`` less that of ``a``, on the same draws: what both find hard drops out."""
    drawn = [_less(b.figures(w), a.figures(w)) for w in _weights(group, draws, seed)]
    return _intervals(_less(b.figures(), a.figures()), drawn)


def _weights(group: NDArray[np.intp], draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each document counts, draw by draw: all at once are 8 bytes for each document of each draw.

    None of one group: every draw of it is the same, and an interval without width would say that the figure is sure.
    """
    random = np.random.default_rng(seed)
    groups = int(group.max()) + 1
    if groups < _FEWEST_GROUPS:
        return
    for _ in range(draws):
        yield np.bincount(random.integers(0, groups, groups), minlength=groups)[group]


def _less(b: Figures, a: Figures) -> Figures:
    return {name: b[name] - a[name] for name in a}


def _intervals(point: Figures, drawn: Sequence[Figures]) -> dict[str, list[Interval]]:
    found = {}
    for name, values in point.items():
        spread = _spread(name, point, drawn)
        found[name] = [_interval(float(value), spread[:, j]) for j, value in enumerate(values)]
    return found


def _spread(name: str, point: Figures, drawn: Sequence[Figures]) -> NDArray[np.float64]:
    """A figure in each draw, float64 [draws, labels or 1]."""
    return np.array([each[name] for each in drawn], dtype=np.float64).reshape(len(drawn), len(point[name]))


def _interval(value: float, spread: NDArray[np.float64]) -> Interval:
    known = spread[~np.isnan(spread)]
    if np.isnan(value) or not len(known):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(known, (0.025, 0.975))
    return Interval(value, float(low), float(high))


def _debiased(value: float, spread: NDArray[np.float64]) -> Interval:
    known = spread[~np.isnan(spread)]
    if np.isnan(value) or not len(known):  # without draws nobody knows the bias
        return Interval(float("nan"), float("nan"), float("nan"))
    low, high = 2 * value - np.quantile(known, (0.975, 0.025))
    return Interval(*(max(0.0, float(each)) for each in (2 * value - known.mean(), low, high)))


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
