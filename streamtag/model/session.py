"""The onnxruntime session of a bundle, and what its graph must look like."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnxruntime import ExecutionMode, InferenceSession, SessionOptions  # type: ignore[attr-defined]
from onnxruntime.capi import onnxruntime_pybind11_state as ort_native

from streamtag.errors import BundleError
from streamtag.model.bundle import MEND_HINT, MODEL, Bundle
from streamtag.model.contracts.preprocessor import Inputs, InputSpec
from streamtag.model.manifest import OrtOptions

SCORES = "scores"
ORT_ERRORS = tuple(kind for kind in vars(ort_native).values() if isinstance(kind, type) and issubclass(kind, Exception))
"""Everything onnxruntime raises of its own; its classes share no base but Exception."""


class GraphSession:
    """One loaded graph: input arrays in, probabilities out.

    Args:
        bundle: whose graph it is.
        signature: inputs that its preprocessing contract gives.
    """

    def __init__(self, bundle: Bundle, signature: Mapping[str, InputSpec]) -> None:
        try:
            self._session = InferenceSession(
                bundle.model, _session_options(bundle.manifest.ort), providers=["CPUExecutionProvider"]
            )
        except ORT_ERRORS as error:
            text = f"{MODEL}: onnxruntime {ort_native.get_version_string()} cannot load it: {_first_line(error)}"
            raise _refused(bundle, [text]) from None
        found = self._signature_problems(signature, len(bundle.labels))
        if found:
            raise _refused(bundle, found)

    def run(self, inputs: Inputs) -> NDArray[np.float32]:
        """Probabilities, float32 [n, labels]."""
        (scores,) = self._session.run([SCORES], inputs)
        return np.asarray(scores, dtype=np.float32)

    def _signature_problems(self, signature: Mapping[str, InputSpec], n_labels: int) -> list[str]:
        inputs = {node.name: node for node in self._session.get_inputs()}
        outputs = {node.name: node for node in self._session.get_outputs()}
        found = []
        if inputs.keys() != signature.keys():
            found.append(f"{MODEL}: inputs are {', '.join(inputs)}; the contract gives {', '.join(signature)}")
        for name in inputs.keys() & signature.keys():
            node, spec = inputs[name], signature[name]
            if node.type != spec.type or not _fits(node.shape, spec.shape):
                found.append(
                    f"{MODEL}: input {name} is {node.type} of {_shape(node.shape)}; the contract gives {spec.type} of "
                    f"{_shape(spec.shape)}"
                )
        scores = outputs.get(SCORES)
        if scores is None or scores.type != "tensor(float)" or len(scores.shape) != 2:
            found.append(f"{MODEL}: must have an output {SCORES} of float [n, labels]")
        elif scores.shape[1] != n_labels:
            found.append(f"{MODEL}: gives {scores.shape[1]} scores for {n_labels} labels")
        return found


def _refused(bundle: Bundle, found: list[str]) -> BundleError:
    return BundleError(f"bundle {bundle.ref} at {bundle.path} is refused", problems=found, hint=MEND_HINT)


def _fits(wanted: Sequence[int | str | None], given: Sequence[int | None]) -> bool:
    """Whether arrays of the shape that a contract gives can be those that a graph wants; the first axis may differ."""
    if len(wanted) != len(given):
        return False
    axes = zip(wanted[1:], given[1:], strict=True)
    return all(not isinstance(want, int) or give is None or want == give for want, give in axes)


def _shape(axes: Sequence[int | str | None]) -> str:
    return f"[{', '.join('…' if axis is None else str(axis) for axis in axes)}]"


def _session_options(wanted: OrtOptions) -> SessionOptions:
    options = SessionOptions()
    options.intra_op_num_threads = wanted.intra_op_num_threads
    options.inter_op_num_threads = wanted.inter_op_num_threads
    options.execution_mode = ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = wanted.cpu_mem_arena
    options.enable_mem_pattern = wanted.mem_pattern
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(wanted.allow_spinning)))
    options.add_session_config_entry("session.inter_op.allow_spinning", str(int(wanted.allow_spinning)))
    options.log_severity_level = 3  # errors are raised; its warnings go to stderr in a format of their own
    return options


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
