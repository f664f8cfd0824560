"""Whether a recalibration is better, judged on documents that it was not fitted on: cross-fitting by group."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from streamtag.model.calibration import fit
from streamtag.model.calibration.curve import apply, logits
from streamtag.model.evaluation.evaluate import null_band, reliability
from streamtag.model.evaluation.labelled import Labelled
from streamtag.model.evaluation.metrics import Interval, Measured, bootstrap, paired
from streamtag.model.manifest import Curve

__all__ = ["FIGURES", "Judged", "Judgement", "judge"]

FOLDS = 5
FIGURES = ("log_loss", "brier", "ece", "ece_debiased")
_DIFFERENCES = ("log_loss", "brier")
"""The ECE is no proper score, and its difference has a bias of its own: it is shown, and decides nothing."""


@dataclass(frozen=True)
class Judgement:
    """One label before and after, on the same draws of documents.

    Attributes:
        curve: what is done to it; its ``why`` says why nothing is.
        tried: the method that was judged; ``kept`` where there were too few documents.
        before, after: each of `FIGURES`; after: by curves fitted on the other folds.
        difference: after less before, paired; below 0 is better.
        null_before, null_after: ECE that a perfectly calibrated model stays below 95 times of 100.
        reliability_before, reliability_after: (mean score, share of positives, documents) of each bin.
    """

    curve: Curve
    tried: fit.Method
    before: dict[str, Interval]
    after: dict[str, Interval]
    difference: dict[str, Interval]
    null_before: float
    null_after: float
    reliability_before: list[tuple[float, float, int]]
    reliability_after: list[tuple[float, float, int]]


@dataclass(frozen=True)
class Judged:
    """All labels in their order, and the scores that were judged, float64 [n, labels]."""

    labels: list[Judgement]
    scores: NDArray[np.float64]


def judge(data: Labelled, scores: NDArray[np.floating], *, draws: int) -> Judged:
    """Fits and judges each label; one is changed if its log loss is lower, and the interval of the difference says so.

    Args:
        data: labelled documents.
        scores: of the bundle, [n, labels].
        draws: of the bootstrap over groups.
    """
    folds = _folds(data.group)
    crossed = np.asarray(scores, dtype=np.float64).copy()
    tried: list[tuple[fit.Method, str]] = []
    for j in range(len(data.labels)):
        method, why, unseen = _cross_fit(scores[:, j], data.targets[:, j], folds)
        tried.append((method, why))
        if unseen is not None:
            crossed[:, j] = unseen
    even = np.full(len(data.labels), 0.5)
    before, after = (Measured(each, data.targets, even) for each in (scores, crossed))
    first, second = (bootstrap(each, data.group, draws=draws) for each in (before, after))
    less = paired(before, after, data.group, draws=draws)
    found = []
    for j, (method, why) in enumerate(tried):
        column, target = scores[:, j], data.targets[:, j]
        difference = {name: less[name][j] for name in _DIFFERENCES}
        found.append(
            Judgement(
                curve=_settled(data.labels[j], method, why, difference["log_loss"], column, target),
                tried=method,
                before={name: first[name][j] for name in FIGURES},
                after={name: second[name][j] for name in FIGURES},
                difference=difference,
                null_before=null_band(column, target),
                null_after=null_band(crossed[:, j], target),
                reliability_before=reliability(column, target),
                reliability_after=reliability(crossed[:, j], target),
            )
        )
    return Judged(found, crossed)


def _folds(group: NDArray[np.intp]) -> NDArray[np.intp]:
    """Fold of each document; a group is in one, and the order of the file does not matter much (seeded)."""
    groups = int(group.max()) + 1
    return np.asarray((np.random.default_rng(0).permutation(groups) % FOLDS)[group], dtype=np.intp)


def _cross_fit(
    score: NDArray[np.floating], target: NDArray[np.int8], folds: NDArray[np.intp]
) -> tuple[fit.Method, str, NDArray[np.float64] | None]:
    """The method, why it cannot be used (empty where it can), and scores by curves that never saw their document."""
    known = target >= 0
    positives, negatives = int((target == 1).sum()), int((target == 0).sum())
    method = fit.method_for(positives, negatives)
    if method == "kept":
        few = f"{positives} positives" if positives <= negatives else f"{negatives} negatives"
        return method, f"{few}, fewer than {fit.LEAST_TEMPERATURE}", None
    z = logits(score)
    column = np.asarray(score, dtype=np.float64).copy()
    for k in range(FOLDS):
        use = known & (folds != k)
        curve = fit.fit("", method, z[use], target[use])
        if curve is None:
            return method, "its scores do not rise with the truth, or all positives are of one group", None
        column[folds == k] = expit(apply(curve, z[folds == k]))
    return method, "", column


def _settled(
    label: str,
    method: fit.Method,
    why: str,
    difference: Interval,
    score: NDArray[np.floating],
    target: NDArray[np.int8],
) -> Curve:
    """The curve fitted on all documents if it was shown to be better; else none, and why."""
    known = target >= 0
    rows, positives = int(known.sum()), int((target == 1).sum())
    if why:
        return fit.kept(label, why, rows, positives)
    if not difference.high < 0:
        at = f"{difference.value:+.5f} [{difference.low:+.5f}, {difference.high:+.5f}]"
        return fit.kept(label, f"{method} is not shown to be better: log loss {at}", rows, positives)
    curve = fit.fit(label, method, logits(score)[known], target[known])
    if curve is None:
        return fit.kept(label, "its scores do not rise with the truth", rows, positives)
    return curve
