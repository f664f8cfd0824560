"""The encoder as nodes of the ONNX graph, and its logits mixed into the margins of the linear model.

Whatever adds up does so over a text's own rows, or as a product of matrices with as many rows as tokens: a lone text
gets the bits that it gets in company. Weights are kept as 8-bit integers with a scale per column (per row, of the
embeddings); onnxruntime turns them into floats once, when it loads the graph.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from streamtag.model.training.encoder.beside import IDS, MASK, Beside
from streamtag.model.training.encoder.pretrained import EPSILON, Array, Encoder, Layer
from streamtag.model.training.graph_nodes import GraphNodes

_HIDDEN = 10_000.0
"""Taken from the attention to padding: nothing is left of it."""
_INT8 = 127


def beside_nodes(beside: Beside, lanes: int, linear: str, out: str) -> GraphNodes:
    """Nodes from token ids and ``linear`` margins to ``out``, both [n, lanes]."""
    graph = GraphNodes(lanes, "encoder")
    mask = graph.add("Cast", MASK, to=TensorProto.FLOAT)
    logits = _logits(graph, beside, mask)
    mixed = graph.add("Mul", logits, graph.vector(beside.mix.encoder))
    own = graph.add("Mul", linear, graph.vector(beside.mix.linear))
    graph.add("Add", graph.add("Add", own, mixed), graph.vector(beside.mix.bias), out=out)
    return graph


def inputs() -> list[Any]:
    """What the graph is given besides n-grams."""
    return [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"]) for name in (IDS, MASK)]


def quantised(weights: Array, axis: int) -> tuple[NDArray[np.int8], Array]:
    """Integers -127 … 127 and scales such that their product is ``weights``, nearly.

    Args:
        weights: [a, b].
        axis: along which a scale holds: 0 for one per column, 1 for one per row.
    """
    scale = np.maximum(np.abs(weights).max(axis=axis, keepdims=True), 1e-12) / np.float32(_INT8)
    return np.rint(weights / scale).astype(np.int8), scale.astype(np.float32)


def _weights(graph: GraphNodes, weights: Array, axis: int = 0) -> str:
    whole, scale = quantised(weights, axis)
    return graph.add("Mul", graph.add("Cast", graph.constant(whole), to=TensorProto.FLOAT), graph.constant(scale))


def _linear(graph: GraphNodes, rows: str, weights: Array, bias: Array) -> str:
    return graph.add("Add", graph.add("MatMul", rows, _weights(graph, weights)), graph.constant(bias))


def _norm(graph: GraphNodes, rows: str, gain: Array) -> str:
    both = [graph.constant(np.ascontiguousarray(row)) for row in gain]
    return graph.add("LayerNormalization", rows, *both, axis=-1, epsilon=EPSILON)


def _logits(graph: GraphNodes, beside: Beside, mask: str) -> str:
    """Of each text, [n, lanes]: the mean of its tokens' logits, which is the logit of their mean."""
    encoder = beside.encoder
    zero, one = _integers(graph, 0), _integers(graph, 1)
    hidden = graph.add("Sub", mask, graph.constant(np.ones(1, dtype=np.float32)))
    hidden = graph.add("Mul", hidden, graph.constant(np.array([_HIDDEN], dtype=np.float32)))
    hidden = graph.add("Unsqueeze", hidden, _integers(graph, 1, 2))
    rows = _embedded(graph, encoder, zero, one)
    for layer in encoder.layers:
        rows = _layer(graph, layer, encoder.heads, rows, hidden)
    width = encoder.tokens.shape[1]
    head = np.zeros((width, graph.lanes), dtype=np.float32)
    head[:, : beside.head.shape[1]] = beside.head
    each = graph.add("MatMul", rows, graph.constant(head))
    across = graph.add("Unsqueeze", mask, one)
    total = graph.add("Squeeze", graph.add("MatMul", across, each), one)
    count = graph.add("ReduceSum", mask, one, keepdims=1)
    return graph.add("Add", graph.add("Div", total, count), graph.vector(beside.bias))


def _embedded(graph: GraphNodes, encoder: Encoder, zero: str, one: str) -> str:
    rows = graph.add("Gather", _weights(graph, encoder.tokens, axis=1), IDS)
    tokens = graph.add("Gather", graph.add("Shape", IDS), one)
    places = graph.add("Slice", graph.constant(encoder.positions), zero, tokens)
    return _norm(graph, graph.add("Add", rows, places), encoder.norm)


def _layer(graph: GraphNodes, layer: Layer, heads: int, rows: str, hidden: str) -> str:
    width = layer.out.shape[0]
    parts = _linear(graph, rows, layer.attend, layer.attend_bias)
    parts = graph.add("Reshape", parts, _integers(graph, 0, 0, 3, heads, width // heads))
    parts = graph.add("Transpose", parts, perm=[2, 0, 3, 1, 4])
    queries, keys, values = (graph.add("Gather", parts, graph.constant(np.array(i)), axis=0) for i in range(3))
    queries = graph.add("Mul", queries, graph.constant(np.array([(width // heads) ** -0.5], dtype=np.float32)))
    weight = graph.add("MatMul", queries, graph.add("Transpose", keys, perm=[0, 1, 3, 2]))
    weight = graph.add("Softmax", graph.add("Add", weight, hidden), axis=-1)
    seen = graph.add("Transpose", graph.add("MatMul", weight, values), perm=[0, 2, 1, 3])
    seen = _linear(graph, graph.add("Reshape", seen, _integers(graph, 0, 0, width)), layer.out, layer.out_bias)
    rows = _norm(graph, graph.add("Add", rows, seen), layer.norm_1)
    thought = _gelu(graph, _linear(graph, rows, layer.up, layer.up_bias))
    thought = _linear(graph, thought, layer.down, layer.down_bias)
    return _norm(graph, graph.add("Add", rows, thought), layer.norm_2)


def _gelu(graph: GraphNodes, rows: str) -> str:
    """``x / 2 · (1 + erf(x / √2))``, in the form that onnxruntime knows as one operator."""
    root, one, half = (graph.constant(np.array(value, dtype=np.float32)) for value in (2**0.5, 1.0, 0.5))
    share = graph.add("Add", graph.add("Erf", graph.add("Div", rows, root)), one)
    return graph.add("Mul", graph.add("Mul", rows, share), half)


def _integers(graph: GraphNodes, *values: int) -> str:
    return graph.constant(np.array(values, dtype=np.int64))
