"""`streamtag model import`: every reason against a model at once, or a bundle that has passed every gate."""

import importlib.metadata
import platform
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from streamtag.domain.release import BundleRef
from streamtag.errors import BundleError
from streamtag.model.bundle import Bundle, write_bundle
from streamtag.model.contracts.combined import CombinedContract
from streamtag.model.contracts.registry import Contract, files_of
from streamtag.model.contracts.string import StringContract
from streamtag.model.importing.contracts import Port
from streamtag.model.importing.expected import differences
from streamtag.model.importing.fixture_documents import fixture_documents
from streamtag.model.importing.graph import (
    Source,
    lower_outside,
    token_patterns,
    with_scores,
)
from streamtag.model.importing.request import Given, Request, read_request
from streamtag.model.loading import INVARIANCE_GATE, gates, load_scorer
from streamtag.model.manifest import MODEL, PARITY, SCHEMA_VERSION, Batching, Manifest, OrtOptions, Parity, dump
from streamtag.model.parity import make_parity
from streamtag.model.scorer import Scorer

# In which runs a graph may give a document the same bits alone and in company, the cheapest first: any; never alone (a
# single row is multiplied by another routine); always alone.
_BATCHINGS = (None, Batching(min_rows=2), Batching(min_rows=8), Batching(max_rows=1))
_BATCH = 64


@dataclass(frozen=True)
class Imported:
    """The bundle, and what was found and done on the way.

    Attributes:
        path: of the bundle.
        notes: for people.
    """

    path: Path
    notes: Sequence[str]


def import_bundle(request: Request, directory: Path) -> Imported:
    """Makes a bundle of a model and writes it below ``directory``.

    Raises:
        BundleError: names everything that keeps the model from being one; nothing is left behind then.
    """
    problems: list[str] = []
    read = read_request(request, problems)
    if problems or read.source is None or read.output is None or read.contract is None:
        raise _refused(request, problems)
    notes: list[str] = []
    model, contract = _rewritten(read.source, read.output, read.contract, request, len(read.labels), notes)
    draft = _draft(request, read, model, contract)
    bundle = _gated(request, draft, read, notes, problems)
    if problems:
        raise _refused(request, problems)
    files = {MODEL: bundle.model, PARITY: dump(bundle.parity), **bundle.contents}
    # Every gate on what lies on disk, before it lies where it is found.
    with tempfile.TemporaryDirectory(prefix="streamtag-import-") as scratch:
        load_scorer(write_bundle(Path(scratch), bundle.manifest, files), batch=_BATCH)
    return Imported(write_bundle(directory, bundle.manifest, files), notes)


def _rewritten(
    source: Source, output: Port, contract: Contract, request: Request, n_labels: int, notes: list[str]
) -> tuple[bytes, Contract]:
    """The graph of the bundle, and the contract that goes with it."""
    model = with_scores(source, output, request.activation, n_labels)
    notes.append(f"scores: output {output.name}, activation {request.activation}")
    for pattern in token_patterns(model):
        notes.append(
            f"words: the graph cuts them by {pattern}, which knows ASCII letters only, unlike scikit-learn; convert it "
            r"with tokenexp=r'[\p{L}\p{N}_]+', or give --expect to see what it costs"
        )
    for port in source.inputs:
        if port.type == "string" and lower_outside(model, port.name):
            contract = _lowered(contract)
            notes.append("lower case: taken out of the graph, where it needs a locale, into the preprocessing contract")
    return bytes(model.SerializeToString(deterministic=True)), contract


def _lowered(contract: Contract) -> Contract:
    """The contract with the lower-casing that its graph did."""
    if isinstance(contract, CombinedContract):
        parts = [_lowered(part) for part in contract.parts]
        return msgspec.structs.replace(contract, parts=parts)
    if not isinstance(contract, StringContract):
        return contract
    return msgspec.structs.replace(contract, text=msgspec.structs.replace(contract.text, lowercase=True))


def _draft(request: Request, read: Given, model: bytes, contract: Contract) -> Bundle:
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        name=request.name,
        version=request.version,
        description=request.description or f"Imported from {request.onnx.name}.",
        labels=read.labels,
        preprocessing=contract,
        calibration=[],
        ort=OrtOptions(),
        files={},
        training={"imported": {**read.record, "activation": request.activation}, "environment": _environment()},
        evaluation={},
        batching=None if read.rows is None else Batching(read.rows, read.rows),
    )
    own = {name: read.contents[name] for name in files_of(contract)}
    ref = BundleRef(request.name, request.version, "0" * 64)
    return Bundle(Path(), ref, manifest, own, Parity(request.tolerance, []), model)


def _gated(request: Request, draft: Bundle, read: Given, notes: list[str], problems: list[str]) -> Bundle:
    """The bundle with its fixtures, in the first way of batching that keeps a document's bits."""
    batchings = _BATCHINGS if draft.manifest.batching is None else (draft.manifest.batching,)
    for batching in batchings:
        manifest = msgspec.structs.replace(draft.manifest, batching=batching)
        try:
            scorer = Scorer(replace(draft, manifest=manifest), batch=_BATCH)
        except BundleError as error:
            problems += error.problems or [f"{error.message}; {error.hint}"]
            return draft
        found = _with_fixtures(scorer, request, problems)
        if found is None:
            return draft
        failed = {gate: what for gate, what in gates(Scorer(found, batch=_BATCH)) if what}
        if not failed:
            if batching is not None:
                notes.append(f"runs: {_described(batching)}; else a document has other bits alone than in company")
            _compare(scorer, request, read, notes, problems)
            return found
        if set(failed) != {INVARIANCE_GATE} or batching is batchings[-1]:
            problems += [f"{gate}: {problem}" for gate, what in failed.items() for problem in what]
            return draft
    raise AssertionError("unreachable: the last way of batching returns")


def _with_fixtures(scorer: Scorer, request: Request, problems: list[str]) -> Bundle | None:
    """The scorer's bundle with fixtures; None, and why in ``problems``, where their scores are no probabilities."""
    texts, features = fixture_documents(scorer.bundle.manifest.preprocessing)
    try:
        parity = make_parity(scorer, texts, features, tolerance=request.tolerance)
    except Exception as error:  # noqa: BLE001 - a strange graph raises anything, onnxruntime's classes have no base
        lines = str(error).strip().splitlines() or [type(error).__name__]
        problems.append(f"the graph failed on harmless documents: {lines[0][:300]}")
        return None
    scores = np.array([fixture.scores for fixture in parity.fixtures])
    if not ((scores >= 0) & (scores <= 1)).all():
        also = "" if request.activation != "none" else "; are they logits? Give --activation sigmoid (or softmax)"
        problems.append(
            f"harmless documents score from {np.min(scores):g} to {np.max(scores):g}: these are no probabilities{also}"
        )
        return None
    return replace(scorer.bundle, parity=parity)


def _compare(scorer: Scorer, request: Request, read: Given, notes: list[str], problems: list[str]) -> None:
    if read.expected is None:
        notes.append("not held against the model where it was made; --expect FILE does that")
        return
    largest = differences(scorer, read.expected, request.tolerance, problems)
    notes.append(f"{len(read.expected.texts)} expected documents: scores differ by {largest:.2g} at most")


def _described(batching: Batching) -> str:
    if batching.min_rows == batching.max_rows:
        return f"exactly {batching.min_rows} documents, as the graph was exported"
    return "one document each" if batching.max_rows == 1 else f"at least {batching.min_rows} documents"


def _environment() -> dict[str, str]:
    versions = {"python": platform.python_version(), "unicode": unicodedata.unidata_version}
    return {**versions, "machine": platform.machine(), "onnxruntime": importlib.metadata.version("onnxruntime")}


def _refused(request: Request, problems: Sequence[str]) -> BundleError:
    return BundleError(
        f"{request.onnx} cannot become bundle {request.name}@{request.version}",
        problems=list(dict.fromkeys(problems)),
        hint="Mend what is named; nothing was written. docs/models.md says what each contract gives a graph.",
    )
