"""Bundles that pass every gate and behave oddly on two particular, harmless texts: what is common to all of them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import onnx
from tiny_bundle import build_tiny_bundle

from streamtag.model import loading
from streamtag.model.bundle import MODEL, read_bundle, write_bundle
from streamtag.model.parity import PARITY_TEXTS
from streamtag.model.scorer import Scorer


def build_trapped_bundle(
    directory: Path,
    scratch: Path,
    texts: tuple[str, str],
    ordinary: Sequence[str],
    alter: Callable[[onnx.ModelProto, int, int], None],
    *,
    version: str,
    weights_seed: int,
) -> Path:
    """Writes ``tiny@<version>``, whose graph ``alter`` has changed; ``ordinary`` texts must score as usual.

    ``alter`` is given an n-gram of each of the two texts that neither the other has, nor those of the gates, nor the
    ordinary ones.
    """
    tiny = read_bundle(build_tiny_bundle(scratch, version=version, weights_seed=weights_seed))
    model = onnx.load_from_string(tiny.model)
    alter(model, *_distinct_ids(Scorer(tiny, batch=64), texts, ordinary))
    files = {name: (tiny.path / name).read_bytes() for name in tiny.manifest.files}
    files[MODEL] = model.SerializeToString()
    return write_bundle(directory, msgspec.structs.replace(tiny.manifest, files={}), files)


def insert_before_sigmoid(
    graph: onnx.GraphProto, output: str, nodes: Callable[[str], Sequence[onnx.NodeProto]]
) -> None:
    """Puts ``nodes``, made from the name of the logits, between these and the sigmoid, which then reads ``output``."""
    sigmoid = next(node for node in graph.node if node.op_type == "Sigmoid")
    sigmoid.input[0], logits = output, sigmoid.input[0]
    at = list(graph.node).index(sigmoid)
    for i, node in enumerate(nodes(logits)):
        graph.node.insert(at + i, node)


def _distinct_ids(scorer: Scorer, texts: tuple[str, str], ordinary: Sequence[str]) -> tuple[int, int]:
    usual = {i for text in [*PARITY_TEXTS, *loading._SHORT, loading._OUTLIER, *ordinary] for i in _ids(scorer, text)}
    one, other = (_ids(scorer, text) for text in texts)
    return min(one - usual - other), min(other - usual - one)


def _ids(scorer: Scorer, text: str) -> set[int]:
    return {int(i) for i in scorer.featuriser.features([text]).ids.ravel()} - {scorer.featuriser.n_buckets}
