"""The windower as a processor: commit summaries in, panes out. One `Shard` for each partition of the stats topic."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice

from confluent_kafka import Message

from streamtag.events import dead_letters, panes
from streamtag.events.headers import readable_headers
from streamtag.events.panes import Pane
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.events.summary import CommitSummary
from streamtag.stats.cells import Columns, InvalidCellError, all_columns
from streamtag.stats.ledger import UnreadableSummaryError
from streamtag.stats.shard import Break, Shard, ShardOptions
from streamtag.stats.summaries import read_counted, taken_ms
from streamtag.stream.processor import Commit, Output, Partition, Range
from streamtag.stream.start import Start
from streamtag.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

# Summaries whose cells are taken apart together: a third less time than each by itself. With many more, their arrays
# leave the processor's cache, and it is lost again.
_TOGETHER = 8


class Windower:
    """A `streamtag.stream.processor.Processor` and its `Keeper`. Its outputs are upserts: they need no transaction.

    Args:
        panes_topic: topic of panes.
        dead_letters_topic: where a record goes, unchanged, that is no summary that can be counted.
        worker: named in dead letters.
        max_letter_bytes: largest dead letter.
        options: when panes close.
        metrics: what went in and out since the start, undone work included.
        now_ms: Unix milliseconds.
    """

    def __init__(
        self,
        *,
        panes_topic: str,
        dead_letters_topic: str,
        worker: str,
        max_letter_bytes: int,
        options: ShardOptions,
        metrics: Metrics,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._panes_topic = panes_topic
        self._dead_letters_topic = dead_letters_topic
        self._worker = worker
        self._max_letter_bytes = max_letter_bytes
        self._options = options
        self._metrics = metrics
        self._now_ms = now_ms
        self._shards: dict[Partition, Shard] = {}
        self._newest_ms = 0  # end of the newest pane published

    # -- Keeper ------------------------------------------------------------------------------------------------------

    def assigned(self, starts: Mapping[Partition, Start]) -> None:
        """Makes their shards, which go on where the last commits left off.

        Raises:
            StreamtagError: what a commit remembers cannot be read.
        """
        for partition, start in starts.items():
            # A topic created anew has other records at the same offsets: what was remembered is of the old ones.
            metadata = "" if start.rewound else start.metadata
            commit = Commit(start.position, metadata)
            self._shards[partition] = Shard(partition[1], commit, self._options, expired=start.cut)

    def released(self, partitions: Collection[Partition]) -> None:
        """Forgets their shards."""
        for partition in partitions:
            self._shards.pop(partition, None)

    def idle(self) -> list[Output]:
        """Early revisions of panes that are over by the wall clock: no record comes that would say so."""
        now_ms = self._now_ms()
        return [self._output(pane) for shard in self._shards.values() for pane in shard.publish_idle(now_ms)]

    # -- Processor ---------------------------------------------------------------------------------------------------

    def held(self) -> str | None:
        """Never."""
        return None

    def process(self, records: Sequence[Message]) -> list[Output]:
        """Folds records; returns panes that have become final, addenda, and records that are set aside."""
        found: list[Output] = []
        for start in range(0, len(records), _TOGETHER):
            together = records[start : start + _TOGETHER]
            summaries = [_read(record) for record in together]
            for record, summary, cells in zip(together, summaries, _apart(summaries), strict=True):
                found += self._fold(record, summary, cells)
        self._metrics.add("streamtag.summaries.read", len(records))
        return found

    def full(self) -> bool:
        """Never: what is open is counted in panes, not in records."""
        return False

    def close(self, covered: Mapping[Partition, Range]) -> list[Output]:
        """Revisions of the panes that are closed and have changed."""
        revisions = [pane for partition in covered for pane in self._shards[partition].publish()]
        self._metrics.set("streamtag.panes.open", sum(shard.open() for shard in self._shards.values()))
        return [*map(self._output, revisions), *self.idle()]

    def commits(self, covered: Mapping[Partition, Range]) -> dict[Partition, Commit]:
        """The oldest summary that each shard still needs, and how far it has come."""
        return {partition: self._shards[partition].commit() for partition in covered}

    def committed(self) -> None:
        """Nothing to do: a commit changes nothing in a shard."""

    def undo(self) -> None:
        """Forgets everything: each shard comes back by `assigned`, from what the broker says is committed."""
        self._shards.clear()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _fold(
        self, record: Message, summary: CommitSummary | UnreadableSummaryError, cells: Sequence[Columns] | None
    ) -> Iterable[Output]:
        shard = self._shards[_source(record)]
        if isinstance(summary, UnreadableSummaryError):
            return self._skip(shard, record, summary)
        try:
            published = shard.fold(_offset(record), summary, cells, taken_ms=taken_ms(record))
        except InvalidCellError as error:
            return self._skip(shard, record, error)
        if shard.broken is not None and shard.broken.end > shard.broken.start:
            self._tell(shard.broken, record, summary)
        return map(self._output, published)

    def _skip(self, shard: Shard, record: Message, error: Exception) -> list[Output]:
        again = shard.skip(_offset(record))
        return [] if again else [self._set_aside(record, _offset(record), str(error))]

    def _tell(self, broken: Break, record: Message, summary: CommitSummary) -> None:
        self._metrics.add("streamtag.summaries.broken", kind=broken.kind)
        where = {"topic": summary.topic, "partition": summary.partition, "start": broken.start, "end": broken.end}
        found = {"kind": broken.kind, "shard": record.partition(), "offset": record.offset(), "writer": summary.writer}
        log.error("summaries of a source do not touch", extra={**where, **found})

    def _output(self, pane: Pane) -> Output:
        self._metrics.add("streamtag.panes.published", kind="addendum" if pane.addendum else "revision")
        if not pane.exact:
            self._metrics.add("streamtag.panes.inexact")
        end_ms = pane.start_ms + pane.pane_ms
        if end_ms > self._newest_ms:
            self._newest_ms = end_ms
            self._metrics.set("streamtag.panes.newest", end_ms / 1000)
        return Output(self._panes_topic, panes.key(pane), panes.encode(pane))

    def _set_aside(self, record: Message, offset: int, reason: str) -> Output:
        """The record with its bytes, as a dead letter of the stats topic; the panes that it misses are not exact."""
        self._metrics.add("streamtag.summaries.set_aside")
        topic, partition = _source(record)
        log.error("summary set aside", extra={"topic": topic, "partition": partition, "offset": offset, "why": reason})
        key, value, headers = dead_letters.build(
            topic=topic,
            partition=partition,
            offset=offset,
            timestamp_ms=record.timestamp()[1],
            key=record.key(),
            value=record.value(),
            headers=readable_headers(record),
            rejected=Rejected(ErrorClass.INVALID_SUMMARY, stage="decode", message=reason),
            release="",
            worker=self._worker,
            now_ms=self._now_ms(),
            max_bytes=self._max_letter_bytes,
        )
        return Output(self._dead_letters_topic, key, value, headers)


def _read(record: Message) -> CommitSummary | UnreadableSummaryError:
    try:
        return read_counted(record)
    except UnreadableSummaryError as error:
        return error


def _apart(summaries: Sequence[CommitSummary | UnreadableSummaryError]) -> list[Sequence[Columns] | None]:
    """The cells of each, taken apart together; None of all where some of them are wrong: then each is looked at."""
    every = [summary.panes if isinstance(summary, CommitSummary) else [] for summary in summaries]
    try:
        columns = iter(all_columns([cell for cells in every for cell in cells]))
    except InvalidCellError:
        return [None] * len(summaries)
    return [list(islice(columns, len(cells))) for cells in every]


def _offset(record: Message) -> int:
    offset = record.offset()
    assert offset is not None, "a consumed record has one"
    return offset


def _source(record: Message) -> Partition:
    return record.topic(), record.partition()  # type: ignore[return-value] # a consumed record has both
