"""The writer of the campaign, a process of its own: a producer as ugly as upstream producers are.

It repeats chunks, shuffles and invents timestamps, and writes a part of its chunks in transactions, some of which it
aborts: the log gets holes. What readers of committed records find in the input topic is the truth the checker goes
by, so nothing here needs to know what became of a chunk. Reads ``<records per second>`` lines from stdin.
"""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
from confluent_kafka import KafkaException, Producer

from . import ROOT
from .corpus import Corpus, Record

CHUNK = 250
ORDINAL_HEADER = "n"
_DAY_MS = 86_400_000


class Writer:
    """Writes until told to stop."""

    def __init__(self, bootstrap: str, topic: str, seed: int) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._corpus = Corpus(seed)
        self._choose = random.Random(seed)
        self._plain = self._producer()
        self._transactional: Producer | None = None
        self.stopping = threading.Event()
        self.rate = 0.0
        self.did: Counter[str] = Counter()
        """Chunks by what was ugly about them."""

    def run(self, limit: int) -> None:
        """At most ``limit`` ordinals; some are written twice, some never."""
        ordinal, due = 0, time.monotonic()
        while ordinal < limit and not self.stopping.is_set():
            rate = self.rate  # another thread changes it
            if rate <= 0:
                due = time.monotonic()
                self.stopping.wait(0.02)
                continue
            ordinals = np.arange(ordinal, ordinal + CHUNK)
            ordinal += CHUNK
            self._write(ordinals)
            due = max(due, time.monotonic() - 1.0) + CHUNK / rate
            self._plain.poll(0)
            self.stopping.wait(max(0.0, due - time.monotonic()))
        self._plain.flush(60)

    def _write(self, ordinals: np.ndarray) -> None:
        records, stamps = self._corpus.records(ordinals), self._stamps(len(ordinals))
        draw = self._choose.random()
        if draw < 0.75:
            self._put(self._plain, ordinals, records, stamps)
        elif draw < 0.85:  # the whole chunk twice, as after a lost acknowledgement
            self.did["chunk repeated"] += 1
            for _ in range(2):
                self._put(self._plain, ordinals, records, stamps)
        else:
            self._in_transaction(ordinals, records, stamps, abort=draw > 0.93)

    def _stamps(self, count: int) -> list[int]:
        now_ms = time.time_ns() // 1_000_000
        draw = self._choose.random()
        if draw < 0.8:
            return [now_ms] * count
        if draw < 0.97:  # by up to half a minute
            self.did["timestamps out of order"] += 1
            return [now_ms - self._choose.randrange(30_000) for _ in range(count)]
        self.did["timestamps of another time"] += 1
        return [now_ms + self._choose.choice((-400, 1)) * _DAY_MS] * count  # nobody can believe this

    def _put(self, producer: Producer, ordinals: np.ndarray, records: list[Record], stamps: list[int]) -> None:
        for ordinal, (key, value), stamp in zip(ordinals.tolist(), records, stamps, strict=True):
            headers = [(ORDINAL_HEADER, str(ordinal).encode())] if value is None else []
            while not self.stopping.is_set():
                try:
                    producer.produce(self._topic, value, key, timestamp=stamp, headers=headers)  # type: ignore[arg-type]
                except BufferError:
                    producer.poll(0.1)
                else:
                    break

    def _in_transaction(self, ordinals: np.ndarray, records: list[Record], stamps: list[int], *, abort: bool) -> None:
        try:
            if self._transactional is None:
                self._transactional = self._producer(transactional=True)
                self._transactional.init_transactions(10)
            producer = self._transactional
            producer.begin_transaction()
            self._put(producer, ordinals, records, stamps)
            if abort:
                producer.flush(5)  # aborted records take up offsets only once they are there
                producer.abort_transaction(10)
            else:
                producer.commit_transaction(10)
            self.did["transaction aborted" if abort else "transaction committed"] += 1
        except KafkaException:  # the broker is being hurt: whatever became of it, readers of committed records agree
            self.did["transaction lost"] += 1
            self._transactional = None

    def _producer(self, *, transactional: bool = False) -> Producer:
        own: dict[str, str | int | float | bool] = {"enable.idempotence": True}
        if transactional:
            own = {"transactional.id": f"upstream-{self._topic}", "transaction.timeout.ms": 5_000}
        return Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "compression.type": "lz4",
                "log_level": 0,
                **own,
            }
        )


class Upstream:
    """The writer's process, as the campaign sees it."""

    module = "tests.faults.upstream"

    def __init__(self, bootstrap: str, topic: str, seed: int, limit: int) -> None:
        arguments = [bootstrap, topic, str(seed), str(limit)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.rate = 0.0
        self.did: dict[str, int] = {}
        """Chunks by what was ugly about them, once it has ended."""

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def finished(self) -> bool:
        """True when it has written all it was to write."""
        return self._process.poll() is not None

    @property
    def failed(self) -> str | None:
        """How it ended, in words, where it should not have."""
        code = self._process.poll()
        return None if code in (None, 0, -signal.SIGTERM) else f"exit code {code}"

    def pace(self, rate: float) -> None:
        """Records per second from now on; 0 rests."""
        if rate != self.rate:
            self._tell(f"{rate}")
            self.rate = rate

    def stop(self) -> None:
        """Lets it flush and end."""
        if not self.finished:
            self._process.terminate()
        try:
            said, _ = self._process.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            self._process.kill()
        else:
            self.did = json.loads(said) if said else self.did

    def _tell(self, line: str) -> None:
        if not self.finished:
            assert self._process.stdin is not None
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()


def main(bootstrap: str, topic: str, seed: str, limit: str) -> None:
    writer = Writer(bootstrap, topic, int(seed))
    signal.signal(signal.SIGTERM, lambda *_: writer.stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the campaign ends it in order

    def listen() -> None:
        for line in sys.stdin:
            writer.rate = float(line)
        writer.stopping.set()  # the campaign has gone

    threading.Thread(target=listen, daemon=True).start()
    writer.run(int(limit))
    print(json.dumps(writer.did), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
