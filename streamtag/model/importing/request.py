"""What `streamtag model import` is given, read and fitted to each other."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamtag.model.bundle_checks import MAX_TOLERANCE, PLAIN_NAME
from streamtag.model.contracts.registry import Contract
from streamtag.model.contracts.text_rules import TextRules
from streamtag.model.contracts.tokenizer import TOKENIZER
from streamtag.model.graph_checks import graph_problems
from streamtag.model.importing.contracts import Port, Wanted, contract_for, rows_wanted
from streamtag.model.importing.expected import Expected, read_expected
from streamtag.model.importing.graph import Activation, Source, choose_output, read_source
from streamtag.model.importing.label_file import read_features, read_labels
from streamtag.model.manifest import Label


@dataclass(frozen=True)
class Request:
    """What to import.

    Attributes:
        onnx: the graph; files of weights lie beside it.
        labels: see `read_labels`.
        name, version: of the bundle.
        tokenizer: a ``tokenizer.json``.
        features: see `read_features`.
        expected: see `read_expected`.
        activation: what makes probabilities of the output.
        scores: name of the output, where it is not clear.
        max_tokens: a longer text is cut.
        tolerance: of the fixtures, and of the expected scores.
        description: of the bundle.
        text: rules for texts before the tokenizer, or before the graph that reads strings.
    """

    onnx: Path
    labels: Path
    name: str
    version: str
    tokenizer: Path | None = None
    features: Path | None = None
    expected: Path | None = None
    activation: Activation = "none"
    scores: str | None = None
    max_tokens: int | None = None
    tolerance: float = 1e-4
    description: str = ""
    text: TextRules = field(default_factory=TextRules)


@dataclass(frozen=True)
class Given:
    """The files of a request, as far as they could be read.

    Attributes:
        source: the graph.
        labels: in the order of its columns.
        output: which of the graph's outputs are the scores.
        contract: what feeds the graph.
        rows: documents that a run must have; None: any number.
        expected: scores from where the model was made.
        contents: files beside the graph, name to bytes.
        record: for the manifest: hashes and sizes, and who made the graph.
    """

    source: Source | None
    labels: list[Label]
    output: Port | None
    contract: Contract | None
    rows: int | None
    expected: Expected | None
    contents: dict[str, bytes]
    record: dict[str, Any]


def read_request(request: Request, problems: list[str]) -> Given:
    """Reads all files and fits them to each other, so that whoever imports hears of all that is amiss at once."""
    problems += [
        f"{what} {value!r} must be letters, digits, dot, dash or underscore"
        for what, value in (("name", request.name), ("version", request.version))
        if not PLAIN_NAME.fullmatch(value)
    ]
    if not 0 <= request.tolerance <= MAX_TOLERANCE:
        problems.append(f"--tolerance {request.tolerance:g} is outside 0 … {MAX_TOLERANCE}")
    contents = {
        what: _content(path, problems)
        for what, path in (
            ("labels", request.labels),
            (TOKENIZER, request.tokenizer),
            ("features", request.features),
            ("expected scores", request.expected),
        )
        if path is not None
    }
    source = read_source(request.onnx, problems)
    labels = read_labels(_text("labels", contents, problems), problems) if contents["labels"] is not None else []
    features = None
    if contents.get("features") is not None:
        features = read_features(_text("features", contents, problems), problems)
    output, contract, rows = None, None, None
    if source is not None:
        output = choose_output(source.outputs, len(labels), request.scores, problems) if labels else None
        wanted = Wanted(contents.get(TOKENIZER), features, request.max_tokens, request.text)
        contract = contract_for(source.inputs, wanted, problems)
        rows = rows_wanted(source.inputs, problems)
    given = contents.get("expected scores")
    expected = None if given is None else read_expected(given, [label.id for label in labels], problems)
    found = {name: content for name, content in contents.items() if content is not None}
    record = {name: _identity(content) for name, content in found.items()}
    if source is not None:
        model = source.model.SerializeToString(deterministic=True)
        problems += [f"{request.onnx}: {problem}" for problem in graph_problems(model)]
        with_weights = hashlib.sha256(model).hexdigest()
        record["onnx"] = {**_identity(request.onnx.read_bytes()), "with_weights": with_weights, **source.facts}
    return Given(source, labels, output, contract, rows, expected, found, record)


def _content(path: Path, problems: list[str]) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
        return None


def _text(what: str, contents: dict[str, bytes | None], problems: list[str]) -> str:
    try:
        return (contents[what] or b"").decode("utf-8")
    except UnicodeDecodeError as error:
        problems.append(f"{what}: not UTF-8 at byte {error.start}")
        return ""


def _identity(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
