"""A bundle that passes every gate, and whose graph turns in circles, for long or for ever, on two harmless texts."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from trapped_bundle import build_trapped_bundle, insert_before_sigmoid

DELAYS = "zqxjkv zqxjkv"
HANGS = "wvyzpq wvyzpq"

_TURNS = 100_000
"""A twentieth of a second, about: far beyond the budget, and far from a hang, however nice the process is."""
FOR_EVER = 2**62


def build_stalling_bundle(directory: Path, scratch: Path, ordinary: Sequence[str], *, version: str = "4") -> Path:
    """Writes ``tiny@4``; scores are those of a tiny bundle, and ``ordinary`` texts are scored without delay."""

    def alter(model: onnx.ModelProto, delays: int, hangs: int) -> None:
        stall(model, {delays: _TURNS, hangs: FOR_EVER})

    texts = (DELAYS, HANGS)
    return build_trapped_bundle(directory, scratch, texts, ordinary, alter, version=version, weights_seed=4)


def stall(model: onnx.ModelProto, turns: dict[int, int]) -> None:
    """Adds a loop that carries a zero for as many turns as the ids of a batch ask for, and adds it to the logits."""
    graph = model.graph
    graph.initializer.extend(
        [
            helper.make_tensor("stalling_ids", TensorProto.INT32, [len(turns), 1, 1], list(turns)),
            helper.make_tensor("turns", TensorProto.INT64, [len(turns), 1, 1], list(turns.values())),
            helper.make_tensor("nothing", TensorProto.FLOAT, [], [0.0]),
        ]
    )
    insert_before_sigmoid(
        graph,
        "delayed",
        lambda logits: [
            helper.make_node("Equal", ["ids", "stalling_ids"], ["found"]),
            helper.make_node("Cast", ["found"], ["found_int"], to=TensorProto.INT64),
            helper.make_node("Mul", ["found_int", "turns"], ["turns_found"]),
            helper.make_node("ReduceMax", ["turns_found"], ["trips"], keepdims=0),
            helper.make_node("Loop", ["trips", "", "nothing"], ["still_nothing"], body=_turn()),
            helper.make_node("Add", [logits, "still_nothing"], ["delayed"]),
        ],
    )


def _turn() -> onnx.GraphProto:
    scalar = helper.make_tensor_value_info
    return helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["carried"], ["carried_on"])],
        "turn",
        inputs=[
            scalar("turn", TensorProto.INT64, []),
            scalar("go", TensorProto.BOOL, []),
            scalar("carried", TensorProto.FLOAT, []),
        ],
        outputs=[scalar("go_on", TensorProto.BOOL, []), scalar("carried_on", TensorProto.FLOAT, [])],
    )
