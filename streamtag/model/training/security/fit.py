"""The bundle ``security``: words of rendered events, logistic regression on all labels at once, reproducibly.

1. Rule files and techniques are groups; of each label's groups a share is held out (`stratify`).
2. The words of the training rows are ranked by a first fit; the model is fitted anew on the best.
3. Folds by group, steps 2 within each, give every training row a margin from a model that never saw its group. On those
   Platt's calibration is fitted and the default cut-off found.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from streamtag import strict_yaml
from streamtag.errors import RefusedError
from streamtag.model.manifest import Calibration
from streamtag.model.training.calibrate import calibrate
from streamtag.model.training.readers.security_labels import LABELS, TACTICS
from streamtag.model.training.rows import Rows
from streamtag.model.training.security.joint import LinearModel, fit_joint, importance
from streamtag.model.training.security.word_matrix import WordCounts, weigh
from streamtag.model.training.split import unit_hash
from streamtag.model.training.stratify import hold_out_groups

Report = Callable[[str], None]
PARTS: Mapping[str, slice] = {"tactics": slice(0, len(TACTICS)), "web": slice(len(TACTICS), len(LABELS))}
"""Labels that are measured on sources of their own."""


class SecurityConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every choice of the training; kept in the manifest.

    Attributes:
        name, description: of the bundle.
        sets: folder to the share of its rows that is read, by hash.
        measured: part of the labels to the sources that are held out, calibrated on and measured.
        test_share: of each label's groups to hold out.
        folds: of the training groups, for calibration.
        salt: names the split and the folds.
        rarest: fewest training rows that a word must stand in.
        candidates: words that the first fit sees.
        words: that the model keeps.
        strength, iterations: as of `fit_joint`.
    """

    name: str
    description: str
    sets: dict[str, float]
    measured: dict[str, list[str]]
    test_share: float
    folds: int
    salt: str
    rarest: int
    candidates: int
    words: int
    strength: float
    iterations: int


@dataclass(frozen=True)
class Trained:
    """A fitted, calibrated model and what it must not be measured on.

    Attributes:
        words: uint32 [n], ascending: hashes of the words it keeps.
        idf: uint16 [n], in units of 1/256.
        model: over the words, IDF multiplied in.
        calibration: per label.
        thresholds: default cut-off per label.
        test: bool [rows], held out.
        train: bool [rows].
    """

    words: NDArray[np.uint32]
    idf: NDArray[np.uint16]
    model: LinearModel
    calibration: list[Calibration]
    thresholds: list[float]
    test: NDArray[np.bool_]
    train: NDArray[np.bool_]


def read_config(file: Path) -> SecurityConfig:
    """The configuration in a YAML file.

    Raises:
        RefusedError: not such a configuration; says where.
    """
    try:
        config = msgspec.convert(strict_yaml.load(file.read_text(encoding="utf-8")), SecurityConfig)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise RefusedError(f"{file} is no configuration of a security bundle", problems=[str(error)]) from None
    found = [f"measured.{part}: known are {', '.join(PARTS)}" for part in config.measured if part not in PARTS]
    found += [f"measured: lacks {part}" for part in PARTS if part not in config.measured]
    found += [f"sets.{name}: {share} is outside 0 … 1" for name, share in config.sets.items() if not 0 < share <= 1]
    if not 0 < config.test_share < 1:
        found.append(f"test_share: {config.test_share} is outside 0 … 1")
    if config.folds < 2:
        found.append(f"folds: {config.folds}; at least 2")
    if min(config.rarest, config.candidates, config.words, config.iterations) < 1 or config.strength <= 0:
        found.append("rarest, candidates, words, iterations, strength: must be positive")
    if found:
        raise RefusedError(f"{file} is no configuration of a security bundle", problems=found)
    return config


def measured_rows(rows: Rows, config: SecurityConfig, part: str) -> NDArray[np.bool_]:
    """Rows of the sources that a part of the labels is measured on, bool [rows]."""
    return np.isin(np.array(rows.source), config.measured[part])


def held_out(rows: Rows, config: SecurityConfig) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Test rows and training rows, bool [rows] each; the other views of a test group are in neither."""
    groups = np.array(rows.group)
    test = np.zeros(len(groups), dtype=np.bool_)
    for part, labels in PARTS.items():
        own = np.flatnonzero(measured_rows(rows, config, part))
        chosen = hold_out_groups(
            groups[own].tolist(), rows.targets[own, labels], share=config.test_share, salt=config.salt
        )
        test[own[chosen]] = True
    return test, ~np.isin(groups, groups[test])


def train_security(rows: Rows, counts: WordCounts, config: SecurityConfig, report: Report) -> Trained:
    """Fits, calibrates and finds cut-offs.

    Args:
        rows: labelled documents of all sets.
        counts: their words.
        config: all choices.
        report: is told what is being done.
    """
    with threadpool_limits(1):  # sums of several threads have no fixed order
        test, train = held_out(rows, config)
        report(f"{train.sum()} rows to train, {test.sum()} to test")
        margins = _out_of_fold_margins(rows, counts, train, config, report)
        report("fit on all training rows")
        words, idf, model = _fit(counts, rows.targets, train, config)
        calibration, thresholds = [], []
        for part, labels in PARTS.items():
            use = train & measured_rows(rows, config, part)
            for j in range(labels.start, labels.stop):
                known = use & (rows.targets[:, j] >= 0)
                entry, threshold = calibrated(LABELS[j], margins[known, j], rows.targets[known, j])
                calibration.append(entry)
                thresholds.append(threshold)
    return Trained(words, idf, model, calibration, thresholds, test, train)


def calibrated(label: str, margin: NDArray[np.float64], target: NDArray[np.int8]) -> tuple[Calibration, float]:
    """Calibration and default cut-off of one label from margins of models that never saw the rows' groups.

    The cut-off is the one with the highest F1 among those that tag at most twice as many rows as there are positives:
    with few groups F1 alone may find its top where nearly everything is tagged.
    """
    entry = calibrate(label, margin, target)
    logit = entry.a * margin + entry.hinge * np.maximum(margin, 0) + entry.b
    order = np.argsort(-logit, kind="stable")
    positives = int((target > 0).sum())
    tagged = np.arange(1, len(order) + 1)
    f1 = 2 * np.cumsum(target[order] > 0) / (tagged + positives)
    f1[tagged > 2 * max(1, positives)] = 0
    best = int(np.argmax(f1))
    between = logit[order[best : best + 2]].mean()
    return entry, float(np.clip(np.round(1 / (1 + np.exp(-between)), 4), 0.001, 0.999))


def _out_of_fold_margins(
    rows: Rows, counts: WordCounts, train: NDArray[np.bool_], config: SecurityConfig, report: Report
) -> NDArray[np.float64]:
    """Margins of the training rows by models that never saw their group, float64 [rows, labels]."""
    assert rows.group is not None
    fold = (unit_hash(rows.group, config.salt + "/folds") * config.folds).astype(np.intp)
    margins = np.zeros(rows.targets.shape)
    for k in range(config.folds):
        report(f"fold {k + 1} of {config.folds}")
        words, idf, model = _fit(counts, rows.targets, train & (fold != k), config)
        out = train & (fold == k)
        margins[out] = model.margins(weigh(counts.take(out), words, idf))
    return margins


def _fit(
    counts: WordCounts, targets: NDArray[np.int8], use: NDArray[np.bool_], config: SecurityConfig
) -> tuple[NDArray[np.uint32], NDArray[np.uint16], LinearModel]:
    """Words, their IDF, and a model over them, from the rows in ``use``."""
    own, known = counts.take(use), targets[use]
    words, idf = own.vocabulary(config.rarest)
    words, idf = _telling(own, known, words, idf, config.candidates)
    matrix = weigh(own, words, idf)
    first = fit_joint(matrix, known, strength=config.strength, iterations=config.iterations)
    kept = _best(importance(first, matrix), config.words)
    words, idf = words[kept], idf[kept]
    return words, idf, fit_joint(weigh(own, words, idf), known, strength=config.strength, iterations=config.iterations)


def _telling(
    counts: WordCounts, targets: NDArray[np.int8], words: NDArray[np.uint32], idf: NDArray[np.uint16], most: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """The words whose share of a label's rows differs most from what chance would give, by chi-squared."""
    if len(words) <= most:
        return words, idf
    matrix: csr_matrix = weigh(counts, words, idf)
    best = np.zeros(len(words))
    for j in range(targets.shape[1]):
        known = targets[:, j] >= 0
        yes = (targets[:, j] > 0).astype(np.float32)
        expected = float(yes.sum()) / max(1, int(known.sum())) * (known.astype(np.float32) @ matrix)
        score = np.square(yes @ matrix - expected) / np.maximum(expected, 1e-3)
        best = np.maximum(best, score / max(1e-9, float(score.sum())))
    kept = _best(best, most)
    return words[kept], idf[kept]


def _best(value: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """Places of the largest values, ascending."""
    return np.sort(np.argsort(-value, kind="stable")[:most])


def take_rows(rows: Rows, use: NDArray[np.bool_]) -> Rows:
    """Some rows."""
    kept = np.flatnonzero(use).tolist()

    def of(column: Sequence[str]) -> tuple[str, ...]:
        return tuple(column[i] for i in kept)

    return Rows(
        rows.labels,
        of(rows.ids),
        of(rows.texts),
        rows.targets[use],
        rows.natural[use],
        of(rows.source),
        of(rows.language),
        of(rows.split),
        group=None if rows.group is None else of(rows.group),
    )
