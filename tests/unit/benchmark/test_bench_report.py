import pytest
from bench import report
from bench.plain import STEPS
from bench.propagation import Change, contradictions, percentile

PLAIN = {"plain_us": 20.0, **{f"{step}_us": 4.0 for step in STEPS}}


def peer(us: float) -> dict[str, float]:
    return {"us": us, "events_per_s": 1e6 / us, "broker_us": 1.0, "others_cores": 0.0, "rss_mib": 100.0}


ROUNDS = [
    {"plain": PLAIN, "exactly_once": peer(us), "at_least_once": peer(us + 1), "faust": peer(us * 12)}
    for us in (24.0, 22.0, 40.0)
]


def test_the_document_gives_medians_ratios_and_spread() -> None:
    found = report.document({"events": 3}, ROUNDS)
    assert (found["plain_us"], found["worker_us"], found["faust_us"]) == (20.0, 24.0, 288.0)
    assert (found["worker_over_plain"], found["faust_over_worker"]) == (1.2, 12.0)
    assert {f"{step}_us" for step in STEPS} <= found.keys()
    assert found["spread"]["exactly_once"]["us"] == {"min": 22.0, "median": 24.0, "max": 40.0}  # type: ignore[index]


def test_the_document_says_where_it_was_measured_but_not_on_whose_machine() -> None:
    found = report.origin()
    assert {"date", "machine", "load_average_1min", "versions"} == found.keys()
    assert "node" not in found["machine"]  # type: ignore[operator]


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
