"""A broker in memory, and a consumer with the manners of librdkafka's that the polling side relies on."""

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException, Message, TopicPartition

from streamtag.stream.processor import Partition

Rebalance = tuple[str, list[Partition]]


class FakeBroker:
    """Logs, committed positions and what clients asked; ``trouble`` holds errors for the next calls of a name."""

    def __init__(self, **topics: int) -> None:
        self.counts = {name.replace("_", "-"): partitions for name, partitions in topics.items()}
        self.logs: dict[Partition, list[Message]] = {(t, p): [] for t, n in self.counts.items() for p in range(n)}
        self.starts: Counter[Partition] = Counter()  # of the logs: what lies before has expired
        self.commits: dict[Partition, tuple[int, str]] = {}
        self.asked: list[str] = []
        self.trouble: defaultdict[str, deque[KafkaError]] = defaultdict(deque)
        self.unstable: set[Partition] = set()  # a predecessor's transaction on them is still open
        self.named_none = False  # it answers, and names no broker
        self.slow_s = 0.0  # in telling of topics and commits
        self.slow_coordinator_s = 0.0  # in telling of commits
        self.waits: list[float] = []  # how long each question for commits would have waited
        self.rebalances: deque[Rebalance] = deque()
        self.errors: deque[KafkaError] = deque()  # for the error callback
        self.message_errors: deque[KafkaError] = deque()  # that come in place of messages
        self.broken: deque[Message] = deque()  # that come with an error of their partition
        self.lock = threading.RLock()

    def add_partition(self, topic: str) -> Partition:
        added = (topic, self.counts[topic])
        self.counts[topic] += 1
        self.logs[added] = []
        return added

    def write(self, partition: Partition, count: int = 1, *, hole: int = 0, timestamp_ms: int = 1_000) -> None:
        """Appends records; ``hole`` offsets before the first hold none, as transaction markers do."""
        with self.lock:
            at = self.high(partition) + hole
            for offset in range(at, at + count):
                self.logs[partition].append(
                    Message(
                        topic=partition[0],
                        partition=partition[1],
                        offset=offset,
                        key=b"k",
                        value=str(offset).encode(),
                        timestamp=(1, timestamp_ms),
                    )
                )

    def high(self, partition: Partition) -> int:
        log = self.logs[partition]
        return (log[-1].offset() or 0) + 1 if log else self.starts[partition]

    def expire(self, partition: Partition, below: int) -> None:
        self.starts[partition] = below
        self.logs[partition] = [m for m in self.logs[partition] if (m.offset() or 0) >= below]

    def commit(self, offsets: Sequence[TopicPartition]) -> None:
        with self.lock:
            for found in offsets:
                self.commits[found.topic, found.partition] = (found.offset, found.metadata or "")

    def position(self, partition: Partition) -> int | None:
        found = self.commits.get(partition)
        return found[0] if found else None

    def answer(self, call: str) -> None:
        """Notes a call; raises where trouble was ordered for it."""
        with self.lock:
            self.asked.append(call)
            if self.trouble.get(call):
                raise KafkaException(self.trouble[call].popleft())


class FakeConsumer:
    """What `streamtag.stream` uses of a consumer.

    As with librdkafka: a partition that was paused stays paused when it is taken out and put back (measured with
    2.16.1), and callbacks run inside `poll` and `close`.
    """

    def __init__(self, broker: FakeBroker, config: dict[str, Any]) -> None:
        self.broker = broker
        self.config = config
        self.reading: dict[Partition, int] = {}
        self.paused: set[Partition] = set()
        self.polls = 0
        self.member: list[Partition] = []
        self.callbacks: dict[str, Callable[..., None]] = {}
        self.failed = False

    # -- membership

    def subscribe(self, topics: list[str], **callbacks: Callable[..., None]) -> None:
        self.callbacks = callbacks

    def _rebalance(self, kind: str, partitions: list[Partition]) -> None:
        if kind == "assign":
            self.member += partitions
        else:
            self.member = [p for p in self.member if p not in partitions]
        self.callbacks[f"on_{kind}"](self, [TopicPartition(t, p) for t, p in partitions])

    def consumer_group_metadata(self) -> str:
        return f"member with {sorted(self.member)}"

    def memberid(self) -> str:
        return "member-1"

    def close(self) -> None:
        """One that has failed tells nothing any more, nor does it leave, as librdkafka's."""
        if self.member and self.callbacks and not self.failed:
            self._rebalance("revoke", list(self.member))

    # -- reading

    def poll(self, timeout: float) -> Message | None:
        self.polls += 1
        while self.broker.errors:
            self.config["error_cb"](self.broker.errors.popleft())
        if self.broker.rebalances:
            self._rebalance(*self.broker.rebalances.popleft())
        if self.broker.message_errors:
            error = self.broker.message_errors.popleft()
            self.failed = self.failed or error.code() == KafkaError._FATAL
            return Message(error=error)
        if self.broker.broken:
            return self.broker.broken.popleft()
        found = self._take(1)
        if not found:
            time.sleep(min(timeout, 0.001))
        return found[0] if found else None

    def consume(self, count: int, _timeout: float) -> list[Message]:
        return self._take(count)

    def _take(self, count: int) -> list[Message]:
        with self.broker.lock:
            found: list[Message] = []
            for partition in [p for p in self.reading if p not in self.paused]:
                at = self.reading[partition]
                if at < self.broker.starts[partition]:
                    error = KafkaError(KafkaError._AUTO_OFFSET_RESET, "position is out of range")
                    found.append(Message(topic=partition[0], partition=partition[1], error=error))
                    del self.reading[partition]
                    continue
                log = [m for m in self.broker.logs[partition] if (m.offset() or 0) >= at]
                for message in log[: count - len(found)]:
                    found.append(message)
                    self.reading[partition] = (message.offset() or 0) + 1
            return found

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self.reading.update({(p.topic, p.partition): p.offset for p in partitions})

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        for found in partitions:
            self.reading.pop((found.topic, found.partition), None)

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(t, p) for t, p in self.reading]

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {(p.topic, p.partition) for p in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {(p.topic, p.partition) for p in partitions}

    # -- asking the broker

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        assert not asynchronous
        self.broker.answer("commit")
        if not offsets:
            raise KafkaException(KafkaError(KafkaError._NO_OFFSET))
        self.broker.commit(offsets)
        return offsets

    def list_topics(self, topic: str, *, timeout: float) -> Any:
        self.broker.answer("list_topics")
        time.sleep(self.broker.slow_s)
        count = self.broker.counts.get(topic)
        error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART) if count is None else None
        found = SimpleNamespace(error=error, partitions=dict.fromkeys(range(count or 0)))
        return SimpleNamespace(topics={topic: found}, brokers={} if self.broker.named_none else {1: "broker"})

    def committed(self, partitions: list[TopicPartition], *, timeout: float) -> list[Any]:
        self.broker.answer("committed")
        self.broker.waits.append(timeout)
        # Of a reader of committed records, as librdkafka asks again for all until none is unstable.
        unstable = any((one.topic, one.partition) in self.broker.unstable for one in partitions)
        if unstable or timeout < max(self.broker.slow_s, self.broker.slow_coordinator_s):
            time.sleep(min(timeout, 0.01))
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        found = []
        for one in partitions:
            offset, metadata = self.broker.commits.get((one.topic, one.partition), (-1001, None))
            found.append(
                SimpleNamespace(topic=one.topic, partition=one.partition, offset=offset, metadata=metadata, error=None)
            )
        return found

    def get_watermark_offsets(self, partition: TopicPartition, *, cached: bool) -> tuple[int, int]:
        assert cached, "this is a question for each partition"
        where = (partition.topic, partition.partition)
        return self.broker.starts[where], self.broker.high(where)

    def offsets_for_times(self, partitions: list[TopicPartition], *, timeout: float) -> list[TopicPartition]:
        self.broker.answer("offsets_for_times")
        found = []
        for one in partitions:
            where = one.topic, one.partition
            offsets = [m.offset() or 0 for m in self.broker.logs[where] if m.timestamp()[1] >= one.offset]
            ends = {OFFSET_BEGINNING: self.broker.starts[where], OFFSET_END: self.broker.high(where)}
            found.append(TopicPartition(*where, ends.get(one.offset, offsets[0] if offsets else -1)))
        return found
