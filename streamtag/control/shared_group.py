"""The members of a consumer group for many who ask at once, none of whom may wait for Kafka long."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from streamtag.control.group import GroupReader
from streamtag.errors import UnavailableError

__all__ = ["SharedGroup"]

_KEPT_S = 0.5
_FAILURE_KEPT_S = 2.0
_MOST_WAITING = 4


@dataclass(frozen=True)
class _Answer:
    """What Kafka said, or why it said nothing; and until when nobody asks again."""

    members: frozenset[str] = frozenset()
    fault: str = ""
    until: float = 0.0

    def tell(self) -> frozenset[str]:
        if self.fault:
            raise UnavailableError(self.fault)
        return self.members


class SharedGroup:
    """Asks Kafka one question at a time, for all who want to know.

    While Kafka is away a question takes seconds, and who waits for it holds a thread that others need. So one asks, a
    few wait for its answer, and all others are told at once that it is unknown. After a failure nobody waits but the
    one who asks again. What Kafka said holds for half a second: a worker sends heartbeats before it joins, and those
    are read at each look.
    """

    def __init__(self, reader: GroupReader, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._clock = clock
        self._changed = threading.Condition()
        self._asking = False
        self._waiting = 0
        self._last: _Answer | None = None

    def members(self, timeout_s: float) -> frozenset[str]:
        """As those of `GroupReader`.

        Raises:
            UnavailableError: as there; or somebody else's question was not answered in time, or too many wait for it.
        """
        with self._changed:
            answer = self._at_hand(timeout_s)
            self._asking = self._asking or answer is None
        return (answer or self._ask(timeout_s)).tell()

    def _at_hand(self, timeout_s: float) -> _Answer | None:
        """The answer where it takes no question of one's own."""
        last = self._last
        if last is not None and self._clock() < last.until:
            return last
        if not self._asking:
            return None
        if last is not None and last.fault:
            return last
        if self._waiting >= _MOST_WAITING:
            return _Answer(fault="Kafka has not told yet who is in the group, and others wait for it; look again")
        self._waiting += 1
        told = self._changed.wait_for(lambda: self._last is not last, timeout_s)
        self._waiting -= 1
        return self._last if told else _Answer(fault="Kafka did not tell in time who is in the group")

    def _ask(self, timeout_s: float) -> _Answer:
        found = _Answer(fault="Kafka could not be asked who is in the group")
        try:
            members = self._reader.members(timeout_s)
            found = _Answer(members, until=self._clock() + _KEPT_S)
        except UnavailableError as error:
            found = _Answer(fault=error.message, until=self._clock() + _FAILURE_KEPT_S)
        finally:
            with self._changed:
                self._last, self._asking = found, False
                self._changed.notify_all()
        return found
