"""Figures of the very graph that will serve, on rows held out of its training; what is unknown counts nowhere."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.model.scorer import Scorer
from streamtag.model.training.f1 import f1_figures
from streamtag.model.training.metrics import Figures, LabelFigures, evaluate
from streamtag.model.training.obfuscate import KINDS, obfuscate
from streamtag.model.training.rows import Rows
from streamtag.model.training.split import Split

HELD_OUT = "groups held out before training"


def figures_of(scorer: Scorer, rows: Rows, split: Split) -> dict[str, Any]:
    """Ranking, calibration and F1 on the test rows, and what each disguise takes from the ranking."""
    places = np.flatnonzero(split.test)
    texts, targets = [rows.texts[i] for i in places.tolist()], rows.targets[places]
    scores = scorer.score(texts)
    clean = masked_figures(scorer.labels, scores, targets)
    tagged = scores >= np.array([label.threshold for label in scorer.bundle.manifest.labels], dtype=np.float32)
    groups = [str(group) for group in split.groups[places].tolist()]
    return {
        "split": HELD_OUT,
        **msgspec.to_builtins(clean),
        "f1": msgspec.to_builtins(f1_figures(scorer.labels, tagged, targets, groups)),
        "two_class_macro_f1": two_class_macro_f1(scorer.labels, tagged, targets),
        "roc_auc_lost": {kind: _lost(scorer, texts, targets, clean, kind) for kind in KINDS},
    }


def masked_figures(labels: tuple[str, ...], scores: NDArray[np.float32], targets: NDArray[np.int8]) -> Figures:
    """`evaluate`, each label on the rows that annotate it."""
    found: dict[str, LabelFigures] = {}
    for j, label in enumerate(labels):
        known = targets[:, j] >= 0
        if known.any():
            found |= evaluate([label], scores[known, j : j + 1], targets[known, j : j + 1]).labels
    return Figures(
        rows=len(scores),
        mean_roc_auc=_mean([each.roc_auc for each in found.values()]),
        mean_average_precision=_mean([each.average_precision for each in found.values()]),
        mean_ece=_mean([each.ece for each in found.values()]) or 0.0,
        labels=found,
    )


def two_class_macro_f1(
    labels: tuple[str, ...], tagged: NDArray[np.bool_], targets: NDArray[np.int8]
) -> dict[str, float]:
    """Mean of the F1 of "yes" and the F1 of "no", per label: what EDOS's task A is ranked by."""
    found = {}
    for j, label in enumerate(labels):
        known = targets[:, j] >= 0
        yes, said = targets[known, j] == 1, tagged[known, j]
        both, neither = int((yes & said).sum()), int((~yes & ~said).sum())
        wrong = int((yes != said).sum())
        sides = [2 * hits / max(1, 2 * hits + wrong) for hits in (both, neither)]
        found[label] = round(sum(sides) / 2, 4)
    return found


def _lost(scorer: Scorer, texts: list[str], targets: NDArray[np.int8], clean: Figures, kind: str) -> float | None:
    disguised = scorer.score([obfuscate(text, kind, seed="measure") for text in texts])
    found = masked_figures(scorer.labels, disguised, targets).mean_roc_auc
    if found is None or clean.mean_roc_auc is None:
        return None
    return round(clean.mean_roc_auc - found, 6)


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return round(float(np.mean(present)), 6) if present else None
