"""Curves as nodes at the end of any bundle's graph: its scores in, recalibrated scores out.

A label that is kept passes by, bit for bit. All arithmetic goes element by element over rows of a multiple of 8, so
that a document has the same bits in any company; each term of a curve rises, so that scores do in float32, too.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from streamtag.errors import BundleError
from streamtag.model.calibration.curve import SUREST
from streamtag.model.importing.graph import LANES, rename
from streamtag.model.manifest import MODEL, Curve
from streamtag.model.session import SCORES

__all__ = ["with_curves"]

_LOGIT = "logit"
"""The explanation of additive models looks for the tensor of this name (`streamtag.model.additive`)."""


def with_curves(model: bytes, curves: Sequence[Curve], step: int) -> bytes:
    """The model with the curves behind its scores.

    Args:
        model: bytes of ``model.onnx``.
        curves: one per label.
        step: which recalibration of this graph it is; names of tensors carry it.

    Raises:
        BundleError: onnxruntime takes the graph, but ONNX does not.
    """
    changed = onnx.load_from_string(model)
    graph = changed.graph
    nodes = _Nodes(f"recalibration/{step}", len(curves))
    if any(value.name == _LOGIT for value in (*graph.input, *graph.initializer)):
        nodes.logit = nodes.named(_LOGIT)
    before = nodes.named("before")
    rename(graph, SCORES, before)
    if any(_LOGIT in node.output for node in graph.node):
        rename(graph, _LOGIT, nodes.named("logit_before"))
    nodes.add_curves(before, curves)
    graph.node.extend(nodes.nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in nodes.constants.items())
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, [None, len(curves)]))
    try:
        onnx.checker.check_model(changed)
    except onnx.checker.ValidationError as error:
        said = str(error).strip().partition("\n")[0]
        raise BundleError(
            "the graph cannot be given curves", problems=[f"{MODEL}: {said}"], hint="Export the model anew."
        ) from None
    return bytes(changed.SerializeToString(deterministic=True))


class _Nodes:
    """Nodes and constants of one recalibration."""

    def __init__(self, prefix: str, labels: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[np.generic]] = {}
        self.logit = _LOGIT
        self._prefix, self._labels = prefix, labels
        self._lanes = -(-labels // LANES) * LANES

    def named(self, name: str) -> str:
        """A name that no other recalibration uses."""
        return f"{self._prefix}/{name}"

    def add_curves(self, before: str, curves: Sequence[Curve]) -> None:
        """From the scores ``before`` to `SCORES`."""
        z = self._logit(before)
        first = self._vector([curve.xs[0] for curve in curves])
        value = self._add(
            "Mul",
            self._add("Min", self._add("Sub", z, first), self._scalar(0)),
            self._vector([curve.low for curve in curves]),
        )
        value = self._add("Add", value, self._vector([curve.ys[0] for curve in curves]))
        for k in range(max(len(curve.xs) for curve in curves) - 1):
            x, width, slope = np.transpose([_segment(curve, k) for curve in curves])
            part = self._add("Sub", z, self._vector(x))
            part = self._add("Min", self._add("Max", part, self._scalar(0)), self._vector(width))
            value = self._add("Add", value, self._add("Mul", part, self._vector(slope)))
        last = self._add("Sub", z, self._vector([curve.xs[-1] for curve in curves]))
        above = self._add(
            "Mul", self._add("Max", last, self._scalar(0)), self._vector([curve.high for curve in curves])
        )
        self._add("Add", value, above, out=self.logit)
        after = self._cut(self._add("Sigmoid", self.logit))
        keeps = self._constant(np.array([[curve.kept for curve in curves]]))
        self._add("Where", keeps, before, after, out=SCORES)

    def _logit(self, scores: str) -> str:
        if self._lanes > self._labels:
            pads = self._constant(np.array([0, 0, 0, self._lanes - self._labels], dtype=np.int64))
            scores = self._add("Pad", scores, pads, self._scalar(0.5))
        sure = self._add("Min", self._add("Max", scores, self._scalar(SUREST)), self._scalar(1 - SUREST))
        return self._add("Sub", self._add("Log", sure), self._add("Log", self._add("Sub", self._scalar(1), sure)))

    def _cut(self, wide: str) -> str:
        if self._lanes == self._labels:
            return wide
        first, end, axis = (self._constant(np.array([n], dtype=np.int64)) for n in (0, self._labels, 1))
        return self._add("Slice", wide, first, end, axis)

    def _add(self, operator: str, *inputs: str, out: str | None = None) -> str:
        name = out or self.named(str(len(self.nodes)))
        self.nodes.append(helper.make_node(operator, list(inputs), [name]))
        return name

    def _vector(self, values: Sequence[float] | NDArray[np.float64]) -> str:
        wide = np.zeros(self._lanes, dtype=np.float32)
        wide[: len(values)] = values
        return self._constant(wide)

    def _scalar(self, value: float) -> str:
        return self._constant(np.array(value, dtype=np.float32))

    def _constant(self, array: NDArray[np.generic]) -> str:
        name = self.named(f"constant/{len(self.constants)}")
        self.constants[name] = array
        return name


def _segment(curve: Curve, k: int) -> tuple[float, float, float]:
    """Start, width and slope of segment k; of no width where the curve has no such segment."""
    if k + 1 >= len(curve.xs):
        return curve.xs[-1], 0.0, 0.0
    width = curve.xs[k + 1] - curve.xs[k]
    return curve.xs[k], width, (curve.ys[k + 1] - curve.ys[k]) / width
