"""A bundle on labelled documents: figures, slices, identity terms, co-occurrence, curves."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamtag.domain.thresholds import Compiled, ThresholdSet
from streamtag.model.evaluation.labelled import Labelled
from streamtag.model.evaluation.metrics import Measured, bootstrap
from streamtag.model.evaluation.result import SLICED, Curves, Evaluation, Slice, TermBias
from streamtag.model.training.metrics import ece_null_quantile

LENGTHS = ((0, 50), (50, 200), (200, 1_000), (1_000, None))
"""Slices by characters, half open."""


def evaluate_scores(
    data: Labelled,
    scores: NDArray[np.floating],
    thresholds: ThresholdSet,
    *,
    draws: int,
    terms: Sequence[str] = (),
    least: int = 50,
) -> Evaluation:
    """Measures ``scores`` [n, labels] on ``data``; slices of fewer than ``least`` documents are left out."""
    cutoffs = cutoffs_of(data, thresholds)
    targets = data.targets
    return Evaluation(
        labels=data.labels,
        rows=len(data.texts),
        groups=int(data.group.max()) + 1,
        draws=draws,
        known=(targets >= 0).sum(axis=0).tolist(),
        positives=(targets == 1).sum(axis=0).tolist(),
        cutoffs=[thresholds.labels[label] for label in data.labels],
        figures=bootstrap(Measured(scores, targets, cutoffs), data.group, draws=draws),
        ece_null_95=[null_band(scores[:, j], targets[:, j]) for j in range(len(data.labels))],
        slices=_slices(data, scores, cutoffs, draws, least),
        terms=_biases(data, scores, terms),
        cooccurrence=_phi(targets).tolist(),
        curves=[_curves(scores[:, j], targets[:, j]) for j in range(len(data.labels))],
    )


def cutoffs_of(data: Labelled, thresholds: ThresholdSet) -> NDArray[np.float64]:
    """The cut-off of each document and label, float64 [n, labels], with the overrides of its segment."""
    compiled = Compiled(thresholds, data.labels)
    dimensions = zip(data.fields["lang"], data.fields["channel"], data.fields["tenant"], strict=True)
    rows = compiled.rows([(lang or None, channel or None, tenant or None) for lang, channel, tenant in dimensions])
    return np.asarray(compiled.matrix[rows], dtype=np.float64)


def null_band(score: NDArray[np.floating], target: NDArray[np.int8]) -> float:
    """The ECE that a perfectly calibrated model with these scores stays below 95 times of 100; NaN without any."""
    known = np.asarray(score[target >= 0], dtype=np.float64)
    return ece_null_quantile(known) if len(known) else float("nan")


def _slices(
    data: Labelled, scores: NDArray[np.floating], cutoffs: NDArray[np.float64], draws: int, least: int
) -> list[Slice]:
    chosen: list[tuple[str, str, NDArray[np.bool_]]] = []
    for name in ("lang", "source"):
        values = np.array(data.fields[name])
        chosen += [(name, value, values == value) for value in sorted(set(data.fields[name]) - {""})]
    length = np.array([len(text) for text in data.texts])
    for low, high in LENGTHS:
        name = f"{low} and more" if high is None else f"{low} to {high - 1}"
        chosen.append(("characters", name, (length >= low) & (True if high is None else length < high)))
    found = []
    for by, value, mask in chosen:
        if int(mask.sum()) < least:
            continue
        _, group = np.unique(data.group[mask], return_inverse=True)
        measured = Measured(scores[mask], data.targets[mask], cutoffs[mask])
        figures = bootstrap(measured, group.astype(np.intp), draws=draws)
        overall = {name: figures[name][0] for name in SLICED}
        found.append(Slice(by, value, int(mask.sum()), overall))
    return found


def _biases(data: Labelled, scores: NDArray[np.floating], terms: Sequence[str]) -> list[TermBias]:
    found = []
    for term in terms:
        word = re.compile(rf"(?<!\w){re.escape(term)}(?!\w)", re.IGNORECASE)
        within = np.array([word.search(text) is not None for text in data.texts])
        for j, label in enumerate(data.labels):
            target, score = data.targets[:, j], scores[:, j]
            yes, no = target == 1, target == 0
            found.append(
                TermBias(
                    term,
                    label,
                    rows=int((within & (target >= 0)).sum()),
                    positives=int((within & yes).sum()),
                    subgroup_auc=_auc(score[within & yes], score[within & no]),
                    bpsn_auc=_auc(score[~within & yes], score[within & no]),
                    bnsp_auc=_auc(score[within & yes], score[~within & no]),
                )
            )
    return found


def _auc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Share of pairs in which the positive scores higher, ties one half; NaN without pairs."""
    if not len(positive) or not len(negative):
        return float("nan")
    ranked = np.sort(negative)
    below = np.searchsorted(ranked, positive, side="left") + np.searchsorted(ranked, positive, side="right")
    return float(below.sum() / (2 * len(positive) * len(negative)))


def _phi(targets: NDArray[np.int8]) -> NDArray[np.float64]:
    """φ of each pair of labels, float64 [labels, labels], where both are known; NaN where one is constant."""
    labels = targets.shape[1]
    phi = np.full((labels, labels), np.nan)
    for i in range(labels):
        for j in range(labels):
            known = (targets[:, i] >= 0) & (targets[:, j] >= 0)
            a, b = targets[known, i].astype(np.float64), targets[known, j].astype(np.float64)
            n, both, first, second = len(a), a @ b, a.sum(), b.sum()
            scale = first * second * (n - first) * (n - second)
            if scale > 0:
                phi[i, j] = (n * both - first * second) / np.sqrt(scale)
    return phi


def reliability(
    score: NDArray[np.floating], target: NDArray[np.int8], bins: int = 10
) -> list[tuple[float, float, int]]:
    """(mean score, share of positives, documents) of each bin of equal width that has any, where the label is known."""
    known = target >= 0
    p, t = np.asarray(score[known], dtype=np.float64), (target[known] == 1).astype(np.float64)
    where = np.clip(np.ceil(p * bins).astype(np.intp) - 1, 0, bins - 1)
    rows = np.bincount(where, minlength=bins)
    mean, share = np.bincount(where, p, bins), np.bincount(where, t, bins)
    return [(float(mean[i] / rows[i]), float(share[i] / rows[i]), int(rows[i])) for i in np.nonzero(rows)[0]]


def _curves(score: NDArray[np.floating], target: NDArray[np.int8], points: int = 100) -> Curves:
    known = target >= 0
    p, t = np.asarray(score[known], dtype=np.float64), (target[known] == 1).astype(np.float64)
    bins = reliability(score, target)
    if not t.any():
        return Curves(bins, [])
    order = np.argsort(-p, kind="stable")
    ends = np.append(np.nonzero(np.diff(p[order]))[0], len(p) - 1)
    hits = np.cumsum(t[order])[ends]
    recall, precision = hits / hits[-1], hits / (ends + 1)
    # evenly over recall, and where each recall is first reached: rare labels have all their positives among the first
    kept = np.unique(np.searchsorted(recall, np.linspace(recall[0], 1, points)).clip(0, len(ends) - 1))
    return Curves(bins, list(zip(recall[kept].tolist(), precision[kept].tolist(), strict=True)))
