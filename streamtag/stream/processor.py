"""What a user of the runner writes: records in, outputs out, and nothing about Kafka's transactions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from confluent_kafka import Message

Partition = tuple[str, int]
"""(topic, partition) of a source."""


class Output(NamedTuple):
    """One record to produce. ``headers`` None means none."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] | None = None


class Range(NamedTuple):
    """Half-open range of positions ``[start, end)`` of one source partition."""

    start: int
    end: int


class Commit(NamedTuple):
    """Position to commit for one source partition, and what to remember with it (≤ 4,000 bytes)."""

    position: int
    metadata: str = ""


class Hold(Exception):  # noqa: N818 - an instruction to the runner, not a failure
    """Raised by `Processor.process`: undo the open transaction and process nothing while `Processor.held` says why."""


class Processor(Protocol):
    """Called by one thread only, the processing thread. May raise: the transaction is undone and redone.

    One that keeps state of each partition, or publishes by the clock, is a `streamtag.stream.keeper.Keeper`, too.
    """

    def held(self) -> str | None:
        """Why nothing may be processed now, or None. Asked before every batch; must not block."""
        ...

    def process(self, records: Sequence[Message]) -> Iterable[Output]:
        """Processes a batch, in the order given, within the open transaction.

        Records of one partition are in position order. Nothing returned is visible to readers before the
        transaction commits. After `undo` the same records come again, perhaps in other batches.
        """
        ...

    def full(self) -> bool:
        """Whether the open transaction should be committed now, before its interval is over. Asked after a batch."""
        ...

    def close(self, covered: Mapping[Partition, Range]) -> Iterable[Output]:
        """Last outputs of a transaction that covers these ranges: what the processor counted since it opened.

        Ranges of one partition touch: the next transaction starts where this one ends, holes included.
        """
        ...

    def commits(self, covered: Mapping[Partition, Range]) -> Mapping[Partition, Commit]:
        """What to commit; usually the end of each range, but a processor may lag behind (a low-water mark)."""
        ...

    def committed(self) -> None:
        """The transaction is committed: forget what was counted."""
        ...

    def undo(self) -> None:
        """The transaction was undone: forget what was counted; its records come again."""
        ...
