"""What is counted of a summary whose writer had another time than the broker."""

import pytest
import summary_factory
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Message
from shard_log import NOW, PANE_MS, commit_of, counts

from streamtag.events.summary import CommitSummary
from streamtag.stats.ledger import UnreadableSummaryError
from streamtag.stats.summaries import AHEAD_MS, read_counted

START = NOW // PANE_MS * PANE_MS
DAY_MS = 86_400_000


def record(one: CommitSummary, taken_ms: int, kind: int = TIMESTAMP_LOG_APPEND_TIME) -> Message:
    key, value = summary_factory.record(one)
    return Message(topic="stats", partition=0, offset=7, key=key, value=value, timestamp=(kind, taken_ms))


def of_days(*days: int) -> CommitSummary:
    """Two events in a pane of now, and two more so many days from now."""
    return commit_of(START, 0, *(counts(START + day * DAY_MS, [600_000, 1]) for day in (0, *days)))


def test_panes_that_only_a_wrong_clock_can_know_are_placed_where_the_broker_took_them() -> None:
    found = read_counted(record(of_days(8, 9), START + PANE_MS + 17))
    assert [(cell.start_ms - START, cell.events, cell.by_arrival) for cell in found.panes] == [
        (0, 2, 0),
        (PANE_MS, 2, 2),
        (PANE_MS, 2, 2),
    ]
    assert [cell.labels for cell in found.panes] == [cell.labels for cell in of_days(8, 9).panes]


@pytest.mark.parametrize("taken_ms", [START + 8 * DAY_MS - AHEAD_MS, START + 9 * DAY_MS])
def test_a_broker_that_is_a_little_behind_and_late_records_change_nothing(taken_ms: int) -> None:
    assert read_counted(record(of_days(8), taken_ms)) == of_days(8)


def test_where_the_log_has_only_the_word_of_its_writer_that_is_believed() -> None:
    assert read_counted(record(of_days(8), START, TIMESTAMP_CREATE_TIME)) == of_days(8)


def test_a_summary_that_contradicts_itself_is_not_counted() -> None:
    wrong = of_days()
    wrong.clean += 1
    with pytest.raises(UnreadableSummaryError, match="in 2 is not"):
        read_counted(record(wrong, START))
