"""Reading an ONNX file that somebody else made, and giving it the one output that a bundle's graph has."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper

from streamtag.model.importing.contracts import Port
from streamtag.model.session import SCORES

Activation = Literal["sigmoid", "softmax", "none"]

MIN_OPSET = 11
LANES = 8
"""Sigmoids are computed over rows of a multiple of this: vector registers end where rows do, so a document's bits do
not depend on its place."""
_PREFIX = "streamtag/"
_OWN_SCORES = f"{_PREFIX}own_{SCORES}"
"""What had the name that the output of a bundle has."""
_PREFERRED = ("logits", "probabilities", "output_probability", SCORES)
_SAME_TEXT = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
_FLOATS = ("float", "double", "float16")


@dataclass(frozen=True)
class Source:
    """An ONNX file as it was read.

    Attributes:
        model: with its weights inside.
        inputs, outputs: of its graph.
        facts: for the record: who made it, and its operator sets.
    """

    model: onnx.ModelProto
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    facts: Mapping[str, object]


def read_source(path: Path, problems: list[str]) -> Source | None:
    """The model at ``path``, files of weights beside it included; None, and why in ``problems``, when it is none."""
    try:
        model = onnx.load(path, format="protobuf")  # whatever the name of the file ends in
    except OSError as error:
        problems.append(f"{path}: {error.strerror or error}")
        return None
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        problems.append(f"{path}: not an ONNX model, or its weights are not beside it: {_first_line(error)}")
        return None
    if not model.graph.node:
        problems.append(f"{path}: not an ONNX model: its graph has no operators; is the file cut short?")
        return None
    if any(value.name == SCORES for value in model.graph.input):
        rename(model.graph, SCORES, _OWN_SCORES)
    opset = _opset(model)
    if opset < MIN_OPSET:
        problems.append(f"{path}: operator set {opset}; export it for {MIN_OPSET} or later")
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_port(value) for value in model.graph.input if value.name not in constants)
    outputs = tuple(_output(model, value) for value in model.graph.output)
    facts = {
        "producer": " ".join(filter(None, (model.producer_name, model.producer_version))),
        "opsets": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
    }
    return Source(model, inputs, outputs, facts)


def choose_output(outputs: Sequence[Port], n_labels: int, named: str | None, problems: list[str]) -> Port | None:
    """The output that has a score for each label; None, and why in ``problems``, where that is not clear."""
    every = ", ".join(map(str, outputs))
    if named is not None:
        found = [port for port in outputs if port.name == named]
        if not found:
            problems.append(f"--scores: the graph has no output {named!r}; it has {every}")
            return None
    else:
        found = [port for port in outputs if port.type in _FLOATS and len(port.shape) in (0, 2)]
        fitting = [port for port in found if port.shape and port.shape[1] == n_labels]
        preferred = [port for port in fitting or found if port.name in _PREFERRED]
        found = preferred or fitting or found
    if len(found) == 1 and found[0].type in _FLOATS and len(found[0].shape) in (0, 2):
        if found[0].shape and found[0].shape[1] not in (None, n_labels):
            problems.append(f"output {found[0]}: gives {found[0].shape[1]} scores for {n_labels} labels")
            return None
        return found[0]
    if len(found) > 1:
        problems.append(f"several outputs could be the scores; name one with --scores: {', '.join(map(str, found))}")
        return None
    problems.append(
        f"no output is a tensor of floats [n, {n_labels}]: {every}. With skl2onnx, use OneVsRestClassifier (not "
        "MultiOutputClassifier, which gives a list), and options={id(classifier): {'zipmap': False}}"
    )
    return None


def with_scores(source: Source, output: Port, activation: Activation, n_labels: int) -> onnx.ModelProto:
    """A copy of the model whose only output is ``scores``, float32 [n, labels], after the activation."""
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    graph, raw = model.graph, output.name
    if any(SCORES in (*node.input, *node.output) for node in _nodes(graph)):
        rename(graph, SCORES, _OWN_SCORES)
        raw = _OWN_SCORES if raw == SCORES else raw
    nodes = [helper.make_node("Cast", [raw], [f"{_PREFIX}raw"], to=TensorProto.FLOAT)]
    if activation == "sigmoid":
        nodes += _sigmoid(graph, n_labels)
    elif activation == "softmax":
        nodes.append(helper.make_node("Softmax", [f"{_PREFIX}raw"], [SCORES], axis=1))
    else:
        nodes.append(helper.make_node("Identity", [f"{_PREFIX}raw"], [SCORES]))
    graph.node.extend(nodes)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, [None, n_labels]))
    return model


def lower_outside(model: onnx.ModelProto, text_input: str) -> bool:
    """Takes lower-casing out of the graph, for the contract to do; says whether there was any to take.

    onnxruntime's `StringNormalizer` needs a locale of the system that slim containers do not have, and knows fewer
    letters than Python. Where only a part of the graph lower-cases, it stays in, with a locale that every system has.
    """
    graph = model.graph
    found = [node for node in graph.node if node.op_type == "StringNormalizer" and _lowers(node)]
    if not found:
        return False
    if {id(node) for node in _readers(graph, text_input)} != {id(node) for node in found}:
        for node in found:
            _set(node, "locale", "C.UTF-8")
        return False
    for node in found:
        if any(attribute.name == "stopwords" and attribute.strings for attribute in node.attribute):
            _set(node, "case_change_action", "NONE")
            _set(node, "is_case_sensitive", 1)
        else:
            node.op_type = "Identity"
            del node.attribute[:]
    return True


def token_patterns(model: onnx.ModelProto) -> list[str]:
    """Patterns by which tokenizers in the graph cut words, where they know ASCII only."""
    patterns = [
        helper.get_attribute_value(attribute).decode()
        for node in model.graph.node
        if node.op_type == "Tokenizer"
        for attribute in node.attribute
        if attribute.name == "tokenexp"
    ]
    return [pattern for pattern in patterns if "a-z" in pattern and "\\p" not in pattern]


def _sigmoid(graph: onnx.GraphProto, n_labels: int) -> list[onnx.NodeProto]:
    spare = -n_labels % LANES
    if not spare:
        return [helper.make_node("Sigmoid", [f"{_PREFIX}raw"], [SCORES])]
    names = {name: f"{_PREFIX}{name}" for name in ("pads", "first", "labels", "axis")}
    values = {"pads": [0, 0, 0, spare], "first": [0], "labels": [n_labels], "axis": [1]}
    graph.initializer.extend(
        helper.make_tensor(names[name], TensorProto.INT64, [len(value)], value) for name, value in values.items()
    )
    return [
        helper.make_node("Pad", [f"{_PREFIX}raw", names["pads"]], [f"{_PREFIX}wide"]),
        helper.make_node("Sigmoid", [f"{_PREFIX}wide"], [f"{_PREFIX}lanes"]),
        helper.make_node("Slice", [f"{_PREFIX}lanes", names["first"], names["labels"], names["axis"]], [SCORES]),
    ]


def _output(model: onnx.ModelProto, value: onnx.ValueInfoProto) -> Port:
    """The output; in place of a list of maps the tensor that it is made from, which knows no shape."""
    maker = next((node for node in model.graph.node if value.name in node.output), None)
    if maker is not None and maker.op_type == "ZipMap" and maker.input:
        return Port(maker.input[0], "float", ())
    return _port(value)


def _port(value: onnx.ValueInfoProto) -> Port:
    if not value.type.HasField("tensor_type"):
        return Port(value.name, "other", ())
    tensor = value.type.tensor_type
    axes = tuple((axis.dim_value or None) if axis.HasField("dim_value") else None for axis in tensor.shape.dim)
    known = tensor.elem_type in TensorProto.DataType.values()
    return Port(value.name, TensorProto.DataType.Name(tensor.elem_type).lower() if known else "other", axes)


def _opset(model: onnx.ModelProto) -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of inner graphs included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Gives a tensor another name wherever it stands, but among the outputs."""
    for node in _nodes(graph):
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*graph.input, *graph.initializer, *graph.value_info):
        value.name = new if value.name == old else value.name


def _readers(graph: onnx.GraphProto, name: str) -> list[onnx.NodeProto]:
    """Nodes that read this text, or what is the same text in another shape."""
    found: list[onnx.NodeProto] = []
    for node in graph.node:
        if name in node.input:
            found += _readers(graph, node.output[0]) if node.op_type in _SAME_TEXT else [node]
    return found


def _lowers(node: onnx.NodeProto) -> bool:
    return any(
        attribute.name == "case_change_action" and helper.get_attribute_value(attribute) == b"LOWER"
        for attribute in node.attribute
    )


def _set(node: onnx.NodeProto, name: str, value: str | int) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
