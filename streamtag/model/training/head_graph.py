"""A head as nodes of the ONNX graph: from ``raw``, the linear model's margins, to ``margin``, the head's.

Products with small matrices are written as sums of columns, with operators that work element by element: ``MatMul`` and
``ReduceSum`` add a lone text in another order than one of many, and its last bits differ. Widths are multiples of 8, so
that no element of ``Sigmoid`` and ``Tanh`` falls into the remainder of a vector, which is computed otherwise.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from streamtag.model.training.heads import Chain, Embedding, Head, Independent, Pairwise, TwoStage

RAW, MARGIN = "raw", "margin"


class HeadNodes:
    """Nodes and constants of a head, or of what else stands in a graph; vectors are padded with zeros to ``lanes``."""

    def __init__(self, lanes: int, prefix: str = "head") -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.lanes = lanes
        self._prefix = prefix

    def add(self, operator: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """A node; returns the name of its output."""
        name = out or f"{self._prefix}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def vector(self, values: NDArray[Any]) -> str:
        """A constant per label."""
        wide = np.zeros(self.lanes, dtype=np.float32)
        wide[: len(values)] = values
        return self.constant(wide)

    def constant(self, array: NDArray[Any]) -> str:
        """Any other constant."""
        name = f"{self._prefix}_constant_{len(self.constants)}"
        self.constants[name] = array
        return name

    def column(self, rows: str, j: int) -> str:
        """Column j of ``rows``, [n, 1]."""
        return self.add("Gather", rows, self.constant(np.array([j], dtype=np.int64)), axis=1)

    def product(self, rows: str, matrix: NDArray[Any]) -> str:
        """``rows`` [n, a or more] times ``matrix`` [a, b], [n, b] with b padded to a multiple of 8."""
        wide = np.zeros((matrix.shape[0], -(-matrix.shape[1] // 8) * 8), dtype=np.float32)
        wide[:, : matrix.shape[1]] = matrix
        total: str | None = None
        for j, line in enumerate(wide):
            part = self.add("Mul", self.column(rows, j), self.constant(line))
            total = part if total is None else self.add("Add", total, part)
        assert total is not None
        return total

    def scaled(self, slope: NDArray[Any], bias: NDArray[Any]) -> str:
        """``raw · slope + bias``."""
        return self.add("Add", self.add("Mul", RAW, self.vector(slope)), self.vector(bias))


def head_nodes(head: Head, lanes: int) -> HeadNodes:
    """The nodes of ``head``; the last gives `MARGIN`."""
    graph = HeadNodes(lanes)
    match head:
        case Independent():
            graph.add("Identity", RAW, out=MARGIN)
        case Chain():
            _chain(graph, head)
        case Embedding():
            place = graph.product(graph.add("Sigmoid", RAW), head.inward)
            added = graph.product(graph.add("Tanh", place), head.points.T)
            graph.add("Add", graph.scaled(head.slope, head.bias), added, out=MARGIN)
        case Pairwise():
            added = graph.product(graph.add("Sigmoid", RAW), head.coupling)
            graph.add("Add", graph.scaled(head.slope, head.bias), added, out=MARGIN)
        case TwoStage():
            _two_stage(graph, head, lanes)
        case _:
            raise TypeError(f"no graph for the head {type(head).__name__}")
    return graph


def _chain(graph: HeadNodes, head: Chain) -> None:
    total: str | None = None
    for order, slope, bias, coupling in zip(head.orders.tolist(), head.slope, head.bias, head.coupling, strict=True):
        own = graph.scaled(slope, bias)
        for j in order:
            # Labels after j have no part in j, so their being unfinished does not matter.
            seen = graph.column(graph.add("Sigmoid", own), j)
            own = graph.add("Add", own, graph.add("Mul", seen, graph.vector(coupling[:, j])))
        total = own if total is None else graph.add("Add", total, own)
    assert total is not None
    share = graph.constant(np.array([1 / len(head.orders)], dtype=np.float32))
    graph.add("Mul", total, share, out=MARGIN)


def _two_stage(graph: HeadNodes, head: TwoStage, lanes: int) -> None:
    one = graph.constant(np.ones(1, dtype=np.float32))
    gate = graph.product(graph.add("Sigmoid", RAW), np.repeat(head.inward[:, None], lanes, axis=1))
    gate = graph.add("Add", gate, graph.constant(np.array([head.bias_in], dtype=np.float32)))
    which = graph.add("Sigmoid", graph.scaled(head.slope, head.bias))
    both = graph.add("Mul", graph.add("Sigmoid", gate), which)
    low, high = (graph.constant(np.array(bound, dtype=np.float32)) for bound in head.bounds)
    both = graph.add("Clip", both, low, high)
    logit = graph.add("Sub", graph.add("Log", both), graph.add("Log", graph.add("Sub", one, both)))
    members = np.zeros(lanes, dtype=np.bool_)
    members[: len(head.members)] = head.members
    graph.add("Where", graph.constant(members), logit, RAW, out=MARGIN)
