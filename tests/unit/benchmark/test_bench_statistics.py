from pathlib import Path

from bench.statistics_cost import Tagging, cost
from tiny_bundle import build_tiny_bundle


def test_both_taggers_tag_everything_and_only_one_counts(tmp_path: Path) -> None:
    tagging = Tagging(build_tiny_bundle(tmp_path), 2_048)
    found = tagging.round(2)
    assert found.keys() == {"with", "without"}
    assert min(found.values()) > 0


def test_a_cost_is_the_median_of_what_each_round_says() -> None:
    found = cost([{"with": 11.0, "without": 10.0}, {"with": 30.0, "without": 20.0}, {"with": 24.0, "without": 20.0}])
    assert found["over_none"] == {"min": 1.1, "median": 1.2, "max": 1.5}
    assert found["statistics_us"] == 4.0
