"""The ONNX graph of a linear model over weighted n-gram ids.

``Gather → (Cast) → MatMul → Add bias → Mul, Relu, Mul, Add (Platt, hinged) → Sigmoid``. MatMul, not Mul and
ReduceSum: the latter adds in an order that depends on the padding, so a text would change its last bits with its
neighbours.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from streamtag.model.manifest import Calibration
from streamtag.model.ngrams import IDS, WEIGHTS
from streamtag.model.session import SCORES
from streamtag.model.training.encoder.beside import Beside
from streamtag.model.training.encoder.nodes import beside_nodes, inputs
from streamtag.model.training.graph_nodes import GraphNodes
from streamtag.model.training.head_graph import MARGIN, RAW, head_nodes
from streamtag.model.training.heads import Head

OPSET = 17
IR_VERSION = 8  # that of opset 17: the oldest that will do
LINEAR = "linear"
"""The margins of the linear model, where something stands beside it."""
LANES = 8
"""The table's rows are padded to a multiple of this many floats: one vector register."""


def build_graph(
    coefficients: NDArray[np.float32],
    bias: NDArray[np.float32],
    calibration: Sequence[Calibration],
    head: Head | None = None,
    *,
    half: bool = False,
    beside: Beside | None = None,
) -> bytes:
    """The serialised graph.

    Args:
        coefficients: float32 [buckets, labels].
        bias: float32 [labels].
        calibration: per label.
        head: between the sums and the calibration.
        half: the table is kept in float16, at half the size; sums are float32 all the same.
        beside: an encoder, whose logits are mixed into the sums.
    """
    buckets, labels = coefficients.shape
    lanes = -(-labels // LANES) * LANES
    table = np.zeros((buckets + 1, lanes), dtype=np.float32)  # the last row is the padding's
    table[:buckets, :labels] = coefficients
    constants = {
        "table": table.astype(np.float16) if half else table,
        "bias": _widen(bias, lanes),
        "slope": _widen([entry.a for entry in calibration], lanes),
        "hinge": _widen([entry.hinge for entry in calibration], lanes),
        "intercept": _widen([entry.b for entry in calibration], lanes),
        "rank_axis": np.array([1], dtype=np.int64),
        "first": np.array([0], dtype=np.int64),
        "labels": np.array([labels], dtype=np.int64),
    }
    margin = MARGIN if head is None else RAW
    mixed = GraphNodes(lanes, "encoder") if beside is None else beside_nodes(beside, lanes, LINEAR, margin)
    after = GraphNodes(lanes, "head") if head is None else head_nodes(head, lanes)
    constants |= mixed.constants | after.constants
    nodes = [
        helper.make_node("Gather", ["table", IDS], ["half_rows" if half else "rows"]),
        *([helper.make_node("Cast", ["half_rows"], ["rows"], to=TensorProto.FLOAT)] if half else []),
        helper.make_node("MatMul", [WEIGHTS, "rows"], ["sums"]),
        helper.make_node("Squeeze", ["sums", "rank_axis"], ["sum"]),
        helper.make_node("Add", ["sum", "bias"], [margin if beside is None else LINEAR]),
        *mixed.nodes,
        *after.nodes,
        helper.make_node("Mul", ["margin", "slope"], ["scaled"]),
        helper.make_node("Relu", ["margin"], ["above"]),
        helper.make_node("Mul", ["above", "hinge"], ["bent"]),
        helper.make_node("Add", ["scaled", "bent"], ["sloped"]),
        helper.make_node("Add", ["sloped", "intercept"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["lanes"]),
        helper.make_node("Slice", ["lanes", "first", "labels", "rank_axis"], [SCORES]),
    ]
    graph = helper.make_graph(
        nodes,
        "hashed_ngrams",
        inputs=[
            helper.make_tensor_value_info(IDS, TensorProto.INT32, ["texts", "width"]),
            helper.make_tensor_value_info(WEIGHTS, TensorProto.FLOAT, ["texts", 1, "width"]),
            *([] if beside is None else inputs()),
        ],
        outputs=[helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, ["texts", labels])],
        initializer=[numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="streamtag"
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _widen(values: NDArray[np.float32] | Sequence[float], lanes: int) -> NDArray[np.float32]:
    wide = np.zeros(lanes, dtype=np.float32)
    wide[: len(values)] = values
    return wide
