"""Who writes the events, in a process of its own: by a timetable that nobody holds up, or a bounded way ahead.

By the timetable, event i of an order is due at ``began + i / per_s``, whether or not the one before it has been
tagged or even sent: what waits for a slow worker, a slow broker or this very process is late by all of it
(no coordinated omission). The number in an event's id is its place in the timetable.
"""

import itertools
import multiprocessing
import time
from collections.abc import Callable
from ctypes import c_int64
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawArray
from typing import Any

import msgspec
from confluent_kafka import Producer

from streamtag.errors import StreamtagError

from .corpus import TEXTS, Corpus

SPAWN = multiprocessing.get_context("spawn")
"""Children share nothing with this process: no client, no thread, no lock."""
_ID = b'{"id":"event-%09d",'
NUMBER = slice(13, 22)
"""Where the event's number stands in a tag event: its id comes first, as in ours."""
_TICK_S = 0.001
_FLUSH_S = 60.0


class Counters:
    """Events written and tags read so far; shared by both ends, each written by one."""

    def __init__(self) -> None:
        self._cells = RawArray(c_int64, 2)

    @property
    def written(self) -> int:
        """By the upstream."""
        return int(self._cells[0])

    @property
    def read(self) -> int:
        """By the downstream."""
        return int(self._cells[1])

    def add_written(self, count: int) -> None:
        """For the upstream."""
        self._cells[0] += count

    def add_read(self, count: int) -> None:
        """For the downstream."""
        self._cells[1] += count

    @property
    def behind(self) -> int:
        """Events whose tags have not been read."""
        return self.written - self.read


@dataclass(frozen=True)
class Paced:
    """Write at an even rate."""

    per_s: float
    seconds: float


@dataclass(frozen=True)
class Ahead:
    """Write as fast as tags come back: at most ``window`` events are on their way."""

    events: int
    window: int


@dataclass(frozen=True)
class Written:
    """What an order has come to.

    Attributes:
        first: number of its first event.
        events: how many.
        began_ns: when the first was due, by `time.monotonic_ns` of any process of this host.
        per_s: rate of the timetable; 0 without one.
        late_ms: by how much the latest was sent after it was due.
    """

    first: int
    events: int
    began_ns: int
    per_s: float
    late_ms: float


class Upstream:
    """The process, and the orders it is given."""

    def __init__(self, bootstrap: str, topic: str, counters: Counters) -> None:
        self._pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(bootstrap, topic, counters, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.written()  # it has made its texts

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid or 0

    def begin(self, order: Paced | Ahead) -> None:
        """Gives an order; `written` waits for its end."""
        self._pipe.send(order)

    def written(self, timeout_s: float | None = None) -> Written:
        """The outcome of the order."""
        if not self._pipe.poll(timeout_s):
            raise StreamtagError(f"the upstream is not done after {timeout_s} s")
        try:
            found = self._pipe.recv()
        except EOFError:
            raise StreamtagError("the upstream has died") from None
        assert isinstance(found, Written)
        return found

    def stop(self) -> Written:
        """Ends a `Paced` order before its time."""
        self._pipe.send(None)
        return self.written(_FLUSH_S)

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join(10)
        self._process.kill()


def _serve(bootstrap: str, topic: str, counters: Counters, pipe: "Connection[Any, Any]") -> None:
    """The process: until its parent has gone."""
    writer = _Writer(bootstrap, topic, counters)
    pipe.send(Written(0, 0, 0, 0.0, 0.0))
    while True:
        try:
            order = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        if isinstance(order, Paced):
            pipe.send(writer.pace(order, until=lambda: pipe.poll(0)))
        elif isinstance(order, Ahead):
            pipe.send(writer.keep_ahead(order))


class _Writer:
    def __init__(self, bootstrap: str, topic: str, counters: Counters) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 5,
                # A key lands in the tags' topic where it lands in this one: partitions can be told apart by their tags.
                "partitioner": "murmur2_random",
                "queue.buffering.max.messages": 1_000_000,
                "log_level": 0,
            }
        )
        self._topic = topic
        self._counters = counters
        bodies = [(event.key, _without_id(event.value)) for event in Corpus().events(TEXTS)]
        self._bodies = itertools.cycle(bodies)
        self._next = 0

    def pace(self, order: Paced, until: Callable[[], bool]) -> Written:
        first, count, began = self._next, int(order.per_s * order.seconds), time.monotonic_ns()
        ns, sent, late = 1e9 / order.per_s, 0, 0.0
        while sent < count and not until():
            now = time.monotonic_ns() - began
            late = max(late, now - sent * ns)
            due = min(count, int(now / ns) + 1)
            self._send(due - sent)
            sent = due
            time.sleep(_TICK_S)
        return self._done(Written(first, sent, began, order.per_s, round(late / 1e6, 1)))

    def keep_ahead(self, order: Ahead) -> Written:
        first, sent, began = self._next, 0, time.monotonic_ns()
        while sent < order.events:
            room = min(order.window - self._counters.behind, order.events - sent)
            self._send(max(0, room))
            sent += max(0, room)
            time.sleep(_TICK_S)
        return self._done(Written(first, sent, began, 0.0, 0.0))

    def _send(self, count: int) -> None:
        produce, topic = self._producer.produce, self._topic
        for number, (key, body) in zip(range(self._next, self._next + count), self._bodies, strict=False):
            while True:
                try:
                    produce(topic, _ID % number + body, key)
                except BufferError:
                    self._producer.poll(0.01)
                else:
                    break
        self._next += count
        self._counters.add_written(count)
        self._producer.poll(0)

    def _done(self, written: Written) -> Written:
        left = self._producer.flush(_FLUSH_S)
        if left:
            raise StreamtagError(f"{left} events not acknowledged in {_FLUSH_S:g} s")
        return written


def _without_id(value: bytes) -> bytes:
    event = msgspec.json.decode(value)
    del event["id"]
    return msgspec.json.encode(event)[1:]
