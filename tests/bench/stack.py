"""The real Kafka and Redis that all peers of one run share."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from streamtag.devstack.kafka import KafkaServer, find_kafka
from streamtag.devstack.kafka_jars import kafka_version
from streamtag.devstack.redis import find_redis

PARTITIONS = 4


@dataclass(frozen=True)
class Stack:
    """Running services.

    Attributes:
        bootstrap: Kafka.
        redis_url: Redis.
        broker_pids: the broker's process, where it is ours.
        services: where they come from and their versions, for the report.
        directory: for logs and state; gone afterwards.
    """

    bootstrap: str
    redis_url: str
    broker_pids: tuple[int, ...]
    services: Mapping[str, object]
    directory: Path


@contextmanager
def running(broker_kind: type[KafkaServer] = KafkaServer) -> Iterator[Stack]:
    """Starts both, or takes those of ``STREAMTAG_KAFKA`` and ``STREAMTAG_REDIS``; the broker is of the given kind."""
    kafka, redis = find_kafka(), find_redis()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamtag-bench-")))
        bootstrap, url = kafka.bootstrap or "", redis.url
        pids: tuple[int, ...] = ()
        if kafka.kind != "external":
            broker = stack.enter_context(broker_kind(heap_mb=768, backend=kafka.kind))
            bootstrap = broker.bootstrap
            pids = (broker.pid,) if broker.container is None else ()
        if url is None:
            url = stack.enter_context(redis.server()).url
        services = {
            # The version of a broker that is not ours is its owner's to know.
            "kafka": {"from": kafka.kind, "version": kafka_version() if kafka.bootstrap is None else None},
            "redis": {"from": redis.kind, "version": _redis_version(url)},
        }
        yield Stack(bootstrap, url, pids, services, directory)


def clean_environ() -> dict[str, str]:
    """The environment without settings of streamtag: peers run on their defaults."""
    return {name: value for name, value in os.environ.items() if not name.startswith("STREAMTAG_")}


def _redis_version(url: str) -> str:
    with Redis.from_url(url) as client:
        return str(client.info("server")["redis_version"])
