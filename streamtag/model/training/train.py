"""The recipe of the shipped bundle: from labelled comments to a calibrated linear model, reproducibly.

1. Near-duplicates form groups; a hash of the group holds out natural-rate rows for the test.
2. Logistic regression on all hash buckets says which matter; the model is fitted anew on those alone.
3. Five folds of the training rows, steps 2 within each, give every row a margin from a model that never saw it. On
   the natural-rate ones the regularisation is chosen, Platt's calibration fitted and the default cut-off found.
"""

import importlib.metadata
import platform
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from streamtag.model.manifest import Calibration, Label
from streamtag.model.ngrams import IDF_UNIT, NgramContract
from streamtag.model.training.assemble import Fitted
from streamtag.model.training.calibrate import calibrate, good_f1_threshold, log_loss, probability
from streamtag.model.training.data import Dataset
from streamtag.model.training.logistic import Linear, fit_logistic, importance
from streamtag.model.training.matrix import count_matrix, inverse_document_frequency
from streamtag.model.training.split import Split, duplicate_groups, group_names, split_rows, unit_hash

Report = Callable[[str], None]


class Recipe(msgspec.Struct, frozen=True):
    """Every choice of the training; kept in the manifest.

    Attributes:
        contract: preprocessing.
        buckets: how many the model keeps.
        test_share: of natural-rate groups held out.
        folds: of the training rows, for calibration.
        salt: names the split and the folds.
        select_strength, select_iterations: regularisation and iterations of the plain model that ranks the buckets.
        smoothing: of the log-count ratios that scale the features of the final model.
        strengths: its regularisations to choose from, per label.
        iterations: of L-BFGS, at most.
        f1_within: the default cut-off is the lowest with an F1 within this share of the best.
    """

    contract: NgramContract = NgramContract()
    buckets: int = 8_192
    test_share: float = 0.3
    folds: int = 5
    salt: str = "moderation/1"
    select_strength: float = 4.0
    select_iterations: int = 30
    smoothing: float = 1.0
    strengths: tuple[float, ...] = (1.0, 2.0, 4.0)
    iterations: int = 60
    f1_within: float = 0.01


@dataclass(frozen=True)
class Selected:
    """Rows of the training data on the buckets a model keeps."""

    buckets: NDArray[np.uint32]
    idf: NDArray[np.uint16]
    rows: csr_matrix


def train(data: Dataset, labels: Sequence[Label], recipe: Recipe, report: Report) -> tuple[Fitted, Split]:
    """Fits the model; ``labels`` come back with their default thresholds."""
    with threadpool_limits(1):  # sums of several threads have no fixed order
        split = split_dataset(data, recipe, report)
        train_rows = np.flatnonzero(split.train)
        texts = [data.texts[i] for i in train_rows.tolist()]
        targets = data.targets[train_rows]
        natural = data.natural[train_rows]
        names = group_names([data.ids[i] for i in train_rows.tolist()], split.groups[train_rows])
        margins = _out_of_fold_margins(texts, targets, names, recipe, report)
        report(f"fit on all {len(texts)} training rows")
        everything = np.ones(len(texts), dtype=np.bool_)
        selected = _select(texts, targets, everything, recipe)
        fitted = []
        for j, label in enumerate(labels):
            strength, calibration, threshold = _calibrate(label.id, margins[:, j, natural], targets[natural, j], recipe)
            report(f"  {label.id}: C {strength:g}, threshold {threshold:g}")
            model = _fit(selected.rows, targets[:, j], strength, recipe)
            fitted.append((msgspec.structs.replace(label, threshold=threshold), calibration, model))
    return _assemble(fitted, selected, recipe), split


def split_dataset(data: Dataset, recipe: Recipe, report: Report) -> Split:
    """The same split whenever data and recipe are the same."""
    report(f"group near-duplicates among {len(data)} rows")
    groups = duplicate_groups(_all_buckets(data.texts, recipe.contract))
    split = split_rows(data.ids, data.natural, groups, share=recipe.test_share, salt=recipe.salt)
    report(f"  {len(np.unique(groups))} groups; {split.train.sum()} rows to train, {split.test.sum()} to test")
    return split


def environment(*more: str) -> dict[str, Any]:
    """Versions that the bits of a trained bundle can depend on; ``more`` are packages beside the usual ones."""
    packages = ("numpy", "scipy", "scikit-learn", "onnx", "onnxruntime", *more)
    return {
        "python": platform.python_version(),
        "unicode": unicodedata.unidata_version,
        "machine": platform.machine(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def _all_buckets(texts: Sequence[str], contract: NgramContract, idf: NDArray[np.uint16] | None = None) -> csr_matrix:
    n = 1 << contract.bits
    even = np.full(n, IDF_UNIT, dtype=np.uint16)
    return count_matrix(contract, texts, buckets=np.arange(n, dtype=np.uint32), idf=even if idf is None else idf)


def _fit(rows: csr_matrix, target: NDArray[np.int8], strength: float, recipe: Recipe) -> Linear:
    return fit_logistic(rows, target, strength=strength, smoothing=recipe.smoothing, iterations=recipe.iterations)


def _select(texts: Sequence[str], targets: NDArray[np.int8], use: NDArray[np.bool_], recipe: Recipe) -> Selected:
    """Ranks buckets by a model fitted on the rows in ``use``; returns *all* rows on the best of them."""
    used = [texts[i] for i in np.flatnonzero(use).tolist()]
    idf = inverse_document_frequency(_all_buckets(used, recipe.contract))
    rows = _all_buckets(used, recipe.contract, idf)
    # Unscaled: ranked under the log-count ratios, rare buckets crowd out those that generalise.
    models = [
        fit_logistic(
            rows,
            targets[use, j],
            strength=recipe.select_strength,
            smoothing=None,
            iterations=recipe.select_iterations,
        )
        for j in range(targets.shape[1])
    ]
    ranked = np.argsort(-importance(models, rows), kind="stable")
    buckets = np.sort(ranked[: recipe.buckets]).astype(np.uint32)
    kept = idf[buckets]
    return Selected(buckets, kept, count_matrix(recipe.contract, texts, buckets=buckets, idf=kept))


def _out_of_fold_margins(
    texts: Sequence[str], targets: NDArray[np.int8], names: Sequence[str], recipe: Recipe, report: Report
) -> NDArray[np.float64]:
    """Margins of every row by a model that saw neither it nor its likes, float64 [strengths, labels, rows]."""
    fold = (unit_hash(names, recipe.salt + "/folds") * recipe.folds).astype(np.intp)
    margins = np.zeros((len(recipe.strengths), targets.shape[1], len(texts)))
    for k in range(recipe.folds):
        report(f"fold {k + 1} of {recipe.folds}")
        use = fold != k
        selected = _select(texts, targets, use, recipe)
        inside, outside = selected.rows[use], selected.rows[~use]
        for s, strength in enumerate(recipe.strengths):
            for j in range(targets.shape[1]):
                model = _fit(inside, targets[use, j], strength, recipe)
                margins[s, j, ~use] = model.margin(outside)
    return margins


def _calibrate(
    label: str, margins: NDArray[np.float64], target: NDArray[np.int8], recipe: Recipe
) -> tuple[float, Calibration, float]:
    """Strength, calibration and default cut-off of one label.

    Args:
        label: its id.
        margins: float64 [strengths, rows], out of fold, natural-rate rows only.
        target: int8 [rows].
        recipe: names the strengths.
    """
    tried = []
    for strength, margin in zip(recipe.strengths, margins, strict=True):
        calibration = calibrate(label, margin, target)
        probabilities = probability(calibration, margin)
        tried.append((log_loss(probabilities, target), strength, calibration, probabilities))
    _, strength, calibration, probabilities = min(tried, key=lambda entry: entry[:2])
    return strength, calibration, good_f1_threshold(probabilities, target, within=recipe.f1_within)


def _assemble(fitted: Sequence[tuple[Label, Calibration, Linear]], selected: Selected, recipe: Recipe) -> Fitted:
    weights = np.stack([model.weights for _, _, model in fitted], axis=1)
    return Fitted(
        labels=[label for label, _, _ in fitted],
        contract=recipe.contract,
        buckets=selected.buckets,
        idf=selected.idf,
        coefficients=weights * (selected.idf / np.float32(IDF_UNIT)).astype(np.float32)[:, None],
        bias=np.array([model.bias for _, _, model in fitted], dtype=np.float32),
        calibration=[calibration for _, calibration, _ in fitted],
    )
