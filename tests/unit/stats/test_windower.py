"""The windower as a processor: what it publishes, commits, sets aside, and what it does after an undone transaction."""

from collections.abc import Iterable

import msgspec
import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Message
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_log import NOW, OPTIONS, PANE_MS, Log, Topic, commit_of, counts, fold, logs

from streamtag.events import dead_letters, panes, summary
from streamtag.events.panes import Pane
from streamtag.events.summary import CommitSummary
from streamtag.settings import load_settings
from streamtag.stats.windower import Windower
from streamtag.stats.worker import _options
from streamtag.stream.processor import Output, Partition, Range
from streamtag.stream.start import Start
from streamtag.telemetry.metrics import InMemoryMetrics, Metrics

ONE: Partition = ("stats", 1)
FRESH = {ONE: Start(0)}


class Rig:
    """A windower, and what it writes."""

    def __init__(self, starts: dict[Partition, Start] | None = None) -> None:
        self.now_ms = NOW
        self.metrics: InMemoryMetrics = Metrics.in_memory()
        self.windower = Windower(
            panes_topic="panes",
            dead_letters_topic="dead",
            worker="w-0",
            max_letter_bytes=100_000,
            options=OPTIONS,
            metrics=self.metrics,
            now_ms=lambda: self.now_ms,
        )
        self.windower.assigned(FRESH if starts is None else starts)

    def process(self, *records: Message) -> list[Output]:
        return self.windower.process(records)

    def close(self, end: int, partition: Partition = ONE) -> list[Output]:
        return self.windower.close({partition: Range(0, end)})


def record(
    offset: int, one: CommitSummary | bytes | None, partition: Partition = ONE, *, taken_ms: int | None = None
) -> Message:
    """Dated by the broker where ``taken_ms`` says so."""
    value = summary.encode(one) if isinstance(one, CommitSummary) else one
    key = summary.key("content", one.partition if isinstance(one, CommitSummary) else 0)
    stamp = (TIMESTAMP_CREATE_TIME, NOW) if taken_ms is None else (TIMESTAMP_LOG_APPEND_TIME, taken_ms)
    return Message(topic=partition[0], partition=partition[1], offset=offset, key=key, value=value, timestamp=stamp)


def at(seconds: float, start: int) -> CommitSummary:
    closed_ms = NOW + int(seconds * 1000)
    return commit_of(closed_ms, start, counts(closed_ms // PANE_MS * PANE_MS, [600_000]))


def published(outputs: Iterable[Output]) -> list[Pane]:
    found = list(outputs)
    assert {output.topic for output in found} <= {"panes"}
    decoded = [panes.decode(output.value or b"") for output in found]
    assert [panes.key(pane) for pane in decoded] == [output.key for output in found]
    return decoded


# -- what goes out ---------------------------------------------------------------------------------------------------


def test_closed_panes_go_out_before_the_commit_and_final_ones_at_once() -> None:
    rig = Rig()
    assert rig.process(record(0, at(1, 0)), record(1, at(12, 1))) == []
    [closed] = published(rig.close(2))
    assert (closed.shard, closed.start_ms, closed.n, closed.cells[0].events) == (1, NOW, 1, 1)
    late = commit_of(NOW + 12_500, 2, counts(NOW, [1]))
    final = published(rig.process(record(2, late), record(3, at(41, 3))))
    assert [(pane.start_ms, pane.n, pane.cells[0].events) for pane in final] == [(NOW, 3, 2), (NOW + PANE_MS, 2, 1)]
    [addendum] = published(rig.process(record(4, commit_of(NOW + 41_000, 4, counts(NOW, [1])))))
    assert (addendum.addendum, addendum.n) == (True, 5)
    metrics = rig.metrics
    assert metrics.value("streamtag.summaries.read") == 5
    assert [metrics.value("streamtag.panes.published", kind=kind) for kind in ("revision", "addendum")] == [3, 1]
    assert metrics.value("streamtag.panes.newest") == (NOW + 2 * PANE_MS) / 1000


def test_a_worker_whose_clock_is_a_month_ahead_takes_no_pane_and_no_count_along() -> None:
    ahead_ms = 30 * 86_400_000
    wrong = commit_of(NOW + ahead_ms, 0, counts((NOW + ahead_ms) // PANE_MS * PANE_MS, [1]), partition=1)
    rig = Rig()
    for offset, (seconds, one) in enumerate([(1, at(1, 0)), (2, wrong), (12, at(12, 1)), (13, at(13, 2))]):
        assert rig.process(record(offset, one, taken_ms=NOW + seconds * 1_000)) == []
    [closed] = published(rig.close(4))
    assert (closed.start_ms, closed.n, closed.exact) == (NOW, 2, True)
    assert [(cell.events, cell.by_arrival) for cell in closed.cells] == [(2, 1)]
    rig.process(record(4, at(41, 3), taken_ms=NOW + 41_000))
    assert rig.windower.commits({ONE: Range(0, 5)})[ONE].position == 4


def test_every_partition_of_the_stats_topic_is_a_shard_of_its_own() -> None:
    other = ("stats", 2)
    rig = Rig({ONE: Start(0), other: Start(0)})
    both = [record(o, one, p) for p in (ONE, other) for o, one in enumerate([at(1, 0), at(12, 1)])]
    rig.process(*both)
    found = published(rig.windower.close({ONE: Range(0, 2), other: Range(0, 2)}))
    assert [(pane.shard, pane.start_ms, pane.n) for pane in found] == [(1, NOW, 1), (2, NOW, 1)]


def test_without_records_what_is_over_goes_out_by_the_wall_clock() -> None:
    rig = Rig()
    rig.process(record(0, at(1, 0)))
    assert rig.close(1) == rig.windower.idle() == []
    rig.now_ms = NOW + PANE_MS + OPTIONS.idle_ms
    assert [pane.n for pane in published(rig.windower.idle())] == [1]
    assert rig.windower.idle() == []


# -- what is set aside -----------------------------------------------------------------------------------------------

DOUBLED = commit_of(NOW, 0, counts(NOW, [1]))
DOUBLED.panes[0].labels["spam"].counts[0] = 2


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (None, b"it has no value"),
        (b"{", b"no commit summary"),
        (msgspec.structs.replace(at(1, 0), version=2), b"version is 2"),
        (msgspec.structs.replace(at(1, 0), clean=7), b"in 1 is not"),
        (msgspec.structs.replace(at(1, 0), pane_ms=0), b"0 ms wide"),
        (DOUBLED, b"a histogram does not hold the 1 events"),
    ],
)
def test_what_is_no_summary_is_set_aside_with_its_bytes(one: CommitSummary | bytes | None, why: bytes) -> None:
    rig = Rig()
    wrong = record(0, one)
    [letter] = rig.process(wrong)
    facts = dict(letter.headers or ())
    assert (letter.topic, letter.key, letter.value) == ("dead", wrong.key(), wrong.value())
    assert facts[dead_letters.ERROR_CLASS] == b"invalid_summary"
    assert why in (facts[dead_letters.ERROR_MESSAGE] or b"")
    assert (facts[dead_letters.TOPIC], facts[dead_letters.PARTITION], facts[dead_letters.OFFSET]) == (
        b"stats",
        b"1",
        b"0",
    )
    # its neighbours are counted, and the panes that may miss something say so
    rig.process(record(1, at(2, 1)), record(2, at(12, 2)))
    assert [pane.cells[0].events for pane in published(rig.close(3))] == [1]
    assert rig.metrics.value("streamtag.summaries.set_aside") == 1


@pytest.mark.parametrize("place", [0, 3, 11])
def test_a_summary_that_contradicts_itself_takes_no_neighbour_along(place: int) -> None:
    rig = Rig()
    several = [at(1, offset) for offset in range(12)]
    several[place] = DOUBLED
    [letter] = rig.process(*(record(offset, one) for offset, one in enumerate(several)))
    assert letter.topic == "dead"
    rig.process(record(12, at(12, 12)))
    assert [pane.cells[0].events for pane in published(rig.close(13))] == [11]


def test_panes_that_miss_a_summary_that_was_set_aside_are_not_exact() -> None:
    rig = Rig()
    rig.process(record(0, at(1, 0)), record(1, b"{"), record(2, at(2, 2)), record(3, at(12, 3)))
    assert [pane.exact for pane in published(rig.close(4))] == [False]
    assert rig.metrics.value("streamtag.panes.inexact") == 1


@pytest.mark.parametrize(
    ("start", "kind", "span"), [(4, "gap", (3, 4)), (1, "overlap", (1, 2)), (0, "overlap", (0, 1))]
)
def test_positions_that_are_missing_or_doubled_are_named_once_and_make_no_pane_exact(
    start: int, kind: str, span: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig()
    records = [record(0, at(1, 0)), record(1, at(2, 1)), record(2, at(3, 2)), record(3, at(4, start))]
    rig.process(*records)
    [told] = [found for found in caplog.records if found.message == "summaries of a source do not touch"]
    facts = vars(told)
    assert (facts["topic"], facts["partition"], facts["offset"]) == ("content", 0, 3)
    assert (facts["kind"], facts["start"], facts["end"]) == (kind, *span)
    assert rig.metrics.value("streamtag.summaries.broken", kind=kind) == 1
    commit = rig.windower.commits({ONE: Range(0, 4)})[ONE]
    again = Rig({ONE: Start(commit.position, metadata=commit.metadata)})
    again.process(*records, record(4, at(12, max(3, start + 1))))
    assert again.metrics.value("streamtag.summaries.broken") == 0, "told before the restart"
    assert [pane.exact for pane in published(again.close(5))] == [False]


def test_what_was_set_aside_before_a_restart_is_not_again() -> None:
    rig = Rig()
    rig.process(record(0, at(1, 0)), record(1, b"{"))
    commit = rig.windower.commits({ONE: Range(0, 2)})[ONE]
    again = Rig({ONE: Start(commit.position, metadata=commit.metadata)})
    assert again.process(record(0, at(1, 0)), record(1, b"{")) == []


# -- commits and undone transactions ---------------------------------------------------------------------------------


def test_the_oldest_summary_that_is_needed_is_committed_not_the_last() -> None:
    rig = Rig()
    rig.process(*(record(offset, at(offset, offset)) for offset in range(100)))
    commit = rig.windower.commits({ONE: Range(0, 100)})[ONE]
    assert (commit.position, commit.metadata) == (70, f'{{"version":1,"end":100,"horizon_ms":{NOW + 70_000}}}')


def test_undone_work_counts_once() -> None:
    rig = Rig()
    rig.process(record(0, at(1, 0)))
    commit = rig.windower.commits({ONE: Range(0, 1)})[ONE]
    rig.windower.committed()
    rig.process(record(1, at(2, 1)))
    rig.windower.undo()
    rig.windower.assigned({ONE: Start(commit.position, metadata=commit.metadata)})
    rig.process(record(0, at(1, 0)), record(1, at(2, 1)), record(2, at(12, 2)))
    assert [pane.cells[0].events for pane in published(rig.close(3))] == [2]


def test_a_partition_that_comes_back_has_what_its_last_owner_committed() -> None:
    rig = Rig()
    rig.process(record(0, at(1, 0)))
    rig.windower.released([ONE])
    metadata = f'{{"version":1,"end":50,"horizon_ms":{NOW + 60_000}}}'
    rig.windower.assigned({ONE: Start(40, metadata=metadata)})
    [addendum] = published(rig.process(record(50, at(2, 50))))
    assert (addendum.addendum, addendum.n, addendum.cells[0].events) == (True, 51, 1)


def test_a_partition_that_went_away_is_not_published_any_more() -> None:
    rig = Rig({ONE: Start(0), ("stats", 2): Start(0)})
    rig.process(record(0, at(1, 0)))
    rig.windower.released([ONE])
    rig.process(record(0, at(1, 0), ("stats", 2)))
    rig.windower.idle()
    rig.now_ms = 2 * NOW
    assert [pane.shard for pane in published(rig.windower.idle())] == [2]


def test_a_partition_that_never_came_may_go_away() -> None:
    rig = Rig()
    rig.windower.released([("stats", 2)])
    assert rig.process(record(0, at(1, 0))) == []


def test_what_was_remembered_of_another_topic_of_that_name_is_forgotten() -> None:
    metadata = f'{{"version":1,"end":5000,"horizon_ms":{2 * NOW}}}'
    rig = Rig({ONE: Start(0, rewound=True, metadata=metadata)})
    rig.process(record(0, at(1, 0)), record(1, at(12, 1)))
    assert [(pane.n, pane.addendum) for pane in published(rig.close(2))] == [(1, False)]


def test_after_records_expired_panes_that_were_published_are_added_to() -> None:
    metadata = f'{{"version":1,"end":5,"horizon_ms":{NOW - 60_000}}}'
    rig = Rig({ONE: Start(9, cut=True, metadata=metadata)})
    assert [(pane.n, pane.addendum) for pane in published(rig.process(record(9, at(1, 9))))] == [(10, True)]


@given(logs(), st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["commit", "undo"])), max_size=8))
@settings(max_examples=40, deadline=None)
def test_however_transactions_end_readers_see_the_same_panes(log: Log, steps: list[tuple[int, str]]) -> None:
    rig, topic, committed, at_record = Rig(), Topic(), Start(0), 0
    records = [record(offset, b"{" if one is None else one) for offset, one in log]

    def write(outputs: Iterable[Output]) -> None:
        topic.write(published(output for output in outputs if output.topic == "panes"))

    for n, how in [*steps, (len(log), "commit")]:
        batch = records[at_record : at_record + n]
        if not batch:
            continue
        write(rig.process(*batch))
        at_record += len(batch)
        if how == "commit":
            covered = {ONE: Range(committed.position, (batch[-1].offset() or 0) + 1)}
            write(rig.windower.close(covered))
            commit = rig.windower.commits(covered)[ONE]
            committed = Start(commit.position, metadata=commit.metadata)
            rig.windower.committed()
        else:
            rig.windower.undo()
            rig.windower.assigned({ONE: committed})
            at_record = sum(offset < committed.position for offset, _ in log)
    write(rig.process(*records[at_record:]))
    for rig.now_ms in (2 * NOW, 3 * NOW):
        write(rig.windower.idle())

    def facts(panes_of: Topic) -> dict[object, object]:  # but for the shard
        return {(p.start_ms, p.pane_ms, p.n, p.addendum): (p.exact, p.positions, p.cells) for p in panes_of.every()}

    assert facts(topic) == facts(fold(log))


def test_panes_are_packed_as_faust_can_read_them_whatever_other_producers_use() -> None:
    overrides = {"kafka.producer.compression.type": "zstd", "kafka.producer.compression.level": "12"}
    config = _options(load_settings(environ={}, overrides=overrides).settings, "slot").producer_config()
    assert (config["compression.type"], config["compression.level"]) == ("gzip", 1)
