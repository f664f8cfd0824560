"""What runs on the runner: processors, and keepers among them, with the records that they are for.

A new one is one more entry of `PROCESSORS`; it inherits every case of `test_processor_contract.py`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import summary_factory
from confluent_kafka import Message
from stages import NOW_MS, NeverStopped, good

from streamtag.control.watcher import ActiveRelease
from streamtag.settings import load_settings
from streamtag.stats.shard import ShardOptions
from streamtag.stats.windower import Windower
from streamtag.stream.keeper import Keeper
from streamtag.stream.processor import Commit, Output, Partition, Processor, Range
from streamtag.stream.start import Start
from streamtag.tagger.stop import Stop
from streamtag.tagger.tagger import Tagger
from streamtag.telemetry.metrics import Metrics
from streamtag.telemetry.tracing import BatchTracer

PARTITIONS: tuple[Partition, ...] = (("input", 0), ("input", 1))


@dataclass(frozen=True)
class Kind:
    """A processor, and what it is fed.

    Attributes:
        make: a new one, without a past, on a clock in Unix milliseconds.
        value: of a good record, by partition and offset, from 0 on without holes.
        topics: it writes to; ``dead-letters`` among them.
        upserts: of its outputs of one key the last counts, and they may come again; else every one counts.
        keeps: it is a `Keeper`, too.
        lets_go: what it still holds after a transaction goes out by the clock alone.
    """

    name: str
    make: Callable[[ActiveRelease, Callable[[], int]], Processor]
    value: Callable[[int, int], bytes]
    topics: frozenset[str]
    upserts: bool = False
    keeps: bool = False
    lets_go: bool = False


def message(kind: Kind, partition: int, offset: int) -> Message:
    return raw_message(partition, offset, kind.value(partition, offset))


def raw_message(partition: int, offset: int, value: bytes | None) -> Message:
    return Message(
        topic="input",
        partition=partition,
        offset=offset,
        key=f"content/{partition}".encode(),
        value=value,
        headers=None,
        timestamp=(1, NOW_MS),
    )


class Driver:
    """Calls a processor as `streamtag.stream.processing` does, on one partition or several, without a broker."""

    def __init__(self, kind: Kind, active: ActiveRelease) -> None:
        self.now_ms = NOW_MS
        self.processor = kind.make(active, lambda: self.now_ms)
        self.keeper: Keeper | None = cast(Keeper, self.processor) if kind.keeps else None
        self.commits = {partition: Commit(0) for partition in PARTITIONS}
        self.next = dict.fromkeys(PARTITIONS, 0)
        """Where each partition is read on."""
        self.assign()

    def transaction(self, batches: Sequence[Sequence[Message]]) -> list[Output]:
        """All outputs of a transaction that commits."""
        outputs = [output for batch in batches for output in self.processor.process(batch)]
        covered = self._covered(batches)
        outputs += self.processor.close(covered)
        self.commits |= self.processor.commits(covered)
        self.processor.committed()
        self.next |= {partition: span.end for partition, span in covered.items()}
        return outputs

    def undo(self, batches: Sequence[Sequence[Message]], *, closed: bool) -> None:
        """A transaction that comes to nothing, before it was closed or after; partitions are taken out and back."""
        for batch in batches:
            list(self.processor.process(batch))
        if closed:
            covered = self._covered(batches)
            list(self.processor.close(covered))
            self.processor.commits(covered)
        self.processor.undo()
        if self.keeper is not None:
            self.keeper.released(PARTITIONS)
        self.assign()

    def assign(self) -> None:
        """All partitions are read from their last commits."""
        self.next = {partition: commit.position for partition, commit in self.commits.items()}
        if self.keeper is not None:
            self.keeper.assigned({p: Start(c.position, metadata=c.metadata) for p, c in self.commits.items()})

    def _covered(self, batches: Sequence[Sequence[Message]]) -> Mapping[Partition, Range]:
        ends = {(m.topic(), m.partition()): (m.offset() or 0) + 1 for batch in batches for m in batch}
        return {p: Range(self.next[p], ends[p]) for p in PARTITIONS if p in ends}


def read(kind: Kind, driver: Driver, end: int, partitions: Collection[int] = (0, 1)) -> list[Message]:
    """What the runner would hand over: each partition up to ``end``, one after the other."""
    return [message(kind, p, offset) for p in partitions for offset in range(driver.next["input", p], end)]


# -- processors --------------------------------------------------------------------------------------------------------


def _tagger(active: ActiveRelease, clock_ms: Callable[[], int], **overrides: str) -> Processor:
    names = {name.replace("__", "."): value for name, value in overrides.items()}
    return Tagger(
        load_settings(environ={}, overrides=names).settings,
        worker="host-0",
        release=lambda: active,
        stop=cast(Stop, NeverStopped()),
        metrics=Metrics.in_memory(),
        tracer=BatchTracer(),
        clock_ms=clock_ms,
    )


def _windower(_active: ActiveRelease, now_ms: Callable[[], int]) -> Processor:
    return Windower(
        panes_topic="panes",
        dead_letters_topic="dead-letters",
        worker="host-0",
        max_letter_bytes=100_000,
        options=ShardOptions(lateness_ms=10_000),
        metrics=Metrics.in_memory(),
        now_ms=now_ms,
    )


def _summary(partition: int, offset: int) -> bytes:
    """One event each, four seconds after the last; every seventh comes half a minute late."""
    at_ms = NOW_MS + 4_000 * offset
    start_ms = (at_ms - (30_000 if offset % 7 == 6 else 0)) // 10_000 * 10_000
    pane = msgspec.structs.replace(summary_factory.pane(1), start_ms=start_ms)
    changes: dict[str, Any] = {"partition": partition, "committed_at_ms": at_ms, "panes": [pane]}
    return summary_factory.record(summary_factory.make(offset, offset + 1, **changes))[1]


_TAGGERS_TOPICS = frozenset({"tags", "dead-letters", "stats"})

PROCESSORS = (
    Kind("tagger", _tagger, lambda _p, offset: good(offset), _TAGGERS_TOPICS, keeps=True),
    Kind(
        "tagger of tagged events only",
        lambda active, clock_ms: _tagger(active, clock_ms, tagger__emit="tagged"),
        lambda _p, offset: good(offset),
        _TAGGERS_TOPICS,
        keeps=True,
    ),
    Kind("windower", _windower, _summary, frozenset({"panes", "dead-letters"}), upserts=True, keeps=True, lets_go=True),
)
