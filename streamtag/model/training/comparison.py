"""Every pattern on the same folds and the same test rows: which is better, and by how much more than chance."""

from pathlib import Path

import msgspec
import numpy as np

from streamtag.model.training.assemble import Records, as_scorer
from streamtag.model.training.build import Watcher, finish, prepare
from streamtag.model.training.config import TrainConfig
from streamtag.model.training.encoder.pretrained import Encoder
from streamtag.model.training.f1 import Interval, difference, f1_figures
from streamtag.model.training.held_out import masked_figures

KINDS = ("independent", "chain", "embedding", "pairwise", "two_stage")


class PatternFigures(msgspec.Struct, frozen=True):
    """One pattern on the test rows.

    Attributes:
        micro_f1, macro_f1: at the default cut-offs, with 95 % intervals.
        micro_f1_gain, macro_f1_gain: above the independent head, paired, with 95 % intervals.
        mean_roc_auc, mean_average_precision, mean_ece: over labels.
    """

    micro_f1: Interval
    macro_f1: Interval
    micro_f1_gain: Interval
    macro_f1_gain: Interval
    mean_roc_auc: float | None
    mean_average_precision: float | None
    mean_ece: float


class Comparison(msgspec.Struct, frozen=True):
    """All patterns; ``rows`` and ``groups`` of the test, ``best`` by macro F1."""

    rows: int
    groups: int
    best: str
    patterns: dict[str, PatternFigures]


def compare_patterns(
    config: TrainConfig, data: Path, watcher: Watcher, pretrained: Encoder | None = None
) -> Comparison:
    """Fits what comes before the heads once, each head on it, and measures the graphs that would serve."""
    prepared = prepare(config, data, watcher, pretrained)
    places = np.flatnonzero(prepared.split.test)
    rows = prepared.gathered.rows
    texts, targets = [rows.texts[i] for i in places.tolist()], rows.targets[places]
    groups = [str(group) for group in prepared.split.groups[places].tolist()]
    draft = Records(config.name, config.version, config.description)
    found: dict[str, PatternFigures] = {}
    plain = None
    for kind in KINDS:
        watcher.stage(f"head: {kind}", 0)
        fitted = finish(config, prepared, config.head.model_copy(update={"kind": kind}))
        scores = as_scorer(fitted, draft).score(texts)
        tagged = scores >= np.array([label.threshold for label in fitted.labels], dtype=np.float32)
        plain = tagged if plain is None else plain
        f1 = f1_figures(config.label_ids, tagged, targets, groups)
        gain = difference(tagged, plain, targets, groups)
        figures = masked_figures(config.label_ids, scores, targets)
        found[kind] = PatternFigures(
            f1.micro,
            f1.macro,
            gain["micro"],
            gain["macro"],
            figures.mean_roc_auc,
            figures.mean_average_precision,
            figures.mean_ece,
        )
    best = max(found, key=lambda kind: found[kind].macro_f1.value)
    return Comparison(len(places), len(set(groups)), best, found)
