"""What the open transaction covers, and whether it may still commit: where the two threads meet, under one lock.

The polling thread assigns, releases and dooms; the processing thread begins, advances and ends. A doom and the
reading of what a commit needs exclude each other: either the commit uses membership from before (and the broker
refuses it) or it sees the doom.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from streamtag.stream.positions import Positions
from streamtag.stream.processor import Partition, Range
from streamtag.stream.sink import Undone

T = TypeVar("T")


class OpenTransaction:
    """At most one is open at a time. Thread-safe.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._positions = Positions()
        self._epoch: int | None = None  # in which it was begun; None: none is open
        self._since = 0.0
        self._doomed_before = 0

    def __bool__(self) -> bool:
        """Whether one is open."""
        return self._epoch is not None

    def age_s(self) -> float:
        """Seconds since what it holds began to wait."""
        return self._clock() - self._since

    def following(self) -> dict[Partition, int]:
        """First position not yet processed, of every partition that is read."""
        with self._lock:
            return self._positions.all()

    # -- the polling thread ------------------------------------------------------------------------------------------

    def assign(self, starts: Mapping[Partition, int]) -> None:
        """These partitions are read from these positions on."""
        with self._lock:
            for partition, position in starts.items():
                self._positions.assign(partition, position)

    def release(self, partitions: Collection[Partition]) -> None:
        """These partitions are no longer read."""
        with self._lock:
            self._positions.revoke(partitions)

    def doom(self, epoch: int) -> None:
        """One begun before ``epoch`` must not commit."""
        with self._lock:
            self._doomed_before = epoch

    def doomed(self) -> bool:
        """Whether one is open that must not commit; it may be about to, with what it read before it was doomed."""
        with self._lock:
            return self._is_doomed()

    # -- the processing thread ---------------------------------------------------------------------------------------

    def begin(self, epoch: int, since: float) -> None:
        """The sink is open, for batches of ``epoch``; the first record has waited since then (see ``clock``)."""
        self._epoch, self._since = epoch, since

    def advance(self, ends: Mapping[Partition, int]) -> None:
        """Everything below these positions has been processed in it. Raises `Undone` when it is doomed."""
        with self._lock:
            self._check_doom()
            for partition, position in ends.items():
                self._positions.advance(partition, position)

    def covered(self) -> dict[Partition, Range]:
        """What it covers so far, only partitions that moved. Raises `Undone` when it is doomed."""
        with self._lock:
            self._check_doom()
            return self._positions.open()

    def unless_doomed(self, read: Callable[[], T]) -> T:
        """What ``read`` returns, in one step with looking for the doom. Raises `Undone` when it is doomed."""
        with self._lock:
            self._check_doom()
            return read()

    def check(self) -> None:
        """Raises `Undone` when it is doomed."""
        self.unless_doomed(lambda: None)

    def committed(self) -> None:
        """It has ended well."""
        with self._lock:
            self._positions.commit()
            self._epoch = None

    def undone(self) -> None:
        """It has ended, and nothing of it stays."""
        with self._lock:
            self._positions.undo()
            self._epoch = None

    def _is_doomed(self) -> bool:
        return self._epoch is not None and self._epoch < self._doomed_before

    def _check_doom(self) -> None:
        if self._is_doomed():
            raise Undone("revoked")
