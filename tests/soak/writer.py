"""The writer of the long run, a process of its own: an even load that does not wait for anybody (an open loop).

A record's timestamp is the moment at which it was due, so that waiting in this process counts as latency. Lines on
stdin say what to do: ``pace <records per second>`` from now on, ``until <ordinal>`` as fast as possible.
"""

import signal
import sys
import threading
import time

import numpy as np
from confluent_kafka import Producer
from faults.corpus import Corpus
from faults.upstream import ORDINAL_HEADER, Upstream

_SLICE_S = 0.01
_CHUNK = 1_000


class Writer:
    """Writes until told to stop."""

    def __init__(self, bootstrap: str, topic: str, seed: int) -> None:
        self._topic = topic
        self._corpus = Corpus(seed)
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 5,
                "compression.type": "lz4",
                "log_level": 0,
            }
        )
        self._next = 0
        self._until = 0
        self._rate, self._since_s, self._first = 0.0, 0.0, 0
        self._stopping = threading.Event()

    def pace(self, rate: float) -> None:
        """Records per second from now on."""
        self._rate, self._since_s, self._first = rate, time.time(), self._next

    def until(self, ordinal: int) -> None:
        """All below ``ordinal``, as fast as possible."""
        self._rate, self._until = 0.0, ordinal

    def stop(self) -> None:
        """Lets it flush and end."""
        self._stopping.set()

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopping.is_set():
            due = self._first + int((time.time() - self._since_s) * self._rate) if self._rate else self._until
            ordinals = np.arange(self._next, min(due, self._next + _CHUNK))
            self._write(ordinals)
            self._next += len(ordinals)
            self._producer.poll(0)
            if self._next >= due:
                self._stopping.wait(_SLICE_S)
        self._producer.flush(60)

    def _write(self, ordinals: np.ndarray) -> None:
        now_s = time.time()
        due_s = self._since_s + (ordinals - self._first) / self._rate if self._rate else np.full(len(ordinals), now_s)
        stamps = (due_s * 1000).astype(np.int64).tolist()
        for ordinal, (key, value), stamp in zip(ordinals.tolist(), self._corpus.records(ordinals), stamps, strict=True):
            headers = [(ORDINAL_HEADER, str(ordinal).encode())] if value is None else []
            while not self._stopping.is_set():
                try:
                    self._producer.produce(self._topic, value, key, timestamp=stamp, headers=headers)  # type: ignore[arg-type]
                except BufferError:  # the broker is away: what is due meanwhile comes late, and says so
                    self._producer.poll(0.1)
                else:
                    break


class SteadyUpstream(Upstream):
    """The writer's process, as the long run sees it."""

    module = "tests.soak.writer"

    def __init__(self, bootstrap: str, topic: str, seed: int, limit: int) -> None:
        super().__init__(bootstrap, topic, seed, limit)
        self._first, self._since = 0, 0.0

    def pace(self, rate: float) -> None:
        """An open loop; what came before must have been written."""
        self._first, self._since, self.rate = self.due(), time.monotonic(), rate
        self._tell(f"pace {rate}")

    def until(self, ordinal: int) -> None:
        """As fast as possible."""
        self._first, self.rate = ordinal, 0.0
        self._tell(f"until {ordinal}")

    def due(self) -> int:
        """Records that should have been written by now."""
        return self._first + int((time.monotonic() - self._since) * self.rate)


def main(bootstrap: str, topic: str, seed: str, _limit: str) -> None:
    writer = Writer(bootstrap, topic, int(seed))
    signal.signal(signal.SIGTERM, lambda *_: writer.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run ends it in order

    def listen() -> None:
        for line in sys.stdin:
            command, value = line.split()
            if command == "pace":
                writer.pace(float(value))
            else:
                writer.until(int(value))
        writer.stop()  # the run has gone

    threading.Thread(target=listen, daemon=True).start()
    writer.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
