"""A bundle that passes every gate, and whose graph turns in circles, for long or for ever, on two harmless texts."""

from pathlib import Path

import msgspec
import onnx
from onnx import TensorProto, helper
from poison_bundle import distinct_ids
from tiny_bundle import build_tiny_bundle

from streamtag.model.bundle import MODEL, read_bundle, write_bundle
from streamtag.model.scorer import Scorer

DELAYS = "zqxjkv zqxjkv"
HANGS = "wvyzpq wvyzpq"

_TURNS = 1_000_000
"""Half a second, about."""
FOR_EVER = 2**62


def build_stalling_bundle(directory: Path, scratch: Path, ordinary: list[str], *, version: str = "4") -> Path:
    """Writes ``tiny@4``; scores are those of a tiny bundle, and ``ordinary`` texts are scored without delay."""
    tiny = read_bundle(build_tiny_bundle(scratch, version=version, weights_seed=4))
    delays, hangs = distinct_ids(Scorer(tiny, batch=64), (DELAYS, HANGS), ordinary)
    model = onnx.load_from_string(tiny.model)
    stall(model, {delays: _TURNS, hangs: FOR_EVER})
    files = {name: (tiny.path / name).read_bytes() for name in tiny.manifest.files}
    files[MODEL] = model.SerializeToString()
    return write_bundle(directory, msgspec.structs.replace(tiny.manifest, files={}), files)


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
    sigmoid = next(node for node in graph.node if node.op_type == "Sigmoid")
    sigmoid.input[0], logit = "delayed", sigmoid.input[0]
    at = list(graph.node).index(sigmoid)
    nodes = [
        helper.make_node("Equal", ["ids", "stalling_ids"], ["found"]),
        helper.make_node("Cast", ["found"], ["found_int"], to=TensorProto.INT64),
        helper.make_node("Mul", ["found_int", "turns"], ["turns_found"]),
        helper.make_node("ReduceMax", ["turns_found"], ["trips"], keepdims=0),
        helper.make_node("Loop", ["trips", "", "nothing"], ["still_nothing"], body=_turn()),
        helper.make_node("Add", [logit, "still_nothing"], ["delayed"]),
    ]
    for i, node in enumerate(nodes):
        graph.node.insert(at + i, node)


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
