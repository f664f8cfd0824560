"""The windower as a processor: commit summaries in, panes out. One `Shard` for each partition of the stats topic."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Message

from streamtag.events import dead_letters, panes
from streamtag.events.headers import readable_headers
from streamtag.events.panes import Pane
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.events.summary import CommitSummary
from streamtag.stats.cells import InvalidCellError
from streamtag.stats.ledger import UnreadableSummaryError, contradictions, read_summary
from streamtag.stats.shard import Shard, ShardOptions
from streamtag.stream.processor import Commit, Output, Partition, Range
from streamtag.stream.start import Start

log = logging.getLogger(__name__)


@dataclass
class Counters:
    """What went out since the start, undone work included; for metrics.

    Attributes:
        summaries: folded, or read again after a restart.
        revisions: of panes, published.
        addenda: published for panes that were final.
        set_aside: records that could not be folded.
    """

    summaries: int = 0
    revisions: int = 0
    addenda: int = 0
    set_aside: int = 0


class Windower:
    """A `streamtag.stream.processor.Processor`. Its outputs are upserts: they need no transaction.

    Args:
        panes_topic: topic of panes.
        dead_letters_topic: where a record goes, unchanged, that is no summary that can be counted.
        worker: named in dead letters.
        max_letter_bytes: largest dead letter.
        options: when panes close.
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
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._panes_topic = panes_topic
        self._dead_letters_topic = dead_letters_topic
        self._worker = worker
        self._max_letter_bytes = max_letter_bytes
        self._options = options
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._starts: dict[Partition, Start] = {}  # not taken up yet
        self._gone: set[Partition] = set()  # not let go of yet
        self._shards: dict[Partition, Shard] = {}
        self.counters = Counters()

    # -- any thread --------------------------------------------------------------------------------------------------

    def assigned(self, starts: Mapping[Partition, Start]) -> None:
        """These partitions are read from there on, with what their last commits remember; also after every `undo`."""
        with self._lock:
            self._starts.update(starts)

    def released(self, partitions: Collection[Partition]) -> None:
        """These partitions are no longer read."""
        with self._lock:
            self._gone.update(partitions)
            for partition in partitions:
                self._starts.pop(partition, None)

    # -- the processing thread ---------------------------------------------------------------------------------------

    def held(self) -> str | None:
        """Never."""
        return None

    def process(self, records: Sequence[Message]) -> list[Output]:
        """Folds records; returns panes that have become final, addenda, and records that are set aside."""
        self._take_up()
        found: list[Output] = []
        for record in records:
            found += self._fold(record)
        return found

    def full(self) -> bool:
        """Never: what is open is counted in panes, not in records."""
        return False

    def close(self, covered: Mapping[Partition, Range]) -> list[Output]:
        """Revisions of the panes that are closed and have changed."""
        revisions = [pane for partition in covered for pane in self._shards[partition].publish()]
        return [*map(self._output, revisions), *self.publish_idle()]

    def publish_idle(self) -> list[Output]:
        """Early revisions of panes that are over by the wall clock; to be called where no record comes, too."""
        now_ms = self._now_ms()
        return [self._output(pane) for shard in self._shards.values() for pane in shard.publish_idle(now_ms)]

    def commits(self, covered: Mapping[Partition, Range]) -> dict[Partition, Commit]:
        """The oldest summary that each shard still needs, and how far it has come."""
        return {partition: self._shards[partition].commit() for partition in covered}

    def committed(self) -> None:
        """Nothing to do: a commit changes nothing in a shard."""

    def undo(self) -> None:
        """Forgets everything: each shard comes back by `assigned`, from what the broker says is committed."""
        self._shards.clear()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _take_up(self) -> None:
        """What was assigned and released. Only before a batch: an open transaction keeps its shards to the end."""
        with self._lock:
            starts, self._starts = self._starts, {}
            gone, self._gone = self._gone, set()
        for partition in gone:
            self._shards.pop(partition, None)
        for partition, start in starts.items():
            # A topic created anew has other records at the same offsets: what was remembered is of the old ones.
            metadata = "" if start.rewound else start.metadata
            commit = Commit(start.position, metadata)
            self._shards[partition] = Shard(partition[1], commit, self._options, expired=start.expired > 0)

    def _fold(self, record: Message) -> Iterable[Output]:
        shard = self._shards[_source(record)]
        offset = record.offset()
        assert offset is not None, "a consumed record has one"
        try:
            published = shard.fold(offset, _read(record))
        except (UnreadableSummaryError, InvalidCellError) as error:
            again = shard.skip(offset)
            return [] if again else [self._set_aside(record, offset, str(error))]
        self.counters.summaries += 1
        return map(self._output, published)

    def _output(self, pane: Pane) -> Output:
        if pane.addendum:
            self.counters.addenda += 1
        else:
            self.counters.revisions += 1
        return Output(self._panes_topic, panes.key(pane), panes.encode(pane))

    def _set_aside(self, record: Message, offset: int, reason: str) -> Output:
        """The record with its bytes, as a dead letter of the stats topic; the panes that it misses are not exact."""
        self.counters.set_aside += 1
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


def _read(record: Message) -> CommitSummary:
    summary = read_summary(record.key(), record.value())
    wrong = contradictions(summary)
    if wrong:
        raise UnreadableSummaryError("; ".join(wrong))
    return summary


def _source(record: Message) -> Partition:
    return record.topic(), record.partition()  # type: ignore[return-value] # a consumed record has both
