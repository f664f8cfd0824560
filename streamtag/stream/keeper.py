"""What a processor writes, too, that keeps state of each partition, or publishes by the clock."""

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from streamtag.stream.processor import Output, Partition
from streamtag.stream.start import Start


class Keeper(Protocol):
    """Beside a `Processor`, called by the same thread, between two batches only; usually it is the same object.

    Everything comes in the order in which it happened, and before the first record that it concerns: no batch of the
    time before a rebalance is processed after `assigned` has told of the time after it. After `Processor.undo` all
    partitions that are read are released and assigned again. May raise, as a processor may.
    """

    def assigned(self, starts: Mapping[Partition, Start]) -> None:
        """These partitions are read from there on, with what their last commits remember."""
        ...

    def released(self, partitions: Collection[Partition]) -> None:
        """These partitions are no longer read, and what is still open of them, if anything, will not be committed.

        Some may never have been assigned.
        """
        ...

    def idle(self) -> Iterable[Output]:
        """What is due by the clock; asked several times a second while no record comes and nothing is open.

        It goes out at once, in a transaction that covers nothing and commits no position. Must not block.
        """
        ...
