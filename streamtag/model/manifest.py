"""``manifest.json`` of a bundle: what the model says, how it is fed, and the hash of every other file."""

from typing import Any, Literal

import msgspec

from streamtag.events.content import FeatureValue
from streamtag.model.contracts.hashed_ngrams import HashedNgrams
from streamtag.model.contracts.registry import Contract

SCHEMA_VERSION = 1
MANIFEST, MODEL, PARITY = "manifest.json", "model.onnx", "parity.json"
BUCKETS, IDF = HashedNgrams.files
STAGE2 = "stage2."
"""Prefix of the files of a second stage, its manifest among them."""
REQUIRED = (MODEL, PARITY)
"""Files of every bundle; its preprocessing contract has more."""


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One label; its place in the list is its column in the scores.

    Attributes:
        id: stable name, never reused for another meaning.
        description: what it means, for people.
        threshold: default cut-off, at most six decimals.
        critical: whether a miss of it is worse than a false alarm.
    """

    id: str
    description: str
    threshold: float
    critical: bool = False


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Identity of one file of the bundle; ``sha256`` in lower-case hex, ``size`` in bytes."""

    sha256: str
    size: int


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one label's margin z becomes a probability: ``sigmoid(a z + hinge max(z, 0) + b)``.

    The graph does it; this says so.

    Attributes:
        label: its id.
        method: ``platt`` (no hinge), or ``hinged-platt``: a slope of its own on either side of z = 0.
        a, b, hinge: slope, intercept, and what is added to the slope above 0.
        rows, positives: what they were fitted on.
    """

    label: str
    method: Literal["platt", "hinged-platt"]
    a: float
    b: float
    rows: int
    positives: int
    hinge: float = 0.0


class Curve(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one label was recalibrated: a piecewise linear, rising function from logit to logit. The graph does it.

    Attributes:
        label: its id.
        method: how it was fitted; ``kept``: the scores of the label are as they were.
        xs, ys: its knots, by rising x.
        low, high: its slopes before the first knot and after the last.
        rows, positives: what it was fitted on.
        why: it was kept.
    """

    label: str
    method: Literal["kept", "temperature", "platt", "isotonic"]
    xs: list[float]
    ys: list[float]
    low: float
    high: float
    rows: int
    positives: int
    why: str = ""

    @property
    def kept(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "kept"


class Recalibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One recalibration on recent truth.

    Attributes:
        name, version, sha256: of the bundle whose scores were recalibrated.
        labels_sha256: of the file of labelled documents.
        rows: in that file.
        curves: one per label, in their order.
    """

    name: str
    version: str
    sha256: str
    labels_sha256: str
    rows: int
    curves: list[Curve]


class OrtOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of the onnxruntime session.

    One thread and no spinning: workers scale by processes. Arena and memory pattern keep the memory of the largest
    batch for each shape met; with batches of any length that only grows.
    """

    intra_op_num_threads: int = 1
    inter_op_num_threads: int = 1
    allow_spinning: bool = False
    cpu_mem_arena: bool = False
    mem_pattern: bool = False


class Batching(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many documents a run of the graph takes.

    A graph may want exactly so many (its first axis is a constant), or give a document other bits alone than in
    company: a library multiplies a single row by another routine.

    Attributes:
        min_rows: a smaller run is filled up with copies of its documents.
        max_rows: at most; None: as many as `model.batch` says.
    """

    min_rows: int = 1
    max_rows: int | None = None


class Band(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where one label's score of stage 1 is not trusted; both ends, at most six decimals, belong to it."""

    label: str
    low: float
    high: float


class StageBundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bundle that became stage 2: its name, version, and the hash of its manifest."""

    name: str
    version: str
    sha256: str


class Stage2(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second, better and slower model of the same labels, for the events that the first is unsure of.

    Its files lie in the same directory under `STAGE2` and their own name.

    Attributes:
        bundle: where it comes from.
        bands: an event with a score in any of them goes to stage 2; a label without a band sends none.
        sample: share of events, by a hash of them, that go whatever their scores, so that the bands can be judged.
    """

    bundle: StageBundle
    bands: list[Band]
    sample: float


# Defaults are left out of the document: bundles that know nothing of a newer field keep their hash.
class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All of ``manifest.json``. Its own hash is the identity of the bundle.

    Attributes:
        schema_version: of this document.
        name, version: of the bundle; a version is never changed once released.
        description: for people.
        labels: in the order of the score columns.
        preprocessing: contract between documents and model inputs.
        calibration: one entry per label, in the same order; empty: the scores are the graph's own.
        ort: session options.
        files: file name to identity, for every file but this one.
        training: record of how it was made: data files and their hashes, seeds, configuration, library versions.
        evaluation: figures on the split it never saw.
        batching: what the graph needs; None: any number of documents will do.
        recalibrations: what was done to the scores since, the oldest first.
        stage2: a second model; None: there is one stage.
    """

    schema_version: int
    name: str
    version: str
    description: str
    labels: list[Label]
    preprocessing: Contract
    calibration: list[Calibration]
    ort: OrtOptions
    files: dict[str, FileEntry]
    training: dict[str, Any]
    evaluation: dict[str, Any]
    batching: Batching | None = None
    recalibrations: list[Recalibration] = []
    stage2: Stage2 | None = None


class Fixture(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A document and the scores it must get, one per label."""

    text: str
    scores: list[float]
    features: dict[str, FeatureValue] | None = None


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``parity.json``: what the bundle scored where it was made.

    Attributes:
        tolerance: largest absolute difference allowed elsewhere; processors round differently, models do not.
        fixtures: harmless documents, covering scripts, lengths and emptiness.
        labels: of the scores, in their order; None in bundles that are older than this field.
    """

    tolerance: float
    fixtures: list[Fixture]
    labels: list[str] | None = None


def dump(document: Manifest | Parity) -> bytes:
    """The one way these documents are written, so that equal content has equal bytes."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
