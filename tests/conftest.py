"""Real Kafka and Redis for tests: one of each per session, more where a test kills or freezes them.

`STREAMTAG_KAFKA` and `STREAMTAG_REDIS` name services to use instead. A service that cannot be had is an error, not a
skip.
"""

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis
import services
from hypothesis import settings
from pipeline import Ledger
from services import MIB, Kafka, MakeTopics, Redis, Topics, delete_topics, make_pipeline_topics
from tiny_bundle import build_tiny_bundle
from workers import Fleet
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from streamtag.control.store import ControlStore
from streamtag.devstack.kafka import KafkaServer, find_kafka
from streamtag.devstack.redis import RedisServer, find_redis
from streamtag.settings import RedisSettings

# In an environment of their own, with MLflow in it: `make mlflow-test`.
collect_ignore = ["mlflow_server"]

# How long an example takes says how busy the machine is, and nothing else.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
services.least_deadline_s = 30.0


class _ByFile(LoadFileScheduling):
    """Tests of one file run in one process; those of the console all in one, since they share a pipeline."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/console" if nodeid.startswith("tests/console/") else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """For ``--dist loadfile``."""
    return _ByFile(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """A real Apache Kafka for the whole session."""
    source = find_kafka()
    if source.bootstrap is not None:
        yield Kafka(source.bootstrap)
        return
    with source.server() as server:
        yield Kafka(server.bootstrap)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A real Redis for the whole session."""
    source = find_redis()
    if source.url is not None:
        yield Redis(source.url)
        return
    with source.server() as server:
        yield Redis(server.url)


@pytest.fixture
def own_kafka() -> Iterator[KafkaServer]:
    """A broker for this test alone, to kill, freeze and restart."""
    with find_kafka(environ={}).server(heap_mb=512) as server:
        yield server


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis (append-only file on) for this test alone, to kill, freeze and restart."""
    with find_redis(environ={}).server() as server:
        yield server


@pytest.fixture
def make_topics(request: pytest.FixtureRequest) -> Iterator[MakeTopics]:
    """Makes uniquely named topics: ``max_bytes`` limits the input's records, ``bootstrap`` names another broker.

    Those on the session's broker are deleted after the test.
    """
    made: list[Topics] = []

    def make(*, partitions: int = 4, max_bytes: int = MIB, bootstrap: str | None = None) -> Topics:
        shared = bootstrap is None
        address = bootstrap or str(request.getfixturevalue("kafka").bootstrap)
        topics = make_pipeline_topics(address, partitions=partitions, max_bytes=max_bytes)
        if shared:
            made.append(topics)
        return topics

    yield make
    for topics in made:
        delete_topics(topics.bootstrap, topics.names)


@pytest.fixture
def topics(make_topics: MakeTopics) -> Topics:
    """Input, tags, stats and dead-letters topics of 4 partitions, and a panes topic of one, for this test alone."""
    return make_topics()


@pytest.fixture
def namespace(redis_server: Redis) -> Iterator[str]:
    """A Redis namespace for this test alone; its keys are removed after the test."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    with redis.Redis.from_url(redis_server.url) as client:
        for key in client.scan_iter(match=f"*{name}*", count=1_000):
            client.delete(key)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two versions of a tiny bundle, which score differently."""
    directory = tmp_path_factory.mktemp("bundles")
    for version in ("1", "2"):
        build_tiny_bundle(directory, version=version, weights_seed=int(version))
    return directory


@pytest.fixture
def fleet(topics: Topics, redis_server: Redis, namespace: str, tmp_path: Path, bundles: Path) -> Iterator[Fleet]:
    """Tagger processes on fresh topics and a fresh namespace; none outlives the test."""
    with Fleet(topics, redis_server.url, namespace, tmp_path / "state", bundles) as found:
        found.overrides["stats.segments"] = "{lang: [de, en]}"
        yield found


@pytest.fixture
def fleet_store(fleet: Fleet) -> Iterator[ControlStore]:
    """The control plane of `fleet`."""
    settings = RedisSettings.model_validate({"url": fleet.redis_url, "namespace": fleet.namespace})
    with closing(ControlStore(settings)) as found:
        yield found


@pytest.fixture
def ledger(topics: Topics) -> Ledger:
    """What is written to the input topic."""
    return Ledger(topics)
