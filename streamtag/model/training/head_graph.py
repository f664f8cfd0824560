"""A head as nodes of the ONNX graph: from ``raw``, the linear model's margins, to ``margin``, the head's.

Products with small matrices are written ``Mul`` and ``ReduceSum`` over an axis of fixed length: ``MatMul`` would take
all texts of a batch as one matrix, and multiply a lone one by another routine, whose last bits differ.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from streamtag.model.training.heads import Chain, Embedding, Head, Independent, Pairwise, TwoStage

RAW, MARGIN = "raw", "margin"


class HeadNodes:
    """Nodes and constants of a head; vectors are padded with zeros to ``lanes``."""

    def __init__(self, lanes: int) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {
            "head_axis_1": np.array([1], dtype=np.int64),
            "head_axis_2": np.array([2], dtype=np.int64),
        }
        self._lanes = lanes

    def add(self, operator: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """A node; returns the name of its output."""
        name = out or f"head_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def vector(self, values: NDArray[Any]) -> str:
        """A constant per label."""
        wide = np.zeros(self._lanes, dtype=np.float32)
        wide[: len(values)] = values
        return self.constant(wide)

    def constant(self, array: NDArray[Any]) -> str:
        """Any other constant."""
        name = f"head_constant_{len(self.constants)}"
        self.constants[name] = array
        return name

    def matrix(self, values: NDArray[Any]) -> str:
        """A constant matrix whose axes of the length of the labels are padded."""
        labels_in, columns = values.shape
        wide = np.zeros((self._lanes, columns), dtype=np.float32)
        wide[:labels_in] = values
        return self.constant(wide)

    def product(self, rows: str, matrix: str) -> str:
        """``rows`` [n, a] times ``matrix`` [a, b]."""
        standing = self.add("Unsqueeze", rows, "head_axis_2")
        return self.add("ReduceSum", self.add("Mul", standing, matrix), "head_axis_1", keepdims=0)

    def scaled(self, slope: NDArray[Any], bias: NDArray[Any]) -> str:
        """``raw · slope + bias``."""
        return self.add("Add", self.add("Mul", RAW, self.vector(slope)), self.vector(bias))

    def wide(self, matrix: NDArray[Any]) -> NDArray[np.float32]:
        """Columns padded to ``lanes``."""
        padded = np.zeros((matrix.shape[0], self._lanes), dtype=np.float32)
        padded[:, : matrix.shape[1]] = matrix
        return padded


def head_nodes(head: Head, lanes: int) -> HeadNodes:
    """The nodes of ``head``; the last gives `MARGIN`."""
    graph = HeadNodes(lanes)
    match head:
        case Independent():
            graph.add("Identity", RAW, out=MARGIN)
        case Chain():
            _chain(graph, head, lanes)
        case Embedding():
            place = graph.product(graph.add("Sigmoid", RAW), graph.matrix(head.inward))
            added = graph.product(graph.add("Tanh", place), graph.constant(graph.wide(head.points.T)))
            graph.add("Add", graph.scaled(head.slope, head.bias), added, out=MARGIN)
        case Pairwise():
            added = graph.product(graph.add("Sigmoid", RAW), graph.matrix(graph.wide(head.coupling)))
            graph.add("Add", graph.scaled(head.slope, head.bias), added, out=MARGIN)
        case TwoStage():
            _two_stage(graph, head, lanes)
        case _:
            raise TypeError(f"no graph for the head {type(head).__name__}")
    return graph


def _chain(graph: HeadNodes, head: Chain, lanes: int) -> None:
    labels = head.slope.shape[1]
    total: str | None = None
    for order, slope, bias, coupling in zip(head.orders.tolist(), head.slope, head.bias, head.coupling, strict=True):
        own = graph.scaled(slope, bias)
        columns: dict[int, str] = {}
        seen: str | None = None
        for j in order:
            column = graph.add("Gather", own, graph.constant(np.array([j], dtype=np.int64)), axis=1)
            if seen is not None:
                pulled = graph.add("Mul", seen, graph.vector(coupling[j]))
                column = graph.add("Add", column, graph.add("ReduceSum", pulled, "head_axis_1", keepdims=1))
            columns[j] = column
            placed = graph.add("Mul", graph.add("Sigmoid", column), graph.vector(np.eye(labels)[j]))
            seen = placed if seen is None else graph.add("Add", seen, placed)
        parts = [columns[j] for j in range(labels)]
        if labels < lanes:
            rest = graph.constant(np.arange(labels, lanes, dtype=np.int64))
            parts.append(graph.add("Gather", own, rest, axis=1))
        together = graph.add("Concat", *parts, axis=1)
        total = together if total is None else graph.add("Add", total, together)
    assert total is not None
    share = graph.constant(np.array([1 / len(head.orders)], dtype=np.float32))
    graph.add("Mul", total, share, out=MARGIN)


def _two_stage(graph: HeadNodes, head: TwoStage, lanes: int) -> None:
    one = graph.constant(np.ones(1, dtype=np.float32))
    gate = graph.product(graph.add("Sigmoid", RAW), graph.matrix(head.inward[:, None]))
    gate = graph.add("Add", gate, graph.constant(np.array([head.bias_in], dtype=np.float32)))
    which = graph.add("Sigmoid", graph.scaled(head.slope, head.bias))
    both = graph.add("Mul", graph.add("Sigmoid", gate), which)
    low, high = (graph.constant(np.array(bound, dtype=np.float32)) for bound in head.bounds)
    both = graph.add("Clip", both, low, high)
    logit = graph.add("Sub", graph.add("Log", both), graph.add("Log", graph.add("Sub", one, both)))
    members = np.zeros(lanes, dtype=np.bool_)
    members[: len(head.members)] = head.members
    graph.add("Where", graph.constant(members), logit, RAW, out=MARGIN)
