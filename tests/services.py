"""What tests do to the real services: write, read, and wait for a condition with a deadline."""

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

T = TypeVar("T")
Headers = Sequence[tuple[str, bytes | None]]
MIB = 1_048_576


@dataclass(frozen=True)
class Kafka:
    """The session's Kafka (fixture `kafka`)."""

    bootstrap: str


@dataclass(frozen=True)
class Redis:
    """The session's Redis (fixture `redis_server`)."""

    url: str


@dataclass(frozen=True)
class Topics:
    """Freshly made topics of one pipeline on one broker; deleted after the test."""

    bootstrap: str
    input: str
    tags: str
    stats: str
    dead_letters: str
    panes: str
    partitions: int

    @property
    def names(self) -> tuple[str, ...]:
        return (self.input, self.tags, self.stats, self.dead_letters, self.panes)

    def overrides(self) -> dict[str, str]:
        """Dotted settings for `load_settings(overrides=…)` or ``--set``."""
        return {
            "kafka.bootstrap_servers": self.bootstrap,
            "topics.input": f"[{self.input}]",
            "topics.tags": self.tags,
            "topics.stats": self.stats,
            "topics.dead_letters": self.dead_letters,
            "topics.panes": self.panes,
        }

    def settings_env(self) -> dict[str, str]:
        """The same as environment variables of a child process."""
        return {"STREAMTAG_" + name.upper().replace(".", "__"): value for name, value in self.overrides().items()}


class MakeTopics(Protocol):
    """See the fixture `make_topics`."""

    def __call__(self, *, partitions: int = 4, max_bytes: int = MIB, bootstrap: str | None = None) -> Topics: ...


def create_topics(bootstrap: str, topics: Iterable[tuple[str, int, dict[str, str]]], deadline_s: float = 20) -> None:
    """Creates (name, partitions, config) and waits until every partition has a leader."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    wanted = {name: NewTopic(name, partitions, 1, config=config) for name, partitions, config in topics}
    for future in admin.create_topics(list(wanted.values()), operation_timeout=deadline_s).values():
        future.result(deadline_s)

    def led() -> bool:
        found = admin.list_topics(timeout=deadline_s).topics
        return all(
            name in found
            and len(found[name].partitions) == topic.num_partitions
            and all(p.leader >= 0 for p in found[name].partitions.values())
            for name, topic in wanted.items()
        )

    wait_until(led, deadline_s, f"leaders of {', '.join(wanted)}")


def make_pipeline_topics(bootstrap: str, *, partitions: int = 4, max_bytes: int = MIB) -> Topics:
    """Makes uniquely named topics of one pipeline; ``max_bytes`` limits the input's records."""
    run = uuid.uuid4().hex[:10]
    content, tags, stats, dead, panes = (f"{r}-{run}" for r in ("content", "tags", "stats", "dead", "panes"))
    topics = Topics(bootstrap, content, tags, stats, dead, panes, partitions)
    limits = {
        topics.input: max_bytes,
        topics.tags: 2 * MIB,
        topics.stats: 4 * MIB,
        # above the input's, and above the default of the setting dead_letters.max_bytes
        topics.dead_letters: max(5 * MIB, max_bytes + MIB),
        topics.panes: 8 * MIB,
    }
    counts = {**dict.fromkeys(topics.names, partitions), topics.panes: 1}
    # Kept whatever their records' timestamps: a broker deletes what it takes for old every 5 minutes.
    config = {name: {"max.message.bytes": str(limits[name]), "retention.ms": "-1"} for name in counts}
    for name in (topics.stats, topics.panes):
        config[name]["message.timestamp.type"] = "LogAppendTime"  # as declared
    create_topics(bootstrap, [(name, n, config[name]) for name, n in counts.items()])
    return topics


def delete_topics(bootstrap: str, names: Sequence[str], deadline_s: float = 20) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.delete_topics(list(names), operation_timeout=deadline_s).values():
        future.result(deadline_s)


@dataclass
class _Reports:
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    errors: list[KafkaError] = field(default_factory=list)

    def of(self, index: int) -> Callable[[KafkaError | None, Message], None]:
        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self.errors.append(error)
            else:
                self.places[index] = (message.partition() or 0, message.offset() or 0)

        return report


def produce(
    bootstrap: str,
    topic: str,
    records: Iterable[tuple[bytes | None, bytes | None] | tuple[bytes | None, bytes | None, Headers]],
    *,
    timestamp_ms: int | Sequence[int] = 0,
    partition: int = -1,
    deadline_s: float = 60,
) -> list[tuple[int, int]]:
    """Writes (key, value[, headers]) in order, acknowledged.

    Args:
        bootstrap: the broker.
        topic: the topic, which exists.
        records: what to write.
        timestamp_ms: of all records, or one each; 0 = now.
        partition: of all records; -1 = by key.
        deadline_s: for all of it.

    Returns:
        (partition, offset) of each record.
    """
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "message.max.bytes": 16 * MIB,
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    reports = _Reports()
    count = 0
    for index, record in enumerate(records):
        key, value, *rest = record
        when = timestamp_ms if isinstance(timestamp_ms, int) else timestamp_ms[index]
        producer.produce(
            topic,
            key=key,
            value=value,
            headers=list(rest[0]) if rest else [],
            partition=partition,
            timestamp=when,
            on_delivery=reports.of(index),
        )
        producer.poll(0)
        count += 1
    left = producer.flush(deadline_s)
    assert left == 0, f"{left} of {count} records not acknowledged by {bootstrap} in {deadline_s} s"
    assert not reports.errors, f"{len(reports.errors)} of {count} records refused: {reports.errors[0]}"
    return [reports.places[i] for i in range(count)]


def read_all(
    bootstrap: str,
    topic: str,
    *,
    until: Callable[[list[Message]], bool] | None = None,
    isolation: Literal["read_committed", "read_uncommitted"] = "read_committed",
    deadline_s: float = 30,
) -> list[Message]:
    """All records of a topic from its beginning, in order per partition.

    Without ``until``: up to where each partition ends (for a reader of this isolation) now. With it: reads on until
    it says of all records so far that they are enough; fails after ``deadline_s``.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "test-reader",  # never commits, never joins
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "fetch.message.max.bytes": 16 * MIB,
        }
    )
    deadline = time.monotonic() + deadline_s
    found: list[Message] = []
    try:
        metadata = consumer.list_topics(topic, timeout=deadline_s).topics[topic]
        assert metadata.error is None, f"topic {topic}: {metadata.error}"
        open_partitions = set(metadata.partitions)
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in metadata.partitions])
        while not (until(found) if until else not open_partitions):
            assert time.monotonic() < deadline, f"{topic}: {len(found)} records after {deadline_s} s are not enough"
            for message in consumer.consume(1_000, 0.05):
                error = message.error()
                if error is None:
                    found.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_partitions.discard(message.partition() or 0)
                else:
                    raise AssertionError(f"{topic}: {error}")
    finally:
        consumer.close()
    return found


# Deadlines of campaigns and benchmarks are bounds. Those of tests say that something never comes: a machine that stands
# still for seconds is no reason to fail (tests/conftest.py).
least_deadline_s = 0.0


def wait_until(condition: Callable[[], T], deadline_s: float, what: str, *, every_s: float = 0.02) -> T:
    """Waits until ``condition`` returns something true and returns that; fails naming ``what`` when it does not."""
    deadline_s = max(deadline_s, least_deadline_s)
    deadline = time.monotonic() + deadline_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {deadline_s} s: {what}"
        time.sleep(every_s)
