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
from streamtag.model.manifest import (
    BUCKETS,
    IDF,
    MODEL,
    PARITY,
    SCHEMA_VERSION,
    Calibration,
    Fixture,
    Label,
    Manifest,
    OrtOptions,
    Parity,
    dump,
)
from streamtag.model.ngrams import NgramContract
from streamtag.model.scorer import Scorer
from streamtag.model.training.graph import build_graph
from streamtag.model.training.heads import Head

TOLERANCE = 1e-5
"""Of the parity fixtures: ten of the millionths that scores are compared in."""

# Harmless on purpose, and written for this file: many scripts, lookalikes, invisible characters, extremes of length.
PARITY_TEXTS = (
    "",
    " ",
    "a",
    "?!",
    "Thanks for the quick review, I will fix the typo in the second paragraph tonight.",
    "The museum opens at nine; tickets are cheaper online. See https://example.org/tickets?day=3&lang=en",
    "ARE YOU COMING TO THE MATCH ON SATURDAY???",
    "line one\nline two\ttabbed\r\nline three",
    "Grüße aus Köln: schöne Straßen, süße Brötchen.",
    "Ελληνικά, русский язык, 日本語のテキスト, 한국어, العربية, עברית, हिन्दी, ไทย",
    "𝓕𝓪𝓷𝓬𝔂 𝕝𝕖𝕥𝕥𝕖𝕣𝕤 and ｆｕｌｌ ｗｉｄｔｈ",
    "zero\u200bwidth\u200d and soft\u00adhyphen and \ufeffmark",
    "mixеd sсripts in оne sentеnce",
    "e\u0301te\u0301 n\u0303 a\u0336b\u0336c\u0336",
    "👍🏽 great job 🎉🎉🎉",
    "la " * 40,
    "The committee met on Tuesday to discuss the new timetable for the ferry between the two islands. " * 40,
)


@dataclass(frozen=True)
class Fitted:
    """A linear model over hashed n-grams, calibrated.

    Attributes:
        labels: in column order, with default thresholds.
        contract: preprocessing it was fitted under.
        buckets: uint32 [n], ascending.
        idf: uint16 [n], in units of 1/256.
        coefficients: float32 [n, labels], IDF multiplied in.
        bias: float32 [labels].
        calibration: per label.
        head: between margins and calibration; None: every label for itself.
    """

    labels: Sequence[Label]
    contract: NgramContract
    buckets: NDArray[np.uint32]
    idf: NDArray[np.uint16]
    coefficients: NDArray[np.float32]
    bias: NDArray[np.float32]
    calibration: Sequence[Calibration]
    head: Head | None = None


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
    model = build_graph(fitted.coefficients, fitted.bias, fitted.calibration, fitted.head)
    return Scorer(Bundle(Path(), ref, manifest, fitted.buckets, fitted.idf, Parity(TOLERANCE, []), model), batch=batch)


def write_model(directory: Path, fitted: Fitted, records: Records) -> Path:
    """Writes the bundle below ``directory`` and returns its path. Equal arguments give equal bytes.

    Raises:
        BundleError: when this version exists there with other content.
    """
    scorer = as_scorer(fitted, records)
    scores = scorer.score(PARITY_TEXTS)
    fixtures = [
        Fixture(text, [round(float(score), 9) for score in row]) for text, row in zip(PARITY_TEXTS, scores, strict=True)
    ]
    files = {
        MODEL: scorer.bundle.model,
        BUCKETS: array_bytes(fitted.buckets),
        IDF: array_bytes(fitted.idf),
        PARITY: dump(Parity(TOLERANCE, fixtures)),
    }
    return write_bundle(directory, scorer.bundle.manifest, files)


def _manifest(fitted: Fitted, records: Records) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=records.name,
        version=records.version,
        description=records.description,
        labels=list(fitted.labels),
        preprocessing=fitted.contract,
        calibration=list(fitted.calibration),
        ort=OrtOptions(),
        files={},
        training=msgspec.to_builtins(dict(records.training)),
        evaluation=msgspec.to_builtins(dict(records.evaluation)),
    )
