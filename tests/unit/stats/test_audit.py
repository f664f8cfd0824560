"""The recount finds every record without exactly one outcome, and every summary that says something else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from summary_factory import make

from streamtag.events import dead_letters
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.events.tags import Source, Tag, TagEvent
from streamtag.stats import audit as room
from streamtag.stats.audit import (
    AuditFinding,
    Kind,
    PartitionAudit,
    Recounted,
    dead_outcome,
    tag_outcome,
    tombstone_outcome,
)
from streamtag.stats.coverage import Place
from streamtag.stats.ledger import MAX_NAMED
from streamtag.tagger import emit

START, END = 100, 112
WHOLE = {"tagged": 3, "clean": 4, "dead": 1, "skipped": 2, "in_": 10}


def audited(**options: Any) -> PartitionAudit:
    """Twelve positions: 0-2 tagged, 3-6 clean, 7 dead, 8 and 11 tombstones, 9 and 10 hold nothing."""
    audit = PartitionAudit("content", 0, START, END, **options)
    audit.records(range(100, 108))
    audit.records([108, 111], tombstones=True)
    audit.outcome(Kind.TAGGED, [100, 101, 102])
    if not options.get("only_tagged"):
        audit.outcome(Kind.CLEAN, [103, 104, 105, 106])
    audit.outcome(Kind.DEAD, [107])
    audit.outcome(Kind.SKIPPED, [108, 111])
    return audit


def found(audit: PartitionAudit) -> list[tuple[str, int, int, int]]:
    return [(f.kind, f.start, f.end, f.records) for f in audit.findings()[0]]


@pytest.mark.parametrize("only_tagged", [False, True])
def test_a_range_in_which_everything_is_right_has_no_findings(only_tagged: bool) -> None:
    audit = audited(only_tagged=only_tagged)
    assert audit.summary(Place(0, 1), make(START, END, **WHOLE))
    assert audit.findings() == ([], {})
    assert audit.recounted() == Recounted(10, 3, 4, 1, 2)
    assert (audit.compared, audit.partly) == (1, 0)


def test_lost_records_are_one_run_across_positions_that_hold_nothing() -> None:
    audit = PartitionAudit("content", 0, START, END)
    audit.records([100, 101, 104, 105, 110])
    audit.outcome(Kind.CLEAN, [100, 110])
    audit.summary(Place(0, 1), make(90, 120))
    assert found(audit) == [("lost", 101, 106, 3)]


def test_doubled_invented_and_wrong_outcomes_are_told_apart() -> None:
    audit = audited()
    audit.summary(Place(0, 1), make(90, 120))
    audit.outcome(Kind.DEAD, [101])
    audit.outcome(Kind.CLEAN, [109])
    assert found(audit) == [("doubled", 101, 102, 1), ("invented", 109, 110, 1)]
    swapped = PartitionAudit("content", 0, START, END)
    swapped.summary(Place(0, 1), make(90, 120))
    swapped.records([100])
    swapped.records([101], tombstones=True)
    swapped.outcome(Kind.SKIPPED, [100])
    swapped.outcome(Kind.CLEAN, [101])
    assert found(swapped) == [("wrong", 100, 102, 2)]


def test_records_that_no_summary_or_more_than_one_covers_are_found() -> None:
    audit = audited()
    for start, end in ((95, 104), (102, 106), (109, 111), (110, 120)):
        audit.summary(Place(0, start), make(start, end, tagged=1, clean=3))
    assert [f for f in found(audit) if f[0] != "mismatch"] == [("uncovered", 106, 109, 3), ("overlap", 102, 104, 2)]
    assert (audit.compared, audit.partly) == (2, 2)


def test_a_summary_that_says_something_else_is_named_with_both_numbers() -> None:
    audit = audited()
    audit.summary(Place(2, 7), make(START, END, **{**WHOLE, "tagged": 4, "clean": 3}))
    assert audit.findings() == (
        [
            AuditFinding(
                "mismatch", "content", 0, START, END, 10, Place(2, 7), "tagged 4, recounted 3, clean 3, recounted 4"
            )
        ],
        {"mismatch": 1},
    )


def test_where_clean_events_leave_no_record_a_loss_shows_in_the_summary() -> None:
    audit = PartitionAudit("content", 0, 0, 3, only_tagged=True)
    audit.records([0, 1, 2])
    audit.outcome(Kind.TAGGED, [0])
    audit.summary(Place(0, 0), make(0, 3, tagged=2, clean=1))
    assert [f.detail for f in audit.findings()[0]] == ["tagged 2, recounted 1, clean 1, recounted 2"]


def test_what_lies_outside_of_the_range_does_not_count() -> None:
    audit = audited()
    audit.records([99, 112, 2**62])
    audit.outcome(Kind.CLEAN, [99, 112, 2**62])
    assert not audit.summary(Place(0, 1), make(90, 100))
    assert not audit.summary(Place(0, 2), make(112, 120))
    audit.summary(Place(0, 3), make(90, 120))
    assert found(audit) == []
    assert audit.recounted() == Recounted(10, 3, 4, 1, 2)


KINDS = st.sampled_from(["nothing", "event", "tombstone"])


@given(st.lists(st.tuples(KINDS, st.lists(st.sampled_from(Kind), max_size=2)), min_size=1, max_size=25))
def test_exactly_the_positions_without_one_right_outcome_are_found(given_: list[tuple[str, list[Kind]]]) -> None:
    audit = PartitionAudit("content", 0, 0, len(given_))
    audit.summary(Place(0, 0), make(-1, len(given_) + 1))
    wanted: dict[str, set[int]] = {"lost": set(), "doubled": set(), "invented": set(), "wrong": set()}
    for offset, (record, outcomes) in enumerate(given_):
        if record != "nothing":
            audit.records([offset], tombstones=record == "tombstone")
        for outcome in outcomes:
            audit.outcome(outcome, [offset])
        if record == "nothing":
            wanted["invented"] |= {offset} if outcomes else set()
        elif len(outcomes) != 1:
            wanted["doubled" if outcomes else "lost"].add(offset)
        elif (outcomes[0] is Kind.SKIPPED) != (record == "tombstone"):
            wanted["wrong"].add(offset)
    relevant = [offset for offset, (record, outcomes) in enumerate(given_) if record != "nothing" or outcomes]
    named, _ = audit.findings()
    for kind, positions in wanted.items():
        runs = [f for f in named if f.kind == kind]
        assert {p for f in runs for p in relevant if f.start <= p < f.end} == positions
        assert sum(f.records for f in runs) == len(positions)


def test_findings_beyond_the_limit_are_counted() -> None:
    size = 2 * MAX_NAMED + 10
    audit = PartitionAudit("content", 0, 0, size)
    audit.summary(Place(0, 0), make(-1, size + 1))
    audit.records(range(size))
    audit.outcome(Kind.CLEAN, range(0, size, 2))
    named, counts = audit.findings()
    assert (len(named), counts) == (MAX_NAMED, {"lost": MAX_NAMED + 5})


# -- records ---------------------------------------------------------------------------------------------------------


def tag_event(tags: list[Tag]) -> bytes:
    return emit._encode(TagEvent("id", Source("content", 3, 42, 1), tags, {}, {}, {}, "2026-11-23T00:00:00.000Z"))


def test_tag_events_are_read_as_the_tagger_writes_them() -> None:
    assert tag_outcome(tag_event([])) == ("content", 3, 42, Kind.CLEAN)
    assert tag_outcome(tag_event([Tag("spam", 0.9, 0.5)])) == ("content", 3, 42, Kind.TAGGED)


def test_tombstones_are_read_as_the_tagger_writes_them() -> None:
    assert room.SOURCE_HEADER == emit.SOURCE_HEADER
    assert tombstone_outcome([(emit.SOURCE_HEADER, b"content/3/42")]) == ("content", 3, 42, Kind.SKIPPED)


def test_dead_letters_are_read_as_the_tagger_writes_them() -> None:
    _, _, headers = dead_letters.build(
        topic="content",
        partition=3,
        offset=42,
        timestamp_ms=1,
        key=None,
        value=b"{",
        headers=None,
        rejected=Rejected(ErrorClass.INVALID_JSON, stage="decode"),
        release="1",
        worker="w",
        now_ms=2,
        max_bytes=4_096,
    )
    assert dead_outcome(headers) == ("content", 3, 42, Kind.DEAD)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"hello",
        b"\xff",
        b"{}",
        b'{"source": {"topic": "t", "partition": 0, "offset": -1}, "tags": []}',
        b'{"source": {"topic": "t", "partition": 0, "offset": 9223372036854775808}, "tags": []}',
        b'{"source": {"topic": "t", "partition": 0, "offset": 1}}',
    ],
)
def test_what_is_no_tag_event_is_none(value: bytes) -> None:
    assert tag_outcome(value) is None


@pytest.mark.parametrize(
    "source", [None, b"", b"content", b"content/1", b"content/1/x", b"/1/2", b"a/b/1/2", b"c/1/9999999999999999999"]
)
def test_a_source_that_cannot_be_read_is_none(source: bytes | None) -> None:
    assert tombstone_outcome([(room.SOURCE_HEADER, source)]) is None
    assert tombstone_outcome(None) is None
    assert dead_outcome([("other", source)]) is None
    facts = [(dead_letters.ERROR_CLASS, b"x"), (dead_letters.TOPIC, b"t"), (dead_letters.PARTITION, b"0")]
    assert dead_outcome([*facts, (dead_letters.OFFSET, source)]) is None
