"""A head as nodes of the ONNX graph: from ``raw``, the linear model's margins, to ``margin``, the head's."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamtag.model.training.graph_nodes import GraphNodes
from streamtag.model.training.heads import Chain, Embedding, Head, Independent, Pairwise, TwoStage

RAW, MARGIN = "raw", "margin"


def head_nodes(head: Head, lanes: int) -> GraphNodes:
    """The nodes of ``head``; the last gives `MARGIN`."""
    graph = GraphNodes(lanes, "head")
    match head:
        case Independent():
            graph.add("Identity", RAW, out=MARGIN)
        case Chain():
            _chain(graph, head)
        case Embedding():
            place = graph.product(graph.add("Sigmoid", RAW), head.inward)
            added = graph.product(graph.add("Tanh", place), head.points.T)
            graph.add("Add", _scaled(graph, head.slope, head.bias), added, out=MARGIN)
        case Pairwise():
            added = graph.product(graph.add("Sigmoid", RAW), head.coupling)
            graph.add("Add", _scaled(graph, head.slope, head.bias), added, out=MARGIN)
        case TwoStage():
            _two_stage(graph, head, lanes)
        case _:
            raise TypeError(f"no graph for the head {type(head).__name__}")
    return graph


def _scaled(graph: GraphNodes, slope: NDArray[Any], bias: NDArray[Any]) -> str:
    """``raw · slope + bias``."""
    return graph.add("Add", graph.add("Mul", RAW, graph.vector(slope)), graph.vector(bias))


def _chain(graph: GraphNodes, head: Chain) -> None:
    total: str | None = None
    for order, slope, bias, coupling in zip(head.orders.tolist(), head.slope, head.bias, head.coupling, strict=True):
        own = _scaled(graph, slope, bias)
        for j in order:
            # Labels after j have no part in j, so their being unfinished does not matter.
            seen = graph.column(graph.add("Sigmoid", own), j)
            own = graph.add("Add", own, graph.add("Mul", seen, graph.vector(coupling[:, j])))
        total = own if total is None else graph.add("Add", total, own)
    assert total is not None
    share = graph.constant(np.array([1 / len(head.orders)], dtype=np.float32))
    graph.add("Mul", total, share, out=MARGIN)


def _two_stage(graph: GraphNodes, head: TwoStage, lanes: int) -> None:
    one = graph.constant(np.ones(1, dtype=np.float32))
    gate = graph.product(graph.add("Sigmoid", RAW), np.repeat(head.inward[:, None], lanes, axis=1))
    gate = graph.add("Add", gate, graph.constant(np.array([head.bias_in], dtype=np.float32)))
    which = graph.add("Sigmoid", _scaled(graph, head.slope, head.bias))
    both = graph.add("Mul", graph.add("Sigmoid", gate), which)
    low, high = (graph.constant(np.array(bound, dtype=np.float32)) for bound in head.bounds)
    both = graph.add("Clip", both, low, high)
    logit = graph.add("Sub", graph.add("Log", both), graph.add("Log", graph.add("Sub", one, both)))
    members = np.zeros(lanes, dtype=np.bool_)
    members[: len(head.members)] = head.members
    graph.add("Where", graph.constant(members), logit, RAW, out=MARGIN)
