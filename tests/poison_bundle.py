"""A bundle that passes every gate and yet fails on two particular, harmless texts: one raises, one scores NaN."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from trapped_bundle import build_trapped_bundle, insert_before_sigmoid

RAISES = "zqxjkv zqxjkv"
SCORES_NAN = "wvyzpq wvyzpq"


def build_poison_bundle(directory: Path, scratch: Path, ordinary: Sequence[str]) -> Path:
    """Writes ``tiny@3``; ``ordinary`` texts must score as usual.

    An n-gram that only `RAISES` has makes the graph look beyond the end of a table; one that only `SCORES_NAN` has
    makes it divide zero by zero in that row.
    """
    texts = (RAISES, SCORES_NAN)
    return build_trapped_bundle(directory, scratch, texts, ordinary, _poison, version="3", weights_seed=3)


def _poison(model: onnx.ModelProto, trap: int, nan: int) -> None:
    graph = model.graph
    graph.initializer.extend(
        [
            helper.make_tensor("trap_id", TensorProto.INT32, [1], [trap]),
            helper.make_tensor("nan_id", TensorProto.INT32, [1], [nan]),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        ]
    )
    insert_before_sigmoid(
        graph,
        "trapped",
        lambda logits: [
            helper.make_node("Equal", ["ids", "trap_id"], ["is_trap"]),
            helper.make_node("Cast", ["is_trap"], ["is_trap_int"], to=TensorProto.INT64),
            helper.make_node("ReduceMax", ["is_trap_int"], ["trap_index"], keepdims=0),
            helper.make_node("Gather", ["one", "trap_index"], ["factor"]),  # index 1 of a table of 1: raises
            helper.make_node("Equal", ["ids", "nan_id"], ["is_nan"]),
            helper.make_node("Cast", ["is_nan"], ["is_nan_float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["is_nan_float"], ["nan_rows"], axes=[1]),
            helper.make_node("Sub", ["one", "nan_rows"], ["ones_or_zeros"]),
            helper.make_node("Div", ["ones_or_zeros", "ones_or_zeros"], ["ones_or_nan"]),  # a row of its own: 0 / 0
            helper.make_node("Mul", ["factor", "ones_or_nan"], ["factors"]),
            helper.make_node("Mul", [logits, "factors"], ["trapped"]),
        ],
    )
