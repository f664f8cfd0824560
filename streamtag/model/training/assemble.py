"""Puts a fitted linear model and its records together as a bundle, with fixtures of its own scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.domain.release import BundleRef
from streamtag.model.bundle import Bundle, array_bytes, write_bundle
from streamtag.model.contracts.combined import CombinedContract
from streamtag.model.contracts.registry import Contract
from streamtag.model.manifest import (
    BUCKETS,
    IDF,
    MODEL,
    PARITY,
    SCHEMA_VERSION,
    Batching,
    Calibration,
    Label,
    Manifest,
    OrtOptions,
    Parity,
    dump,
)
from streamtag.model.ngrams import NgramContract
from streamtag.model.parity import TOLERANCE, make_parity
from streamtag.model.scorer import Scorer
from streamtag.model.training.encoder.beside import Beside
from streamtag.model.training.graph import build_graph
from streamtag.model.training.heads import Head

_DEEP_TOLERANCE = 1e-4
"""Of fixtures: processors differ in the last bits of every sum, and here sums of sums of sums are added up."""

_DEEP_ROWS = 4
"""Texts in a run of an encoder: more are not faster, take more memory, and make the gates take seconds."""


@dataclass(frozen=True)
class Fitted:
    """A linear model over hashed n-grams, calibrated.

    Attributes:
        labels: in column order, with default thresholds.
        contract: preprocessing it was fitted under.
        buckets: uint32 [n], ascending.
        idf: uint16 [n], in units of 1/256.
        coefficients: float32 [n, labels], IDF multiplied in; one row more for each feature that is no n-gram.
        bias: float32 [labels].
        calibration: per label.
        head: between margins and calibration; None: every label for itself.
        half: coefficients are kept in float16.
        beside: an encoder, whose logits are mixed into the margins.
    """

    labels: Sequence[Label]
    contract: NgramContract
    buckets: NDArray[np.uint32]
    idf: NDArray[np.uint16]
    coefficients: NDArray[np.float32]
    bias: NDArray[np.float32]
    calibration: Sequence[Calibration]
    head: Head | None = None
    half: bool = False
    beside: Beside | None = None

    @property
    def preprocessing(self) -> Contract:
        """Of all that the graph reads."""
        return self.contract if self.beside is None else CombinedContract([self.beside.contract, self.contract])


@dataclass(frozen=True)
class Records:
    """What the manifest keeps beside the model."""

    name: str
    version: str
    description: str
    training: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)


def as_scorer(fitted: Fitted, records: Records, *, batch: int = 64) -> Scorer:
    """The model as it will serve, before it is written: what is evaluated is the graph, not the training code."""
    manifest = _manifest(fitted, records)
    ref = BundleRef(records.name, records.version, "0" * 64)
    model = build_graph(
        fitted.coefficients,
        fitted.bias,
        fitted.calibration,
        fitted.head,
        half=fitted.half,
        beside=fitted.beside,
    )
    return Scorer(Bundle(Path(), ref, manifest, _tables(fitted), Parity(TOLERANCE, []), model), batch=batch)


def write_model(directory: Path, fitted: Fitted, records: Records) -> Path:
    """Writes the bundle below ``directory`` and returns its path. Equal arguments give equal bytes.

    Raises:
        BundleError: when this version exists there with other content.
    """
    scorer = as_scorer(fitted, records)
    files = {
        MODEL: scorer.bundle.model,
        **scorer.bundle.contents,
        PARITY: dump(make_parity(scorer, tolerance=TOLERANCE if fitted.beside is None else _DEEP_TOLERANCE)),
    }
    return write_bundle(directory, scorer.bundle.manifest, files)


def _tables(fitted: Fitted) -> dict[str, bytes]:
    beside = {} if fitted.beside is None else fitted.beside.files
    return {BUCKETS: array_bytes(fitted.buckets), IDF: array_bytes(fitted.idf), **beside}


def _manifest(fitted: Fitted, records: Records) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=records.name,
        version=records.version,
        description=records.description,
        labels=list(fitted.labels),
        preprocessing=fitted.preprocessing,
        calibration=list(fitted.calibration),
        ort=OrtOptions(),
        batching=None if fitted.beside is None else Batching(max_rows=_DEEP_ROWS),
        files={},
        training=msgspec.to_builtins(dict(records.training)),
        evaluation=msgspec.to_builtins(dict(records.evaluation)),
    )
