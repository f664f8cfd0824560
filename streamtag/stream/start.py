"""From which position an assigned partition is read, decided explicitly and never by a client's default.

Every commit carries how many partitions the topic had when the group first started (``p=4;``). That tells a
partition that was added later (read from its beginning) from one that was there at the first start but has no
commit yet (read from the configured start), also when several members start at the same moment.
"""

import contextlib
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from streamtag.stream.processor import Partition

NO_COMMIT = -1  # any negative offset of `Consumer.committed`
ReadTo = Callable[[str], int]
"""By the metadata of a commit: behind which position everything has been read, where that lies beyond the commit."""


@dataclass(frozen=True)
class Start:
    """Where to read one partition from.

    Attributes:
        position: first position to read.
        expired: positions that retention removed unread.
        cut: the log no longer holds all positions from the last commit on, whether they were read or not.
        rewound: the last commit lies beyond the end of the log: the topic was truncated or created anew.
        first: no commit yet: commit this start, so that an idle partition keeps it.
        metadata: what the last commit remembered for its processor.
        partitions: partitions of the topic at the group's first start.
        end: where the log ended as this was asked; None: not known.
    """

    position: int
    expired: int = 0
    cut: bool = False
    rewound: bool = False
    first: bool = False
    metadata: str = ""
    partitions: int = 0
    end: int | None = field(default=None, compare=False)


def pack(partitions: int, metadata: str) -> str:
    """Metadata of a commit."""
    return f"p={partitions};{metadata}"


def unpack(metadata: str | None) -> tuple[int | None, str]:
    """The inverse of `pack`; (None, …) for a commit that somebody else made."""
    found = re.match(r"p=(\d{1,9});", metadata or "")
    return (int(found[1]), (metadata or "")[found.end() :]) if found else (None, metadata or "")


def resume(committed: int, metadata: str, partitions: int, low: int, high: int, read_to: ReadTo | None = None) -> Start:
    """Start of a partition that has a commit; ``[low, high)`` is what the log holds."""
    if committed < low:
        read = committed if read_to is None else read_to(metadata)
        read = read if committed < read <= high else committed  # what lies beyond the log was read in another one
        expired = max(0, low - read)
        return Start(low, expired=expired, cut=True, metadata=metadata, partitions=partitions)
    if committed > high:
        return Start(low, rewound=True, metadata=metadata, partitions=partitions)
    return Start(committed, metadata=metadata, partitions=partitions)


class StartResolver:
    """Asks the broker; every call raises KafkaException when it is not answered.

    Args:
        consumer: that asks.
        start: as configured.
        timeout_s: longest wait for an answer.
        patience_s: the same for commits, which librdkafka asks for again and again while a transaction is open; longer
            where the broker is seen to be slow.
        read_to: see `ReadTo`.
    """

    def __init__(
        self, consumer: Consumer, start: str, *, timeout_s: float, patience_s: float, read_to: ReadTo | None = None
    ) -> None:
        self._consumer = consumer
        self._start = start
        self._read_to = read_to
        self._timeout_s = timeout_s
        self._patience_s = patience_s

    def resolve(self, partitions: Sequence[Partition]) -> Mapping[Partition, Start]:
        """Start of each of ``partitions``; as many questions for all of them as for one.

        librdkafka tells the commits of all that it is asked for, or, while a transaction is open on one, of none.
        """
        began = time.monotonic()
        counts = {topic: self._partition_count(topic) for topic in {t for t, _ in partitions}}
        slow_s = 2 * (time.monotonic() - began)
        self._patience_s = min(self._timeout_s, max(self._patience_s, slow_s))
        commits = self._commits(partitions, self._patience_s)
        for topic in {topic for (topic, _), commit in commits.items() if commit.offset < 0}:
            if not _remembered(commits, topic):  # what others remember tells whether these are new
                others = [(topic, p) for p in range(counts[topic]) if (topic, p) not in commits]
                commits |= self._others(topic, others)
        low, high = self._ends(partitions, OFFSET_BEGINNING), self._ends(partitions, OFFSET_END)
        fresh = [partition for partition in partitions if commits[partition].offset < 0]
        configured = self._configured(fresh, low, high)
        return {
            partition: replace(self._within(partition, commits, counts, low, high, configured), end=high[partition])
            for partition in partitions
        }

    def _others(self, topic: str, others: list[Partition]) -> dict[Partition, TopicPartition]:
        """Commits of all of them, or of so many that one remembers the partitions of the first start.

        On a busy topic there is seldom a moment at which no transaction is open on any.
        """
        with contextlib.suppress(KafkaException):
            return self._commits(others, self._patience_s)
        found: dict[Partition, TopicPartition] = {}
        until = time.monotonic() + self._patience_s
        for other in random.sample(others, len(others)):
            with contextlib.suppress(KafkaException):
                found |= self._commits([other], self._patience_s / 2)
            if _remembered(found, topic):
                return found
            if time.monotonic() >= until:
                break
        if len(found) < len(others):  # "no commit anywhere" would be a guess
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "Timed out (other partitions of the topic)"))
        return found

    def _commits(self, partitions: Sequence[Partition], timeout_s: float) -> dict[Partition, TopicPartition]:
        if not partitions:
            return {}
        places = [TopicPartition(topic, index) for topic, index in partitions]
        found = self._consumer.committed(places, timeout=timeout_s)
        for commit in found:
            if commit.error is not None:
                raise KafkaException(commit.error)
        return {(commit.topic, commit.partition): commit for commit in found}

    def _within(
        self,
        partition: Partition,
        commits: Mapping[Partition, TopicPartition],
        counts: Mapping[str, int],
        low: Mapping[Partition, int],
        high: Mapping[Partition, int],
        configured: Mapping[Partition, int],
    ) -> Start:
        topic, index = partition
        commit = commits[partition]
        known = _remembered(commits, topic)
        if commit.offset >= 0:
            count, metadata = unpack(commit.metadata)
            partitions = count if count is not None else counts[topic]
            return resume(commit.offset, metadata, partitions, low[partition], high[partition], self._read_to)
        at_first = min(known, default=counts[topic])
        started = any(t == topic and c.offset >= 0 for (t, _), c in commits.items())
        if started and (not known or index >= at_first):  # added after the group's first start
            return Start(low[partition], first=True, partitions=at_first)
        return Start(configured[partition], first=True, partitions=at_first)

    def _configured(
        self, fresh: Sequence[Partition], low: Mapping[Partition, int], high: Mapping[Partition, int]
    ) -> Mapping[Partition, int]:
        """Where partitions without a commit are read from."""
        if self._start == "earliest":
            return low
        if self._start == "latest":
            return high
        at_ms = int(datetime.fromisoformat(self._start).timestamp() * 1000)
        found = self._offsets(fresh, at_ms)
        return {partition: offset if offset >= 0 else high[partition] for partition, offset in found.items()}

    def _ends(self, partitions: Sequence[Partition], end: int) -> dict[Partition, int]:
        """Positions at one end of each log: Kafka has times for both, numbered as the client's offsets for them."""
        found = self._offsets(partitions, end)
        if any(position < 0 for position in found.values()):  # the broker left one out: what was asked stands there
            raise KafkaException(KafkaError(KafkaError._FAIL, "not all ends of logs were told"))
        return found

    def _offsets(self, partitions: Sequence[Partition], at: int) -> dict[Partition, int]:
        """Of each the first position from a time on, in ms; negative: there is none."""
        if not partitions:
            return {}
        asked = [TopicPartition(topic, index, at) for topic, index in partitions]
        found = self._consumer.offsets_for_times(asked, timeout=self._timeout_s)
        for one in found:
            if one.error is not None:
                raise KafkaException(one.error)
        return {(one.topic, one.partition): int(one.offset) for one in found}

    def _partition_count(self, topic: str) -> int:
        metadata = self._consumer.list_topics(topic, timeout=self._timeout_s).topics[topic]
        if metadata.error is not None:
            raise KafkaException(metadata.error)
        return len(metadata.partitions)


def _remembered(commits: Mapping[Partition, TopicPartition], topic: str) -> list[int]:
    """How many partitions the topic had at the group's first start, by each commit that says so."""
    counts = [unpack(c.metadata)[0] for (t, _), c in commits.items() if t == topic and c.offset >= 0]
    return [count for count in counts if count is not None]
