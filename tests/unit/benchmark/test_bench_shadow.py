from pathlib import Path

import numpy as np
from bench import shadow
from tiny_bundle import build_tiny_bundle

from streamtag.model.bundle import MODEL, read_bundle
from streamtag.model.loading import load_scorer


def test_a_copy_scores_alike_under_another_hash(tmp_path: Path) -> None:
    bundle = read_bundle(build_tiny_bundle(tmp_path))
    copy = shadow._copy(bundle, "2", bundle.model)
    assert copy.ref.sha256 != bundle.ref.sha256
    scores, same = (load_scorer(one.path, batch=64).score(["a cloud", "river stone"]) for one in (bundle, copy))
    assert np.array_equal(scores, same)


def test_the_bundle_that_hangs_passes_all_gates(tmp_path: Path) -> None:
    bundle = read_bundle(build_tiny_bundle(tmp_path, buckets=4_096))
    hanging = shadow._copy(bundle, "3", shadow._hanging(bundle))
    assert load_scorer(hanging.path, batch=64).labels == bundle.labels
    assert (hanging.path / MODEL).read_bytes() != bundle.model


def test_ratios_are_of_medians_and_against_no_challenger() -> None:
    steps = {
        "none": [{"p99_ms": 100.0}, {"p99_ms": 900.0}, {"p99_ms": 90.0}],
        "bundle": [{"p99_ms": 120.0}, {"p99_ms": 110.0}, {"p99_ms": 800.0}],
    }
    assert shadow.over_none(steps) == {"bundle_over_none": 1.2}
