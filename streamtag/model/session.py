"""The onnxruntime session of a bundle, and what its graph must look like."""

import numpy as np
from numpy.typing import NDArray
from onnxruntime import ExecutionMode, InferenceSession, SessionOptions  # type: ignore[attr-defined]
from onnxruntime.capi import onnxruntime_pybind11_state as ort_native

from streamtag.errors import BundleError
from streamtag.model.bundle import MODEL, Bundle
from streamtag.model.manifest import OrtOptions
from streamtag.model.ngrams import Features

IDS, WEIGHTS, SCORES = "ids", "weights", "scores"
_INPUTS = {IDS: ("tensor(int32)", 2), WEIGHTS: ("tensor(float)", 3)}
ORT_ERRORS = tuple(kind for kind in vars(ort_native).values() if isinstance(kind, type) and issubclass(kind, Exception))
"""Everything onnxruntime raises of its own; its classes share no base but Exception."""


class GraphSession:
    """One loaded graph: features in, probabilities out."""

    def __init__(self, bundle: Bundle) -> None:
        try:
            self._session = InferenceSession(
                bundle.model, _session_options(bundle.manifest.ort), providers=["CPUExecutionProvider"]
            )
        except ORT_ERRORS as error:
            raise BundleError(
                f"bundle {bundle.ref} at {bundle.path} is refused",
                problems=[
                    f"{MODEL}: onnxruntime {ort_native.get_version_string()} cannot load it: {_first_line(error)}"
                ],
            ) from None
        found = self._signature_problems(len(bundle.labels))
        if found:
            raise BundleError(f"bundle {bundle.ref} at {bundle.path} is refused", problems=found)

    def run(self, features: Features) -> NDArray[np.float32]:
        """Probabilities, float32 [n, labels]."""
        (scores,) = self._session.run([SCORES], {IDS: features.ids, WEIGHTS: features.weights})
        return np.asarray(scores, dtype=np.float32)

    def _signature_problems(self, n_labels: int) -> list[str]:
        inputs = {node.name: (node.type, len(node.shape)) for node in self._session.get_inputs()}
        outputs = {node.name: node for node in self._session.get_outputs()}
        found = []
        if inputs != _INPUTS:
            found.append(f"{MODEL}: inputs are {inputs}, must be {_INPUTS}")
        scores = outputs.get(SCORES)
        if scores is None or scores.type != "tensor(float)" or len(scores.shape) != 2:
            found.append(f"{MODEL}: must have an output {SCORES} of float [n, labels]")
        elif scores.shape[1] != n_labels:
            found.append(f"{MODEL}: gives {scores.shape[1]} scores for {n_labels} labels")
        return found


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
