"""Small, valid bundles with made-up weights, written in well under a second, for tests that need more than one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from streamtag.model.manifest import Calibration, Label
from streamtag.model.ngrams import IDF_UNIT, NgramContract
from streamtag.model.training.assemble import Fitted, Records, write_model


def build_tiny_bundle(
    path: Path,
    labels: Sequence[str] = ("spam", "greeting"),
    *,
    version: str = "1",
    weights_seed: int = 0,
    name: str = "tiny",
    buckets: int = 1_024,
    threshold: float = 0.5,
    critical: Sequence[str] = (),
) -> Path:
    """Writes ``<path>/<name>/<version>/`` and returns that directory.

    ``path`` serves as one of `model.directories`. Other seeds give other scores for the same text: spread over 0 … 1,
    so that thresholds around 0.5 have events on both sides.
    """
    random = np.random.default_rng(weights_seed)
    contract = NgramContract(bits=12)  # few buckets, so that every text hits some
    fitted = Fitted(
        labels=[Label(label, f"made-up label {label}", threshold, label in critical) for label in labels],
        contract=contract,
        buckets=np.sort(random.choice(1 << contract.bits, size=buckets, replace=False)).astype(np.uint32),
        idf=np.full(buckets, IDF_UNIT, dtype=np.uint16),
        coefficients=(random.normal(size=(buckets, len(labels))) * 4).astype(np.float32),
        bias=np.zeros(len(labels), dtype=np.float32),
        calibration=[Calibration(label, "platt", 1.0, 0.0, rows=0, positives=0) for label in labels],
    )
    records = Records(name, version, "Made-up weights for tests.", training={"weights_seed": weights_seed})
    return write_model(path, fitted, records)
