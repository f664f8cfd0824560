"""Reads what an audit needs from the topics, and has it recounted by `streamtag.stats.audit`."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from streamtag.errors import NotFoundError, RefusedError
from streamtag.events.headers import readable_headers
from streamtag.settings import Settings
from streamtag.stats.audit import (
    MAX_POSITIONS,
    AuditFinding,
    Kind,
    Outcome,
    PartitionAudit,
    Recounted,
    dead_outcome,
    tag_outcome,
    tombstone_outcome,
)
from streamtag.stats.coverage import Place
from streamtag.stats.ledger import MAX_NAMED, Aside, UnreadableSummaryError, read_summary
from streamtag.stream.processor import Partition
from streamtag.stream.topic_reader import TopicReader

CLOCKS_MS = 3_600_000
"""How far the clock of whoever stamped a record may be ahead of the tagger's: outputs are read from so much earlier."""


class Limit(NamedTuple):
    """One end of a range: a position in each partition, or a record time in Unix milliseconds."""

    unit: Literal["position", "ms"]
    value: int


class PartitionReport(msgspec.Struct, frozen=True):
    """What was found out about one source partition.

    Attributes:
        topic, partition: the source.
        start, end: half-open range of positions that was recounted.
        expired: positions asked for that the input topic no longer holds.
        recounted: sums over the range.
        compared: summaries that lie wholly in the range.
        partly: those that reach beyond it.
        findings: what is wrong, the first of each kind.
        counts: by kind, all of them.
    """

    topic: str
    partition: int
    start: int
    end: int
    expired: int
    recounted: Recounted
    compared: int
    partly: int
    findings: list[AuditFinding]
    counts: dict[str, int]


class AuditReport(msgspec.Struct):
    """Of one audit.

    Attributes:
        partitions: those with positions in the range.
        read_from_ms: outputs older than this were not looked at.
        foreign: records by output topic that the tagger did not write, or that name no source.
        unreadable: records of the stats topic that are no summary, the first of them.
        unreadable_count: all of them.
        truncated: output partitions that no longer hold all since ``read_from_ms``: what they held looks lost.
        unsettled: output partitions whose end a transaction that stayed open still hides.
    """

    partitions: list[PartitionReport]
    read_from_ms: int
    foreign: dict[str, int]
    unreadable: list[Aside]
    unreadable_count: int
    truncated: list[str]
    unsettled: list[str]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.unreadable_count and not any(one.counts for one in self.partitions)


class Auditor:
    """One audit; `run` it once.

    Args:
        settings: name the topics, and whether clean events are published.
        reader: of the tagger's group.
    """

    def __init__(self, settings: Settings, reader: TopicReader) -> None:
        self._settings = settings
        self._reader = reader
        self._audits: dict[Partition, PartitionAudit] = {}
        self._expired: dict[Partition, int] = {}
        self._foreign: dict[str, int] = {}
        self._truncated: list[str] = []
        self._unreadable: list[Aside] = []
        self._unreadable_count = 0
        self._oldest_ms: int | None = None

    def run(self, start: Limit, end: Limit | None, only: Partition | None = None) -> AuditReport:
        """Recounts a range of what the group has committed.

        Args:
            start: its beginning.
            end: its end, exclusive; None: as far as the group has committed.
            only: this source partition; None: all of ``topics.input``.

        Raises:
            NotFoundError: the range holds nothing that has been committed.
            RefusedError: it holds too much for one audit.
            UnavailableError: Kafka does not answer.
        """
        self._choose(start, end, only)
        self._read_input()
        read_from_ms = max(0, (self._oldest_ms or 0) - CLOCKS_MS)
        topics = self._settings.topics
        self._read(topics.stats, read_from_ms, self._summaries)
        # A record stamped in the future was tagged before its time: the summaries know when.
        read_from_ms = min(read_from_ms, max(0, (self._oldest_ms or 0) - CLOCKS_MS))
        self._read(topics.tags, read_from_ms, lambda records: self._outcomes(topics.tags, records, _tag))
        self._read(topics.dead_letters, read_from_ms, lambda rs: self._outcomes(topics.dead_letters, rs, _dead))
        return AuditReport(
            partitions=[self._report(source, audit) for source, audit in sorted(self._audits.items())],
            read_from_ms=read_from_ms,
            foreign=self._foreign,
            unreadable=self._unreadable,
            unreadable_count=self._unreadable_count,
            truncated=self._truncated,
            unsettled=sorted(f"{topic}/{partition}" for topic, partition in self._reader.unsettled),
        )

    def _choose(self, start: Limit, end: Limit | None, only: Partition | None) -> None:
        """Fixes the ranges; what is not committed yet is not lost."""
        topics = self._settings.topics.input if only is None else [only[0]]
        bounds = {(topic, p): span for topic in topics for p, span in self._reader.bounds(topic).items()}
        sources = sorted(bounds if only is None else bounds.keys() & {only})
        committed = self._reader.committed(sources)
        starts = self._positions(sources, start)
        ends = committed if end is None else self._positions(sources, end)
        only_tagged = self._settings.tagger.emit == "tagged"
        size = 0
        for source in sources:
            low, high = bounds[source]
            first, behind = max(low, starts[source]), min(high, committed.get(source, 0), ends.get(source, 0))
            if first < behind:
                size += behind - first
                if size > MAX_POSITIONS:
                    raise RefusedError(
                        f"the range holds more than {MAX_POSITIONS:,} positions",
                        hint="Audit a shorter range, or one partition at a time with --partition.",
                    )
                self._expired[source] = first - starts[source]
                self._audits[source] = PartitionAudit(*source, first, behind, only_tagged=only_tagged)
        if not self._audits:
            raise NotFoundError(
                f"group {self._settings.tagger.group} has committed nothing that the range holds",
                hint="`streamtag ledger` shows which positions are covered.",
            )

    def _positions(self, sources: Sequence[Partition], limit: Limit) -> dict[Partition, int]:
        if limit.unit == "position":
            return dict.fromkeys(sources, limit.value)
        found = {topic: self._reader.from_time(topic, limit.value) for topic in {topic for topic, _ in sources}}
        return {(topic, partition): found[topic][partition][0] for topic, partition in sources}

    def _read_input(self) -> None:
        for topic in {topic for topic, _ in self._audits}:
            ranges = {p: (one.start, one.end) for (t, p), one in self._audits.items() if t == topic}
            for batch in self._reader.batches(topic, ranges):
                at: dict[tuple[int, bool], list[int]] = {}
                for record in batch:
                    place = record.partition() or 0, record.value() is None
                    at.setdefault(place, []).append(record.offset() or 0)
                    kind, stamp = record.timestamp()
                    if kind != TIMESTAMP_NOT_AVAILABLE:
                        self._seen_at(stamp)
                for (partition, tombstones), offsets in at.items():
                    self._audits[topic, partition].records(offsets, tombstones=tombstones)

    def _seen_at(self, stamp_ms: int) -> None:
        self._oldest_ms = stamp_ms if self._oldest_ms is None else min(self._oldest_ms, stamp_ms)

    def _read(self, topic: str, from_ms: int, take: Callable[[Sequence[Message]], None]) -> None:
        """Everything in ``topic`` since ``from_ms``: an outcome may be doubled at any time."""
        lows = {partition: low for partition, (low, _) in self._reader.bounds(topic).items()}
        ranges = self._reader.from_time(topic, from_ms)
        self._truncated += [f"{topic}/{p}" for p, (start, _) in ranges.items() if 0 < start == lows[p]]
        for batch in self._reader.batches(topic, ranges):
            take(batch)

    def _summaries(self, records: Sequence[Message]) -> None:
        for record in records:
            place = Place(record.partition() or 0, record.offset() or 0)
            value = record.value()
            try:
                one = read_summary(record.key(), value)
            except UnreadableSummaryError as error:
                self._unreadable_count += 1
                if len(self._unreadable) < MAX_NAMED:
                    self._unreadable.append(Aside(place, len(value or b""), str(error)))
                continue
            audit = self._audits.get((one.topic, one.partition))
            if audit is not None and audit.summary(place, one):
                self._seen_at(one.committed_at_ms)

    def _outcomes(self, topic: str, records: Sequence[Message], read: Callable[[Message], Outcome | None]) -> None:
        found: dict[tuple[str, int, Kind], list[int]] = {}
        for record in records:
            outcome = read(record)
            if outcome is None:
                self._foreign[topic] = self._foreign.get(topic, 0) + 1
            else:
                found.setdefault((outcome.topic, outcome.partition, outcome.kind), []).append(outcome.offset)
        for (source, partition, kind), offsets in found.items():
            audit = self._audits.get((source, partition))
            if audit is not None:
                audit.outcome(kind, offsets)

    def _report(self, source: Partition, audit: PartitionAudit) -> PartitionReport:
        findings, counts = audit.findings()
        span = audit.start, audit.end, self._expired[source]
        return PartitionReport(*source, *span, audit.recounted(), audit.compared, audit.partly, findings, counts)


def _tag(record: Message) -> Outcome | None:
    value = record.value()
    return tombstone_outcome(readable_headers(record)) if value is None else tag_outcome(value)


def _dead(record: Message) -> Outcome | None:
    return dead_outcome(readable_headers(record))
