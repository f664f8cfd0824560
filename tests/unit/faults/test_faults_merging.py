"""Reports of several campaigns add up."""

from typing import Any

import pytest
from faults.merging import merge


def report(seed: int, **other: Any) -> dict[str, Any]:
    return {
        "seed": seed,
        "minutes": 5.0,
        "partitions": 6,
        "workers": 3,
        "brokers": 2,
        "delivery": "exactly_once",
        "date": "2026-11-23T08:00:00+00:00",
        "events": 1_000,
        "tag_events": 990,
        "summaries": 10,
        "holes": 5,
        "upstream": {"chunk repeated": 3},
        "faults_total": 6,
        "rounds": 5,
        "two_at_once": 1,
        "faults": {"worker killed": 4, "redis killed": 2},
        "changes": {"threshold change": 20},
        "changes_refused": 1,
        "each": 0,
        "fell_short": {},
        "points": {"worker killed at a point (commit.before)": 1},
        "points_not_reached": {},
        "not_reached": [],
        "lost": 0,
        "doubled": 0,
        "wrong": 0,
        "repeated": {"outcomes": 0, "longest_run": 0, "longest_transaction": 0},
        "violations": {},
        "examples": [],
        "recovery_s": {"worker killed": {"p50": 2.0, "max": 3.0, "n": 3, "all": [1.0, 2.0, 3.0]}},
        **other,
    }


def test_sums_and_seeds() -> None:
    bad = report(8, lost=2, wrong=1, violations={"lost": 2, "stale": 1}, examples=["lost: 1/7"])
    found = merge([report(7), bad], each=0)
    assert found["seed"] == [7, 8]
    assert (found["events"], found["faults_total"], found["lost"], found["wrong"]) == (2_000, 12, 2, 1)
    assert found["faults"] == {"worker killed": 8, "redis killed": 4}
    assert found["violations"] == {"lost": 2, "stale": 1}
    assert found["examples"] == ["lost: 1/7"]
    assert [one["seed"] for one in found["campaigns"]] == [7, 8]


def test_recovery_is_computed_anew_from_every_measurement() -> None:
    slow = {"worker killed": {"p50": 9.0, "max": 9.0, "n": 1, "all": [9.0]}}
    found = merge([report(7), report(8, recovery_s=slow)], each=0)["recovery_s"]
    assert found == {"worker killed": {"p50": 2.5, "max": 9.0, "n": 4, "all": [1.0, 2.0, 3.0, 9.0]}}


def test_a_kind_falls_short_only_over_all_campaigns() -> None:
    found = merge([report(7), report(8)], each=8)
    assert found["fell_short"] == {"redis killed": 4}


def test_a_kind_is_out_of_reach_only_where_no_campaign_had_it() -> None:
    one, other = (
        report(7, not_reached=["broker failover", "snapshot disk full"]),
        report(8, not_reached=["broker failover"]),
    )
    assert merge([one, other], each=0)["not_reached"] == ["broker failover"]


def test_a_report_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        merge([report(7), report(7)], each=0)
