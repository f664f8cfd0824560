"""What is counted of the stats topic: summaries that add up, with no events dated where only a wrong clock puts them.

Whoever makes panes, or makes something again from the summaries, reads them by this, and so comes to the same.
"""

import msgspec
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from streamtag.events.summary import CommitSummary
from streamtag.stats.ledger import UnreadableSummaryError, contradictions, read_summary

__all__ = ["AHEAD_MS", "read_counted", "taken_ms"]

AHEAD_MS = 3_600_000
"""Panes that begin so much later than the broker took their summary come of a clock that is wrong: taggers believe no
record that is dated further ahead, and Kafka itself refuses those by default (``message.timestamp.after.max.ms``)."""


def taken_ms(record: Message) -> int | None:
    """When the broker took a record, by its own clock; None where the topic keeps what the producer says."""
    kind, at_ms = record.timestamp()
    return at_ms if kind == TIMESTAMP_LOG_APPEND_TIME else None


def read_counted(record: Message) -> CommitSummary:
    """A record of the stats topic, as it is counted.

    Events in panes beyond anything that the broker had seen are placed where it took them, and flagged, as taggers do
    with records that they do not believe.

    Raises:
        UnreadableSummaryError: it is no summary, or contradicts itself.
    """
    found = read_summary(record.key(), record.value())
    if wrong := contradictions(found):
        raise UnreadableSummaryError("; ".join(wrong))
    return _placed(found, taken_ms(record))


def _placed(summary: CommitSummary, at_ms: int | None) -> CommitSummary:
    if at_ms is None or summary.pane_ms < 1:
        return summary
    start_ms, last_ms = at_ms // summary.pane_ms * summary.pane_ms, at_ms + AHEAD_MS
    if all(cell.start_ms <= last_ms for cell in summary.panes):
        return summary
    panes = [
        cell if cell.start_ms <= last_ms else msgspec.structs.replace(cell, start_ms=start_ms, by_arrival=cell.events)
        for cell in summary.panes
    ]
    return msgspec.structs.replace(summary, panes=panes)
