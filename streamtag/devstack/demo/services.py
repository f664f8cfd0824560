"""Broker and Redis of the demo, started for it and gone with it: nothing that already runs is touched."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from streamtag.devstack.embedded_redis import EmbeddedRedis
from streamtag.devstack.kafka import find_kafka
from streamtag.devstack.mock_kafka import MockKafka
from streamtag.devstack.redis import find_redis
from streamtag.events.topic_admin import TopicAdmin
from streamtag.events.topics import declared_topics, read_declarations
from streamtag.settings import KafkaSettings, TopicsSettings

__all__ = ["KafkaKind", "Services", "start_services"]

PARTITIONS = 4


class KafkaKind(StrEnum):
    """``mock``: librdkafka's broker, in its Python package; ``real``: Apache Kafka, needs Java and Maven, or Docker."""

    MOCK = "mock"
    REAL = "real"


@dataclass(frozen=True)
class Services:
    """Both, running.

    Attributes:
        kind: which Kafka.
        redis_kind: which Redis, for people.
        bootstrap: the broker's address.
        redis_url: Redis' URL, without a database: it is the first.
    """

    kind: KafkaKind
    redis_kind: str
    bootstrap: str
    redis_url: str

    @property
    def delivery(self) -> str:
        """The guarantee that can be had on this broker."""
        return "exactly_once" if self.kind is KafkaKind.REAL else "at_least_once"

    @property
    def words(self) -> str:
        """What a person must know of them."""
        if self.kind is KafkaKind.REAL:
            return "Apache Kafka and Redis, started for this demo. Delivery: exactly once."
        return "Broker and Redis are embedded: at-least-once. Exactly-once needs --kafka real."


def start_services(
    kind: KafkaKind, topics: TopicsSettings, stack: ExitStack, report: Callable[[str], None]
) -> Services:
    """Starts both on free ports; ``stack`` ends them.

    Raises:
        UnavailableError: one cannot be had or does not start; says why and what to do.
    """
    if kind is KafkaKind.MOCK:
        report("Starting the embedded broker (librdkafka's mock) and Redis …")
        shared = dict.fromkeys((*topics.input, topics.tags, topics.dead_letters), PARTITIONS)
        # one partition of summaries: fewer, fuller panes
        broker = stack.enter_context(MockKafka({**shared, topics.stats: 1, topics.panes: 1}))
        redis = stack.enter_context(EmbeddedRedis())
        return Services(kind, redis.kind, broker.bootstrap, _without_database(redis.url))
    report("Starting Apache Kafka and Redis (the first time downloads 43 MB for Kafka) …")
    server = stack.enter_context(find_kafka({}).server(heap_mb=512))
    source = find_redis({})
    store = stack.enter_context(source.server(appendonly=False))
    _create_topics(server.bootstrap, topics)
    redis_kind = "redis-server" if source.kind == "server" else "redis-server (Docker)"
    return Services(kind, redis_kind, server.bootstrap, _without_database(store.url))


def _create_topics(bootstrap: str, topics: TopicsSettings) -> None:
    declared = {
        # that of panes must have one, as it says
        name: msgspec.structs.replace(topic, partitions=min(PARTITIONS, topic.partitions))
        for name, topic in declared_topics(topics, read_declarations()).items()
    }
    admin = TopicAdmin(KafkaSettings(bootstrap_servers=bootstrap))
    admin.apply(declared, admin.compare(declared), add_partitions=False)


def _without_database(url: str) -> str:
    return url.removesuffix("/0")
