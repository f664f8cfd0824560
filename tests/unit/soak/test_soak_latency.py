"""Latencies by the second in which a record was due."""

from pathlib import Path

import numpy as np
from soak.latency import Latencies, percentile_ms

START_S = 1_795_000_000


def filled(*took_ms: float, second: int = 0) -> Latencies:
    latencies = Latencies(START_S)
    due_ms = (START_S + second) * 1_000
    for ms in took_ms:
        latencies.add(np.array([due_ms]), due_ms + ms)
    return latencies


def test_a_percentile_is_at_most_one_bin_above_the_truth() -> None:
    took = np.random.default_rng(0).lognormal(4.5, 0.8, 5_000)
    found = filled(*took)
    for share in (0.5, 0.9, 0.99):
        truth = float(np.quantile(took, share, method="inverted_cdf"))
        measured = percentile_ms(found.counts, share)
        assert measured is not None
        assert truth <= measured + 0.1
        assert measured <= truth * 1.05 + 0.1


def test_a_record_counts_in_the_second_in_which_it_was_due_not_read() -> None:
    found = filled(90_000.0, second=3)
    assert found.between(START_S + 3, START_S + 4).sum() == 1
    assert found.between(START_S + 93, START_S + 94).sum() == 0


def test_seconds_without_records_have_no_percentile() -> None:
    assert percentile_ms(filled(10.0).between(START_S + 500, START_S + 510), 0.5) is None


def test_the_run_may_be_longer_than_foreseen() -> None:
    found = filled(10.0, second=5_000)
    assert found.between(START_S + 5_000, START_S + 5_001).sum() == 1


def test_what_was_due_before_the_start_is_left_out() -> None:
    assert filled(10.0, second=-5).counts.sum() == 0


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    before = filled(10.0, 20.0)
    before.save(tmp_path / "latencies.npz")
    after = Latencies.load(tmp_path / "latencies.npz")
    assert after.from_s == before.from_s
    np.testing.assert_array_equal(after.counts, before.counts)
