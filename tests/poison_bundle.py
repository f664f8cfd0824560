"""A bundle that passes every gate and yet fails on two particular, harmless texts: one raises, one scores NaN."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tiny_bundle import build_tiny_bundle

from streamtag.model import loading
from streamtag.model.bundle import MODEL, read_bundle, write_bundle
from streamtag.model.scorer import Scorer
from streamtag.model.training.assemble import PARITY_TEXTS

RAISES = "zqxjkv zqxjkv"
SCORES_NAN = "wvyzpq wvyzpq"


def build_poison_bundle(directory: Path, scratch: Path, ordinary: list[str]) -> Path:
    """Writes ``tiny@3``; ``ordinary`` texts must score as usual.

    An n-gram that only `RAISES` has makes the graph look beyond the end of a table; one that only `SCORES_NAN` has
    carries a weight that is not a number.
    """
    tiny = read_bundle(build_tiny_bundle(scratch, version="3", weights_seed=3))
    scorer = Scorer(tiny, batch=64)
    trap, nan = distinct_ids(scorer, (RAISES, SCORES_NAN), ordinary)
    model = onnx.load_from_string(tiny.model)
    _poison(model, trap, nan)
    files = {name: (tiny.path / name).read_bytes() for name in tiny.manifest.files}
    files[MODEL] = model.SerializeToString()
    return write_bundle(directory, msgspec.structs.replace(tiny.manifest, files={}), files)


def distinct_ids(scorer: Scorer, texts: tuple[str, str], ordinary: list[str]) -> tuple[int, int]:
    """An n-gram of each of two texts that neither the other has, nor those of the gates, nor the ordinary ones."""
    usual = {i for text in [*PARITY_TEXTS, *loading._SHORT, loading._OUTLIER, *ordinary] for i in _ids(scorer, text)}
    one, other = (_ids(scorer, text) for text in texts)
    return min(one - usual - other), min(other - usual - one)


def _ids(scorer: Scorer, text: str) -> set[int]:
    return {int(i) for i in scorer.featuriser.features([text]).ids.ravel()} - {scorer.featuriser.n_buckets}


def _poison(model: onnx.ModelProto, trap: int, nan: int) -> None:
    graph = model.graph
    table = next(i for i in graph.initializer if i.name == "table")
    values = numpy_helper.to_array(table).copy()
    values[nan] = np.nan
    table.CopyFrom(numpy_helper.from_array(values, "table"))
    graph.initializer.extend(
        [
            helper.make_tensor("trap_id", TensorProto.INT32, [1], [trap]),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        ]
    )
    sigmoid = next(node for node in graph.node if node.op_type == "Sigmoid")
    sigmoid.input[0], logit = "trapped", sigmoid.input[0]
    at = list(graph.node).index(sigmoid)
    nodes = [
        helper.make_node("Equal", ["ids", "trap_id"], ["is_trap"]),
        helper.make_node("Cast", ["is_trap"], ["is_trap_int"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["is_trap_int"], ["trap_index"], keepdims=0),
        helper.make_node("Gather", ["one", "trap_index"], ["factor"]),  # index 1 of a table of 1: raises
        helper.make_node("Mul", [logit, "factor"], ["trapped"]),
    ]
    for i, node in enumerate(nodes):
        graph.node.insert(at + i, node)
