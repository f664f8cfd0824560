"""Keeps the topics of a long run small: what was read and verified a minute ago is deleted."""

import time
from collections import deque

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from faults.stage import Stage

_EVERY_S, _KEEP_S = 10.0, 60.0  # other readers than the checker have that long, too


class Retention:
    """Records are deleted behind the checker, never by size or age: nothing can be deleted before it was checked."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._admin = AdminClient({"bootstrap.servers": stage.topics.bootstrap, "log_level": 0})
        self._seen: deque[tuple[float, list[TopicPartition]]] = deque()
        self._due = 0.0
        self.peak_disk_mib = 0.0
        """Most that the brokers' logs took up."""

    def step(self) -> None:
        """To be called each second."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + _EVERY_S
        self.peak_disk_mib = max(self.peak_disk_mib, self._disk_mib())
        self._seen.append((now, self._finished()))
        if now - self._seen[0][0] >= _KEEP_S:
            _, places = self._seen.popleft()
            if places:
                self._admin.delete_records(places)  # where the broker is away, the next step makes up for it

    def _finished(self) -> list[TopicPartition]:
        """Nobody needs what lies below: workers have committed it, and it is verified."""
        topics = self._stage.topics
        verified = [TopicPartition(topics.input, p, to) for p, to in enumerate(self._stage.checker.verified_to()) if to]
        return verified + [place for place in self._stage.reader.positions() if place.topic != topics.input]

    def _disk_mib(self) -> float:
        total = 0
        for broker in self._stage.services.cluster.brokers:
            for path in broker.data_dir.rglob("*"):
                try:
                    total += path.stat().st_blocks * 512
                except OSError:  # deleted meanwhile
                    continue
        return total / 2**20
