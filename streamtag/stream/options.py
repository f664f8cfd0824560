"""What the runner needs to know, without knowing whose settings they are."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from confluent_kafka import KafkaException

from streamtag.errors import SettingsError

ClientOptions = Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class StreamOptions:
    """Options of one consume-process-produce loop. Times in milliseconds (``_ms``) or seconds (``_s``)."""

    bootstrap_servers: str
    group: str
    topics: tuple[str, ...]
    transactional_id: str
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    start: str = "earliest"
    commit_interval_ms: int = 100
    batch_size: int = 512
    batch_wait_ms: int = 5
    queue_batches: int = 1
    pause_after_ms: int = 1_000
    transaction_timeout_ms: int = 5_000
    session_timeout_ms: int = 6_000
    max_poll_interval_ms: int = 300_000
    revoke_budget_ms: int = 5_000
    drain_timeout_s: float = 20.0
    group_protocol: Literal["classic", "consumer"] = "classic"
    group_instance_id: str | None = None
    max_message_bytes: int = 8_388_608
    """Largest record the producer accepts; brokers and topics have limits of their own."""
    read_to: Callable[[str], int] | None = None
    """By the metadata of a commit, how far a processor had read that commits what it still needs. Must not raise."""
    client: ClientOptions = field(default_factory=dict)
    consumer: ClientOptions = field(default_factory=dict)
    producer: ClientOptions = field(default_factory=dict)

    def consumer_config(self) -> dict[str, object]:
        """librdkafka configuration of the consumer."""
        config: dict[str, object] = {
            "fetch.wait.max.ms": 100,
            # Prefetch holds a few batches, not the default 64 MiB of every worker.
            "queued.max.messages.kbytes": 16_384,
            # The same in records, per partition: each costs some 400 bytes beside its own.
            "queued.min.messages": 10_000,
            # By default a partition whose prefetch is full rests for a second: a backlog came at half the speed.
            "fetch.queue.backoff.ms": 20,
            "topic.metadata.refresh.interval.ms": 10_000,
            **self.client,
            **self.consumer,
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": self.transactional_id,
            "group.id": self.group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            # Positions are resolved by `streamtag.stream.start`; an invalid one must be an event, not a jump.
            "auto.offset.reset": "error",
            "max.poll.interval.ms": self.max_poll_interval_ms,
        }
        if self.group_protocol == "consumer":
            config["group.protocol"] = "consumer"  # refuses session timeout and assignor: the broker decides
        else:
            config["session.timeout.ms"] = self.session_timeout_ms
            config["heartbeat.interval.ms"] = max(200, self.session_timeout_ms // 5)
            config["partition.assignment.strategy"] = "cooperative-sticky"
        if self.group_instance_id is not None:
            config["group.instance.id"] = self.group_instance_id
        return config

    def producer_config(self) -> dict[str, object]:
        """librdkafka configuration of the producer."""
        config: dict[str, object] = {
            # Nobody sees a record before its transaction ends, which waits for no lingering: fewer, larger requests.
            "linger.ms": 25 if self.delivery == "exactly_once" else 5,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 200_000,
            "queue.buffering.max.kbytes": 262_144,
            # The partitioner of the Java clients: a key lands where other producers put it.
            "partitioner": "murmur2_random",
            **self.client,
            **self.producer,
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": self.transactional_id,
            "enable.idempotence": True,
            "acks": "all",
            # Nobody asks of a delivery but whether it failed.
            "delivery.report.only.error": True,
            "message.max.bytes": self.max_message_bytes,
        }
        if self.delivery == "exactly_once":
            config["transactional.id"] = self.transactional_id
            config["transaction.timeout.ms"] = self.transaction_timeout_ms
            # A producer whose connection breaks is to be replaced: the client must tell of it.
            config["log.connection.close"] = True
        return config


@contextlib.contextmanager
def refused_options(where: str) -> Iterator[None]:
    """Around the making of a client: what that refuses is a setting, of one of these mappings."""
    try:
        yield
    except KafkaException as exception:
        raise SettingsError(
            f"Kafka's client refuses its options ({where}): {exception.args[0].str()}",
            hint="Options that depend on each other count together with those that streamtag sets.",
        ) from None
