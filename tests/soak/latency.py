"""From the moment a record was due to the moment its committed tag event was read, second by second.

A reader of committed records in a process of its own, so that it measures the pipeline and not the checker.
"""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from numpy.typing import NDArray

_PER_OCTAVE = 16  # bins: a percentile is at most 4.4 % above the truth
_BINS = 17 * _PER_OCTAVE  # to two minutes
_FIELD = b'"timestamp_ms":'
_DIGITS = 13  # of Unix milliseconds, until 2286
_ROOT = Path(__file__).parents[2]


class Latencies:
    """How many tag events of each second took how long.

    Attributes:
        from_s: Unix second of the first row.
        counts: int32 [seconds, bins].
    """

    def __init__(self, from_s: int, counts: NDArray[np.int32] | None = None) -> None:
        self.from_s = from_s
        self.counts = np.zeros((64, _BINS), dtype=np.int32) if counts is None else counts

    def add(self, due_ms: NDArray[np.int64], read_ms: float) -> None:
        """Tag events that were read together; what was due before the first row is left out."""
        rows = due_ms // 1000 - self.from_s
        due_ms, rows = due_ms[rows >= 0], rows[rows >= 0]
        if not len(rows):
            return
        if (needed := int(rows.max()) + 1) > len(self.counts):
            more = np.zeros((max(needed - len(self.counts), len(self.counts)), _BINS), dtype=np.int32)
            self.counts = np.vstack([self.counts, more])
        bins = np.ceil(np.log2(np.maximum(read_ms - due_ms, 1.0)) * _PER_OCTAVE).astype(np.int64)
        np.add.at(self.counts, (rows, np.minimum(bins, _BINS - 1)), 1)

    def between(self, start_s: int, end_s: int) -> NDArray[np.int32]:
        """Rows of the Unix seconds ``[start_s, end_s)``; zeros where there is nothing."""
        rows = np.arange(start_s, end_s) - self.from_s
        there = (rows >= 0) & (rows < len(self.counts))
        found = np.zeros((len(rows), _BINS), dtype=np.int32)
        found[there] = self.counts[rows[there]]
        return found

    def save(self, path: Path) -> None:
        """To be read by `load`."""
        np.savez(path, from_s=self.from_s, counts=self.counts)

    @staticmethod
    def load(path: Path) -> "Latencies":
        """What `save` wrote."""
        with np.load(path) as saved:
            return Latencies(int(saved["from_s"]), saved["counts"])


def percentile_ms(counts: NDArray[np.int32], share: float) -> float | None:
    """Upper edge of the bin in which the ``share`` lies (nearest rank); None of nothing.

    Args:
        counts: [..., bins]; all rows together.
        share: 0 … 1.
    """
    total = counts.reshape(-1, _BINS).sum(axis=0, dtype=np.int64).cumsum()
    if total[-1] == 0:
        return None
    rank = max(1, int(np.ceil(share * total[-1])))
    return round(float(2 ** (np.searchsorted(total, rank) / _PER_OCTAVE)), 1)


class LatencyReader:
    """The process, as the long run sees it; a context manager."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, path: Path) -> None:
        self._path = path
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.latency", bootstrap, topic, str(partitions), str(path)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(10)

    def check(self) -> None:
        """It must still be there."""
        assert self._process.poll() is None, f"the reader of latencies ended with {self._process.returncode}"

    def finish(self) -> Latencies:
        """Ends it; what it has found."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        code = self._process.wait(30)
        assert code == 0, f"the reader of latencies ended with {code}"
        return Latencies.load(self._path)


def _due_ms(message: Message) -> int:
    value = message.value() or b""
    at = value.index(_FIELD) + len(_FIELD)
    return int(value[at : at + _DIGITS])


def main(bootstrap: str, topic: str, partitions: str, path: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run ends it in order
    waiting = threading.Thread(target=sys.stdin.read, daemon=True)
    waiting.start()
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "soak-latency",  # never commits, never joins
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 20,
            "queued.max.messages.kbytes": 65_536,
            "log_level": 0,
        }
    )
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(int(partitions))])
    latencies = Latencies(int(time.time()))
    while waiting.is_alive():
        first = consumer.poll(0.1)
        if first is None:
            continue
        messages = [first, *consumer.consume(10_000, 0)]  # what is here, without waiting
        read_ms = time.time() * 1000
        for message in messages:
            error = message.error()
            assert error is None or error.code() != KafkaError._AUTO_OFFSET_RESET, (
                f"deleted before it was read: {error}"
            )
        due = [_due_ms(m) for m in messages if m.error() is None and m.value() is not None]
        latencies.add(np.array(due, dtype=np.int64), read_ms)
    consumer.close()
    latencies.save(Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
