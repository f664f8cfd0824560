from pathlib import Path

import msgspec
import pytest
from bench import report
from bench.propagation import Change, contradictions, percentile


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "reports" / "bench.json"


def test_a_measurement_replaces_its_own_section_and_figures_only(file: Path) -> None:
    report.save("memory", {"events": 1}, {"rss_mb": 300.0}, report=file)
    report.save("load", {"steps": [1]}, {"half_load_p99_ms": 90.0}, report=file)
    report.save("memory", {"events": 2}, {"rss_mb": 200.0}, report=file)
    found = msgspec.json.decode(file.read_bytes())
    assert (found["rss_mb"], found["half_load_p99_ms"]) == (200.0, 90.0)
    assert found["sections"]["memory"]["events"] == 2
    assert found["sections"]["load"]["steps"] == [1]


def test_every_section_says_when_and_on_what_it_was_measured_but_not_on_whose_machine(file: Path) -> None:
    report.save("load", {}, {}, report=file)
    found = msgspec.json.decode(file.read_bytes())["sections"]["load"]
    assert {"date", "machine", "load_average_1min", "versions"} == found.keys()
    assert "node" not in found["machine"]


def test_a_report_of_the_time_before_sections_is_begun_anew(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b'{"worker_over_plain": 1.0, "rounds": []}')
    report.save("load", {}, {}, report=file)
    assert msgspec.json.decode(file.read_bytes()).keys() == {"goals", "sections"}


def test_a_figure_is_printed_with_its_goal_and_whether_that_is_met(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report.save("load", {}, {"half_load_p99_ms": 151.0, "rss_mb": 300.0, "quix_over_worker": 4.4}, report=file)
    lines = capsys.readouterr().out.splitlines()
    assert "half_load_p99_ms 151 (goal: at most 150; missed)" in lines
    assert "rss_mb 300 (goal: at most 300; met)" in lines
    assert "quix_over_worker 4.4 (goal: at least 4.5; missed)" in lines


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentiles_are_values_that_occurred(share: float, expected: float) -> None:
    assert percentile(range(1, 101), share) == expected


def test_a_change_lasts_until_the_slowest_worker_has_it() -> None:
    assert Change(7, 1_000.0, {"a": 1_010.0, "b": 1_025.0, "c": 1_003.0}).everywhere_ms == 25.0


CHANGES = [Change(2, 100.0, {"a": 110.0, "b": 120.0}), Change(3, 200.0, {"a": 230.0, "b": 210.0})]


@pytest.mark.parametrize("decided", [(90, 1), (115, 1), (115, 2), (121, 2), (229, 2), (231, 3), (300, 4)])
def test_a_decision_by_what_a_worker_may_still_have_had_is_none_of_ours(decided: tuple[float, int]) -> None:
    assert contradictions(iter([decided]), CHANGES) == []


@pytest.mark.parametrize("decided", [(121, 1), (231, 2), (500, 1)])
def test_a_decision_by_an_older_release_than_all_said_is_found(decided: tuple[float, int]) -> None:
    assert len(contradictions(iter([decided]), CHANGES)) == 1
