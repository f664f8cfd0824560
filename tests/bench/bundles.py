"""Stand-in bundles with any number of labels: what moderation@1 costs, but for the width of its table."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamtag.model.bundle import read_bundle
from streamtag.model.manifest import Calibration, Label
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer
from streamtag.model.training.assemble import Fitted, Records, as_scorer, write_model

from .corpus import Corpus

DIRECTORY = Path("build/bench-bundles")
SHIPPED = "moderation@1"
_SAMPLE = 2_000
# Of the logits over the sample: scores spread from nearly 0 to above one half.
_MEAN_LOGIT, _SD_LOGIT = -1.5, 1.5


def build_standin(labels: int, directory: Path = DIRECTORY) -> Path:
    """Writes ``<directory>/standin-<labels>/1`` and returns that path; equal arguments give equal bytes.

    Featuriser, buckets and IDF are those of `SHIPPED`, so a text has as many n-grams; the weights are made up.

    Args:
        labels: how many.
        directory: root of the bundles.
    """
    shipped = Scorer(read_bundle(find_bundle(SHIPPED, [])), batch=64).featuriser
    ids = [f"topic_{number:02}" for number in range(1, labels + 1)]
    fitted = Fitted(
        labels=[Label(name, f"made-up label {name}", 0.5) for name in ids],
        contract=shipped.contract,
        buckets=shipped.buckets,
        idf=shipped.idf,
        coefficients=_weights(len(shipped.buckets), labels),
        bias=np.zeros(labels, dtype=np.float32),
        calibration=[Calibration(name, "platt", 1.0, 0.0, rows=0, positives=0) for name in ids],
    )
    records = Records(f"standin-{labels}", "1", "Made-up weights, for measuring only.", training={"like": SHIPPED})
    sample = as_scorer(fitted, records).score(Corpus().texts[:_SAMPLE]).astype(np.float64)
    margins = np.log(sample / (1 - sample))
    slopes = _SD_LOGIT / margins.std(axis=0)
    intercepts = _MEAN_LOGIT - slopes * margins.mean(axis=0)
    calibration = [
        Calibration(name, "platt", round(float(a), 6), round(float(b), 6), rows=0, positives=0)
        for name, a, b in zip(ids, slopes, intercepts, strict=True)
    ]
    return write_model(directory, replace(fitted, calibration=calibration), records)


def _weights(buckets: int, labels: int) -> NDArray[np.float32]:
    """Evenly spread over -1 … 1 by hash: the same with every version of numpy."""
    raw = hashlib.shake_128(b"streamtag stand-in").digest(2 * buckets * labels)
    spread = np.frombuffer(raw, dtype="<u2").astype(np.float32) / np.float32(32_768) - np.float32(1)
    return spread.reshape(buckets, labels)
