"""The ledger names every gap, overlap and imbalance, and nothing else."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from summary_factory import make, pane, record

from streamtag.events.summary import CommitSummary
from streamtag.stats import ledger as room
from streamtag.stats.coverage import MAX_SPANS, Place
from streamtag.stats.ledger import Finding, Ledger, UnreadableSummaryError, contradictions, outcomes, read_summary


def fed(summaries: list[CommitSummary], *, shard: int = 0) -> tuple[Ledger, list[Finding]]:
    ledger, news = Ledger(), []
    for offset, one in enumerate(summaries):
        news += ledger.add(Place(shard, offset), one)
    return ledger, news


def spans(findings: list[Finding]) -> list[tuple[str, int, int]]:
    return [(found.kind, found.start, found.end) for found in findings]


# -- ranges ----------------------------------------------------------------------------------------------------------


def test_ranges_that_touch_are_whole() -> None:
    ledger, news = fed([make(5, 10), make(10, 30), make(30, 31)])
    assert news == list(ledger.findings()) == []
    assert ledger.counts() == {"gap": 0, "overlap": 0, "imbalance": 0, "unreadable": 0}
    totals = ledger.partitions["content", 0].totals
    assert (totals.summaries, totals.in_, totals.clean) == (3, 26, 26)


def test_a_gap_is_named_with_its_range_and_the_summaries_around_it() -> None:
    ledger, news = fed([make(0, 10), make(0, 7, partition=1), make(15, 20), make(7, 9, partition=1), make(20, 25)])
    assert news == list(ledger.findings()) == [Finding("gap", "content", 0, 10, 15, Place(0, 0), Place(0, 2))]
    assert ledger.partitions["content", 0].coverage.missing() == 5


def test_a_gap_that_is_filled_later_is_none_any_more() -> None:
    ledger, _ = fed([make(0, 10), make(20, 30), make(10, 15)])
    assert list(ledger.findings()) == [Finding("gap", "content", 0, 15, 20, Place(0, 2), Place(0, 1))]
    ledger.add(Place(0, 3), make(15, 20))
    assert list(ledger.findings()) == []


def test_an_overlap_is_named_with_its_range_and_the_summaries_around_it() -> None:
    ledger, news = fed([make(0, 10), make(4, 12, delivery="at_least_once")])
    overlap = Finding("overlap", "content", 0, 4, 10, Place(0, 0), Place(0, 1), "at_least_once")
    assert news == list(ledger.findings()) == [overlap]
    assert ledger.partitions["content", 0].doubled == 6


def test_a_long_overlap_is_one_and_told_once() -> None:
    ledger, news = fed([make(0, 100), *(make(at, at + 10) for at in range(0, 120, 10))])
    assert spans(news) == [("overlap", 0, 10)]
    assert spans(list(ledger.findings())) == [("overlap", 0, 100)]
    assert ledger.counts()["overlap"] == 1


def test_two_overlaps_are_two() -> None:
    _, news = fed([make(0, 100), make(0, 10), make(100, 110), make(10, 20), make(50, 60)])
    assert spans(news) == [("overlap", 0, 10), ("overlap", 10, 20), ("overlap", 50, 60)]
    _, news = fed([make(0, 10), make(15, 30), make(5, 15), make(15, 20)])
    assert spans(news) == [("gap", 10, 15), ("overlap", 5, 10), ("overlap", 15, 20)]


def test_what_a_group_committed_beyond_the_last_summary_is_a_gap() -> None:
    ledger, _ = fed([make(0, 10), make(0, 10, partition=1), make(0, 10, partition=2)])
    found = ledger.tail_gaps({("content", 0): 10, ("content", 1): 14, ("content", 2): -1_001})
    assert found == [Finding("gap", "content", 1, 10, 14, Place(0, 1), None, "committed without a summary")]


CUTS = st.lists(st.integers(1, 9), min_size=1, max_size=30)


@given(CUTS, st.data())
def test_exactly_what_is_left_out_or_repeated_is_found(lengths: list[int], data: st.DataObject) -> None:
    edges = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    whole = [make(a, b) for a, b in pairwise(edges)]
    times = data.draw(st.lists(st.integers(0, 2), min_size=len(whole), max_size=len(whole)))
    given_ = [one for one, n in zip(whole, times, strict=True) for _ in range(n)]
    ledger, _ = fed(given_)
    missing = {p for f in ledger.findings() if f.kind == "gap" for p in range(f.start, f.end)}
    doubled = {p for f in ledger.findings() if f.kind == "overlap" for p in range(f.start, f.end)}
    inner = [i for i, n in enumerate(times) if n]
    left_out = [whole[i] for i in range(inner[0], inner[-1]) if not times[i]] if inner else []
    assert missing == {p for one in left_out for p in range(one.from_offset, one.to_offset)}
    assert doubled == {
        p for one, n in zip(whole, times, strict=True) if n == 2 for p in range(one.from_offset, one.to_offset)
    }


# -- balance ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "saying"),
    [
        ({"in_": 9}, "in 9 is not tagged 0 + clean 10 + dead 0 + skipped 0 = 10"),
        ({"dead": 1}, "in 10 is not tagged 0 + clean 10 + dead 1 + skipped 0 = 11"),
        ({"in_": 11, "clean": 11}, "more than the positions"),
        ({"panes": [pane(9)]}, "its panes hold 9 events, tagged + clean are 10"),
        ({"panes": [pane(11), pane(3, arm="candidate")]}, "its panes hold 14 events"),
        ({"panes": [pane(8), pane(2, arm="candidate", shadow=True)]}, "its panes hold 8 events"),
    ],
)
def test_a_summary_that_does_not_add_up_is_an_imbalance(changes: dict[str, Any], saying: str) -> None:
    ledger, news = fed([make(0, 10), make(10, 20, **changes)])
    assert news == list(ledger.findings())
    [found] = news
    assert (found.kind, found.start, found.end, found.after) == ("imbalance", 10, 20, Place(0, 1))
    assert saying in found.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"tagged": 2, "clean": 3, "dead": 4, "skipped": 1},
        {"in_": 4, "clean": 4},  # positions that hold no record
        {"panes": [pane(4), pane(6, arm="candidate")]},  # a split
        {"panes": [pane(10), pane(10, arm="candidate", shadow=True)]},
        {"in_": 0, "clean": 0, "panes": []},
    ],
)
def test_a_summary_that_adds_up_is_none(changes: dict[str, Any]) -> None:
    assert contradictions(make(0, 10, **changes)) == []


def test_outcomes_are_all_that_a_record_can_become() -> None:
    assert outcomes(make(0, 10, tagged=1, clean=2, dead=3, skipped=4)) == 10


@pytest.mark.parametrize("kind", ["imbalance", "overlap"])
def test_findings_beyond_the_limit_are_counted(kind: str) -> None:
    count = room.MAX_NAMED + 7
    wrong = {
        "imbalance": [make(at, at + 1, dead=1) for at in range(count)],
        "overlap": [make(0, 1_000), *(make(at, at + 1) for at in range(0, 3 * count, 3))],
    }
    ledger, news = fed(wrong[kind])
    assert len(news) == ledger.counts()[kind] == count
    assert len(list(ledger.findings())) == room.MAX_NAMED


def test_gaps_beyond_what_is_kept_apart_are_counted() -> None:
    ledger, news = fed([make(at, at + 1) for at in range(0, 2 * MAX_SPANS + 10, 2)])
    assert len(news) == ledger.counts()["gap"] == MAX_SPANS + 4
    assert ledger.partitions["content", 0].coverage.missing() == MAX_SPANS + 4


def test_what_cannot_be_read_is_named_and_counted_up_to_the_limit() -> None:
    ledger, _ = fed([make(0, 10)])
    for offset in range(room.MAX_NAMED + 7):
        ledger.put_aside(Place(0, 1 + offset), b"{}", UnreadableSummaryError("why"))
    assert ledger.counts()["unreadable"] == room.MAX_NAMED + 7
    assert len(ledger.asides) == room.MAX_NAMED
    assert (ledger.asides[0].place, ledger.asides[0].bytes, ledger.asides[0].reason) == (Place(0, 1), 2, "why")


# -- records ---------------------------------------------------------------------------------------------------------


def test_a_summary_is_read_as_it_was_written() -> None:
    one = make(0, 10)
    assert read_summary(*record(one)) == one


@pytest.mark.parametrize(
    ("changes", "saying"),
    [
        ({"version": 2}, "its version is 2; this streamtag reads 1"),
        ({"topic": "other"}, "its key names another source"),
        ({"from_offset": 11}, r"its range \[11, 10\) is none"),
        ({"from_offset": -1}, "is none"),
        ({"to_offset": 2**60}, "is none"),
        ({"dead": -1}, "negative"),
        ({"in_": 2**60}, "beyond any log"),
    ],
)
def test_a_summary_that_contradicts_itself_is_not_guessed_at(changes: dict[str, Any], saying: str) -> None:
    key, _ = record(make(0, 10))
    with pytest.raises(UnreadableSummaryError, match=saying):
        read_summary(key, record(make(0, 10, panes=[], **changes))[1])


@pytest.mark.parametrize(
    "value", [None, b"", b"hello", b"\xff\xfe", b"[]", b"{}", b'{"version": 1}', b'{"version":"1"}']
)
def test_what_is_no_summary_is_not_guessed_at(value: bytes | None) -> None:
    with pytest.raises(UnreadableSummaryError):
        read_summary(b"content/0", value)


def test_a_reason_quotes_no_content() -> None:
    with pytest.raises(UnreadableSummaryError) as caught:
        read_summary(b"content/0", b'{"version": 1, "topic": ["hush"]}')
    assert "hush" not in str(caught.value)
