from pathlib import Path

from bench.statistics_cost import Tagging, cost
from tiny_bundle import build_tiny_bundle


def test_both_taggers_tag_everything_and_only_one_counts(tmp_path: Path) -> None:
    tagging = Tagging(build_tiny_bundle(tmp_path), 2_048)
    for turn in tagging.turns(1, 3):
        assert turn.keys() == {"with", "without"}
        assert min(turn.values()) > 0


def test_a_cost_is_the_median_of_what_each_turn_says() -> None:
    found = cost([{"with": 11.0, "without": 10.0}, {"with": 30.0, "without": 20.0}, {"with": 24.0, "without": 20.0}])
    assert found["over_none"] == {"q1": 1.15, "median": 1.2, "q3": 1.35}
    assert found["statistics_us"] == {"q1": 2.5, "median": 4.0, "q3": 7.0}
