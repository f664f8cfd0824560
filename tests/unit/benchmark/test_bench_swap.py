from pathlib import Path

import pytest
from bench import swap
from tiny_bundle import build_tiny_bundle


def test_a_stall_is_what_a_run_beside_a_load_takes_longer_than_usual() -> None:
    runs = swap._Runs(
        began=[0.0, 0.010, 0.020, 1.000, 1.012, 2.000],
        ended=[0.002, 0.012, 0.023, 1.012, 1.014, 2.030],
        first=[False, False, False, False, True, False],
    )
    found = swap.figures(runs, (0.0, 0.5), [(1.002, 1.011)])
    assert (found["load_s"], found["swaps"]) == (0.009, 1)
    assert found["stall_ms"] == pytest.approx(
        10.0
    )  # 12 ms beside the load, 2 ms usually; the late 30 ms are of neither
    assert found["first_of_a_new_one_ms"] == {"runs": 1, "p50": 2.0, "p99": 2.0, "max": 2.0}


def test_the_measurement_swaps_while_it_scores(tmp_path: Path) -> None:
    found = swap.run(build_tiny_bundle(tmp_path), swaps=2)
    assert found["swaps"] == 2
    assert found["quiet_ms"]["runs"] > 0  # type: ignore[index]
    assert found["beside_a_load_ms"]["runs"] > 0  # type: ignore[index]
    assert found["first_of_a_new_one_ms"]["runs"] in (1, 2)  # type: ignore[index]
