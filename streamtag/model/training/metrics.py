"""Figures of a scorer on labelled rows: ranking (ROC-AUC, average precision) and calibration (ECE)."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

ECE_BINS = 15


class LabelFigures(msgspec.Struct, frozen=True):
    """One label on N rows; None where a figure needs both classes and there is one.

    Attributes:
        rows, positives: how many it rests on.
        roc_auc: area under the ROC curve.
        average_precision: area under precision over recall, as a step function.
        ece: expected calibration error, 15 bins of equal width.
        ece_null_95: the ECE that a perfectly calibrated model with these scores stays below, 95 times of 100.
    """

    rows: int
    positives: int
    roc_auc: float | None
    average_precision: float | None
    ece: float
    ece_null_95: float


class Figures(msgspec.Struct, frozen=True):
    """All labels; the means are over labels that have the figure."""

    rows: int
    mean_roc_auc: float | None
    mean_average_precision: float | None
    mean_ece: float
    labels: dict[str, LabelFigures]


def evaluate(labels: Sequence[str], scores: NDArray[np.float32], targets: NDArray[np.int8]) -> Figures:
    """Figures of ``scores`` [n, labels] against ``targets`` [n, labels], rounded to six decimals."""
    by_label = {}
    for j, label in enumerate(labels):
        score, target = scores[:, j].astype(np.float64), targets[:, j]
        both = 0 < int(target.sum()) < len(target)
        by_label[label] = LabelFigures(
            rows=len(target),
            positives=int(target.sum()),
            roc_auc=round(float(roc_auc_score(target, score)), 6) if both else None,
            average_precision=round(float(average_precision_score(target, score)), 6) if both else None,
            ece=round(expected_calibration_error(score, target), 6),
            ece_null_95=round(ece_null_quantile(score), 6),
        )
    return Figures(
        rows=len(scores),
        mean_roc_auc=_mean([figures.roc_auc for figures in by_label.values()]),
        mean_average_precision=_mean([figures.average_precision for figures in by_label.values()]),
        mean_ece=_mean([figures.ece for figures in by_label.values()]) or 0.0,
        labels=by_label,
    )


def expected_calibration_error(
    probability: NDArray[np.float64], target: NDArray[np.integer], *, bins: int = ECE_BINS
) -> float:
    """Mean of |mean probability - share of positives| over bins of equal width, weighted by their rows.

    Bins are closed on the right, as in torchmetrics. Small samples are biased upwards: read it beside
    `ece_null_quantile`.
    """
    if not len(probability):
        return 0.0
    index = np.clip(np.ceil(probability * bins).astype(np.intp) - 1, 0, bins - 1)
    off = np.bincount(index, weights=probability - target, minlength=bins)
    return float(np.abs(off).sum() / len(probability))


def ece_null_quantile(probability: NDArray[np.float64], *, quantile: float = 0.95, draws: int = 200) -> float:
    """The ``quantile`` of the ECE when labels are drawn from the probabilities themselves (seeded)."""
    random = np.random.default_rng(0)
    found = [
        expected_calibration_error(probability, (random.random(len(probability)) < probability).astype(np.int8))
        for _ in range(draws)
    ]
    return float(np.quantile(found, quantile))


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return round(float(np.mean(present)), 6) if present else None
