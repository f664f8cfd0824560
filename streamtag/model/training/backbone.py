"""The linear model that every head stands on: hashed n-grams, selected, weighed and fitted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack

from streamtag.model.featurisers import CONTRACTS, make_featuriser
from streamtag.model.ngrams import IDF_UNIT, NgramContract
from streamtag.model.training.config import FeatureConfig, LossConfig
from streamtag.model.training.masked import Fit, LinearModel, Progress, fit_masked, importance
from streamtag.model.training.matrix import count_matrix, inverse_document_frequency


@dataclass(frozen=True)
class Material:
    """What a model is fitted on.

    Attributes:
        counts: float32 [rows, 2**bits], log-TF of every n-gram, rows of any length.
        targets: int8 [rows, labels]; -1 is unknown.
        weight: float32 [rows], of a row in the loss.
        source: intp [rows], number of its set.
        more: float32 [rows, features], what the contract gives beside n-grams.
    """

    counts: csr_matrix
    targets: NDArray[np.int8]
    weight: NDArray[np.float32]
    source: NDArray[np.intp]
    more: NDArray[np.float32]


@dataclass(frozen=True)
class Backbone:
    """A fitted linear model.

    Attributes:
        buckets: uint32 [features], ascending.
        idf: uint16 [features], in units of 1/256.
        model: over rows as `weigh` gives them.
    """

    buckets: NDArray[np.uint32]
    idf: NDArray[np.uint16]
    model: LinearModel

    def margins(self, counts: csr_matrix) -> NDArray[np.float64]:
        """z, float64 [rows, labels]."""
        return self.model.margins(weigh(counts, self.buckets, self.idf))


def contract_of(features: FeatureConfig) -> NgramContract:
    """The preprocessing that a configuration asks for."""
    return CONTRACTS[features.contract](bits=features.bits)


def count_all(contract: NgramContract, texts: list[str]) -> csr_matrix:
    """Every n-gram of ``texts``, float32 [texts, 2**bits]: once, for every fold and selection to draw from."""
    n = 1 << contract.bits
    even = np.full(n, IDF_UNIT, dtype=np.uint16)
    return count_matrix(contract, texts, buckets=np.arange(n, dtype=np.uint32), idf=even)


def more_features(contract: NgramContract, texts: list[str]) -> NDArray[np.float32]:
    """What the contract gives beside n-grams, float32 [texts, features]."""
    featuriser = make_featuriser(contract, np.zeros(1, dtype=np.uint32), np.full(1, IDF_UNIT, dtype=np.uint16))
    return featuriser.more(featuriser.encode_all(texts))


def weigh(counts: csr_matrix, buckets: NDArray[np.uint32], idf: NDArray[np.uint16]) -> csr_matrix:
    """Rows as the contract will weigh them when it knows only ``buckets``: log-TF x IDF, of length 1."""
    place = np.full(counts.shape[1], -1, dtype=np.int32)
    place[buckets] = np.arange(len(buckets), dtype=np.int32)
    columns = place[counts.indices]
    kept = columns >= 0
    ends = np.concatenate([[0], np.cumsum(kept)])[counts.indptr]
    columns = columns[kept]
    values = counts.data[kept] * (idf / np.float32(IDF_UNIT)).astype(np.float32)[columns]
    shape = (counts.shape[0], len(buckets))
    rows = csr_matrix((values, columns, ends), shape=shape)  # type: ignore[no-untyped-call]
    squared = np.concatenate([[0.0], np.cumsum(np.square(values, dtype=np.float64))])
    length = np.sqrt(np.diff(squared[ends]))
    rows.data /= np.where(length > 0, length, 1).astype(np.float32).repeat(np.diff(rows.indptr))
    return rows


def fit_backbone(
    material: Material,
    use: NDArray[np.bool_],
    features: FeatureConfig,
    losses: Sequence[LossConfig],
    progress: Progress = lambda: None,
) -> Backbone:
    """Selects and fits on the rows in ``use``, bool [rows], alone; the mean of one model per loss.

    Sets differ in what they take for a label and in how often it occurs: each set but the first has a bias of its own
    per label, which takes part in the fit and is then dropped. The first is the one that the model shall speak for.
    """
    counts = material.counts[use]
    targets, source = material.targets[use], material.source[use]
    idf = inverse_document_frequency(counts)
    often = np.bincount(counts.indices, minlength=counts.shape[1]) >= features.min_documents
    buckets = np.flatnonzero(often).astype(np.uint32)
    if features.buckets is not None and len(buckets) > features.buckets:
        # Unscaled: ranked under the log-count ratios, rare buckets crowd out those that generalise.
        how = Fit(features.select_strength, iterations=features.select_iterations)
        rows = weigh(counts, buckets, idf[buckets])
        weights = cell_weights(targets, material.weight[use], losses[0].class_weight)
        ranking = fit_masked(_with_sources(rows, source), targets, weights, how, progress)
        plain = LinearModel(ranking.weights[: len(buckets)], ranking.bias)
        ranked = np.argsort(-importance(plain, rows), kind="stable")
        buckets = np.sort(buckets[ranked[: features.buckets]])
        del rows
    rows = weigh(counts, buckets, idf[buckets])
    models = []
    for loss in losses:
        how = Fit(loss.strength, loss.smoothing, loss.focus, loss.iterations)
        weights = cell_weights(targets, material.weight[use], loss.class_weight)
        fitted = fit_masked(_with_sources(rows, source), targets, weights, how, progress)
        models.append(LinearModel(fitted.weights[: len(buckets)], fitted.bias))
    return Backbone(buckets, idf[buckets], models[0] if len(models) == 1 else _mean(models, rows))


def _mean(models: Sequence[LinearModel], rows: csr_matrix) -> LinearModel:
    """The mean of models that each are measured by the spread of their margins on ``rows``, per label."""
    spreads = [np.maximum(model.margins(rows).std(axis=0), 1e-9) for model in models]
    share = np.mean(spreads, axis=0) / len(models)  # so that margins keep their usual size
    weights = sum(model.weights * (share / spread) for model, spread in zip(models, spreads, strict=True))
    bias = sum(model.bias * (share / spread) for model, spread in zip(models, spreads, strict=True))
    return LinearModel(np.asarray(weights, dtype=np.float32), np.asarray(bias, dtype=np.float64))


def cell_weights(targets: NDArray[np.int8], weight: NDArray[np.float32], class_weight: str) -> NDArray[np.float32]:
    """Weight of each cell in the loss, float32 [rows, labels]: the row's, and more for positives of rare labels."""
    cells = np.repeat(weight[:, None], targets.shape[1], axis=1)
    if class_weight == "none":
        return cells
    positives = np.maximum(1, (targets == 1).sum(axis=0))
    ratio = np.maximum(1, (targets == 0).sum(axis=0)) / positives
    factor = (np.sqrt(ratio) if class_weight == "root" else ratio).astype(np.float32)
    return np.where(targets == 1, cells * factor, cells)


def _with_sources(rows: csr_matrix, source: NDArray[np.intp]) -> csr_matrix:
    others = int(source.max(initial=0))
    if others == 0:
        return rows
    shape = (len(source), others)
    marks = source[:, None] == np.arange(1, others + 1)
    return csr_matrix(hstack([rows, csr_matrix(marks.astype(np.float32), shape=shape)]), dtype=np.float32)  # type: ignore[no-untyped-call]
