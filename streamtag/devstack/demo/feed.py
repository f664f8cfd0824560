"""Writes made-up events to the content topic at a steady rate, from a thread of its own."""

import threading
import time
from collections.abc import Iterator

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamtag.devstack.demo.events import Record

__all__ = ["Feed", "Pace"]

_TICK_S = 0.02
_FLUSH_S = 10.0


class Pace:
    """How many records are due: a steady rate, without catching up after a pause (a suspended laptop, say).

    Example:
        >>> pace = Pace(rate=100, longest_pause_s=1.0)
        >>> pace.due(now_s=0.0), pace.due(now_s=0.5), pace.due(now_s=0.5), pace.due(now_s=60.0)
        (0, 50, 0, 100)
    """

    def __init__(self, rate: float, *, longest_pause_s: float = 0.5) -> None:
        self._rate = rate
        self._longest_pause_s = longest_pause_s
        self._at_s: float | None = None
        self._owed = 0.0

    def due(self, now_s: float) -> int:
        """Records to write now, since the last call."""
        if self._at_s is not None:
            self._owed += min(now_s - self._at_s, self._longest_pause_s) * self._rate
        self._at_s = now_s
        due = int(self._owed + 1e-9)
        self._owed -= due
        return due


class Feed:
    """Produces ``records`` until stopped.

    Args:
        bootstrap: the broker.
        topic: the content topic.
        records: what to write.
        rate: records a second.
    """

    def __init__(self, bootstrap: str, topic: str, records: Iterator[Record], rate: float) -> None:
        self._topic = topic
        self._records = records
        self._pace = Pace(rate)
        self._stopping = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 5,
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "log_level": 0,  # what fails is told by `error`, not by lines on the terminal
            }
        )
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self.written = 0
        """Records that the broker has acknowledged."""
        self.error: str | None = None
        """Why a record could not be written; None while all is well."""

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def stop(self) -> None:
        """Writes nothing more, and waits until what was written is acknowledged."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if left := self._producer.flush(_FLUSH_S):
            self.error = f"{left} records were not acknowledged in {_FLUSH_S:g} s"

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                for _ in range(self._pace.due(time.monotonic())):
                    record = next(self._records)
                    self._producer.produce(self._topic, record.value, record.key, on_delivery=self._delivered)
                self._producer.poll(0)
            except (BufferError, KafkaException) as error:
                self.error = str(error)
            self._stopping.wait(_TICK_S)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.written += 1
        else:
            self.error = error.str()
