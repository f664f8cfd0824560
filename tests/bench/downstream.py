"""Who acts on the tags, in a process of its own: reads what is committed and notes when each tag arrived."""

import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from numpy.typing import NDArray

from streamtag.errors import RefusedError, StreamtagError

from .upstream import NUMBER, SPAWN, Counters

_ONCE = 2_000


@dataclass(frozen=True)
class Arrivals:
    """Tags in the order in which they arrived; columns of one length.

    Attributes:
        numbers: of the events, int64.
        at_ns: when the tag could be read, int64, by `time.monotonic_ns`.
        partitions: int16; by the key, so the same as that of the event.
    """

    numbers: NDArray[np.int64]
    at_ns: NDArray[np.int64]
    partitions: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.numbers)

    def by_number(self, first: int, events: int) -> NDArray[np.int64]:
        """Arrival of each of a run of events, int64 [events].

        Raises:
            RefusedError: one is missing, or there twice: no figure is worth anything then.
        """
        mine = (self.numbers >= first) & (self.numbers < first + events)
        places = self.numbers[mine] - first
        found = np.bincount(places, minlength=events)
        if (found != 1).any():
            lost, doubled = int((found == 0).sum()), int((found > 1).sum())
            raise RefusedError(f"of {events} events {lost} have no tag event and {doubled} more than one")
        at_ns = np.empty(events, np.int64)
        at_ns[places] = self.at_ns[mine]
        return at_ns


class Downstream:
    """The process, and what it has noted."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, counters: Counters) -> None:
        self._pipe, theirs = SPAWN.Pipe()
        arguments = (bootstrap, topic, partitions, counters, theirs)
        self._process = SPAWN.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid or 0

    def take(self) -> Arrivals:
        """What has arrived since the last call."""
        self._pipe.send(None)
        try:
            found = self._pipe.recv()
        except EOFError:
            raise StreamtagError("the downstream has died") from None
        assert isinstance(found, Arrivals)
        return found

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join(10)
        self._process.kill()


def _serve(bootstrap: str, topic: str, partitions: int, counters: Counters, pipe: "Connection[Any, Any]") -> None:
    """The process: until its parent has gone."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "downstream",  # never commits, never joins
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            # How late a commit may be noticed; the rest of the latency is the pipeline's.
            "fetch.wait.max.ms": 10,
            "log_level": 0,
        }
    )
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
    noted: list[tuple[NDArray[np.int64], int, NDArray[np.int16]]] = []
    while True:
        if pipe.poll(0):
            try:
                pipe.recv()
            except (EOFError, ConnectionResetError):
                return
            pipe.send(_joined(noted))
            noted.clear()
        first = consumer.poll(0.02)
        if first is None:
            continue
        messages = [m for m in (first, *consumer.consume(_ONCE, 0)) if m.error() is None]
        at_ns = time.monotonic_ns()
        numbers = np.array([int((m.value() or b"")[NUMBER]) for m in messages], np.int64)
        noted.append((numbers, at_ns, np.array([m.partition() for m in messages], np.int16)))
        counters.add_read(len(messages))


def _joined(noted: list[tuple[NDArray[np.int64], int, NDArray[np.int16]]]) -> Arrivals:
    if not noted:
        return Arrivals(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int16))
    return Arrivals(
        np.concatenate([numbers for numbers, _, _ in noted]),
        np.repeat(np.array([at for _, at, _ in noted], np.int64), [len(numbers) for numbers, _, _ in noted]),
        np.concatenate([partitions for _, _, partitions in noted]),
    )
