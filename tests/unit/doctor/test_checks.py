"""What each check says about what it sees."""

from types import SimpleNamespace
from typing import Any

import pytest
import redis

from streamtag.doctor import kafka_cluster, local, redis_server
from streamtag.doctor.findings import examine
from streamtag.events.topics import ExistingTopic
from streamtag.settings import Settings, load_settings


def _settings(**options: str) -> Settings:
    return load_settings(environ={}, overrides={n.replace("__", "."): v for n, v in options.items()}).settings


@pytest.mark.parametrize(
    ("version", "status"),
    [("2.12.2", "ok"), ("2.13.0", "warn"), ("2.15.0", "warn"), ("2.15.1", "ok"), ("2.16.1", "ok")],
)
def test_versions_of_confluent_kafka_that_cut_batches_short_are_named(version: str, status: str) -> None:
    assert local.kafka_version(version, "2.0").status == status


@pytest.mark.parametrize(("version", "status"), [("1.31.9", "fail"), ("1.32.0", "ok"), ("2.0.0", "ok")])
def test_onnxruntime_has_a_floor(version: str, status: str) -> None:
    assert local.ort_version(version).status == status


@pytest.mark.parametrize(
    ("info", "status"),
    [
        ({}, "warn"),
        ({"aof_enabled": 1, "aof_last_write_status": "ok"}, "ok"),
        ({"aof_enabled": 0}, "warn"),
        ({"aof_enabled": 1, "aof_last_write_status": "err"}, "fail"),
        ({"aof_enabled": 1, "rdb_last_bgsave_status": "err"}, "fail"),
    ],
)
def test_redis_without_durable_writes_is_named(info: dict[str, Any], status: str) -> None:
    assert redis_server.durability(info).status == status


@pytest.mark.parametrize(
    ("policy", "limit", "used", "status"),
    [
        ("noeviction", 0, 10, "ok"),
        ("noeviction", 100, 50, "ok"),
        ("noeviction", 100, 95, "warn"),
        ("allkeys-lru", 100, 5, "fail"),
        ("allkeys-lru", 0, 5, "warn"),
    ],
)
def test_redis_that_may_drop_keys_is_named(policy: str, limit: int, used: int, status: str) -> None:
    info = {"maxmemory_policy": policy, "maxmemory": limit * 2**20, "used_memory": used * 2**20}
    assert redis_server.memory(info).status == status


@pytest.mark.parametrize(
    ("skew_s", "uncertain_s", "status"),
    [
        (0.1, 0.001, "ok"),
        (-0.4, 0.001, "ok"),
        (0.6, 0.2, "ok"),
        (0.8, 0.2, "warn"),
        (-30, 0.1, "warn"),
        (90, 1, "fail"),
    ],
)
def test_clocks_apart_are_named_beyond_what_the_measurement_cannot_tell(
    skew_s: float, uncertain_s: float, status: str
) -> None:
    assert redis_server.clock(skew_s, uncertain_s=uncertain_s, max_future_s=60).status == status


def _topic(**config: str) -> ExistingTopic:
    return ExistingTopic(partitions=2, replication=3, config={"max.message.bytes": "1048588", **config})


@pytest.mark.parametrize(
    ("insync", "least", "status"),
    [
        ([(1, 3), (2, 3)], "2", None),
        ([(-1, 0), (2, 3)], "2", "fail"),
        ([(1, 1), (2, 3)], "2", "fail"),
        ([(1, 3), (2, 3)], "3", "warn"),
    ],
)
def test_partitions_that_cannot_be_written_are_named(
    insync: list[tuple[int, int]], least: str, status: str | None
) -> None:
    found = kafka_cluster.health("t", _topic(**{"min.insync.replicas": least}), insync)
    assert (found.status if found else None) == status


@pytest.mark.parametrize(
    ("source", "dead", "status"),
    [(1_048_588, 5_242_880, "ok"), (4_194_304, 5_242_880, "warn"), (1_048_588, 1_048_588, "fail")],
)
def test_dead_letters_must_hold_what_the_source_may_send(source: int, dead: int, status: str) -> None:
    existing = {
        "content": ExistingTopic(1, 1, {"max.message.bytes": str(source)}),
        "dead-letters": ExistingTopic(1, 1, {"max.message.bytes": str(dead)}),
    }
    (found,) = kafka_cluster.sizes(_settings(), existing)
    assert found.status == status


@pytest.mark.parametrize(
    ("config", "options", "status"),
    [
        ({"transaction.max.timeout.ms": "900000"}, {}, "ok"),
        ({"transaction.max.timeout.ms": "4999"}, {}, "fail"),
        ({"inter.broker.protocol.version": "3.9-IV0"}, {}, "ok"),
        ({"inter.broker.protocol.version": "3.9-IV0"}, {"tagger__group_protocol": "consumer"}, "fail"),
        ({"group.coordinator.rebalance.protocols": "classic"}, {"tagger__group_protocol": "consumer"}, "fail"),
        ({"group.consumer.session.timeout.ms": "45000"}, {"tagger__group_protocol": "consumer"}, "warn"),
        ({"group.consumer.session.timeout.ms": "10000"}, {"tagger__group_protocol": "consumer"}, "ok"),
    ],
)
def test_brokers_that_cannot_do_what_the_settings_ask_are_named(
    config: dict[str, str], options: dict[str, str], status: str
) -> None:
    assert kafka_cluster.features(config, _settings(**options)).status == status


def test_a_broker_that_names_no_broker_is_a_finding_and_nothing_more_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    woken = SimpleNamespace(cluster_id="abc", brokers={}, topics={})
    monkeypatch.setattr(
        kafka_cluster, "AdminClient", lambda _options: SimpleNamespace(list_topics=lambda timeout: woken)
    )
    broker, *others = examine(kafka_cluster.examinations(_settings(), timeout_s=5))
    assert (broker.status, "names no broker of cluster abc" in broker.finding) == ("fail", True)
    assert {(one.status, one.finding) for one in others} == {("warn", "not checked: needs kafka.broker")}


def test_an_option_that_no_producer_knows_is_a_finding() -> None:
    [found] = kafka_cluster._KafkaDoctor(_settings(**{"kafka.producer": "{no.such.option: 1}"}), 5).transactions()
    assert (found.status, "no.such.option" in found.finding) == ("fail", True)


def test_a_redis_that_freezes_after_it_has_answered_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def freeze() -> None:
        raise redis.TimeoutError("Timeout reading from socket")

    client = SimpleNamespace(ping=lambda: True, info=freeze)
    monkeypatch.setattr(redis_server, "connect", lambda _settings: client)
    server, *others = examine(redis_server.examinations(_settings()))
    assert (server.status, "did not answer in time" in server.finding) == ("fail", True)
    assert {(one.status, one.finding) for one in others} == {("warn", "not checked: needs redis.server")}


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({}, "ok", "TLS off, SASL off"),
        ({"kafka.client.security.protocol": "SSL"}, "ok", "TLS on, SASL off"),
        (
            {"kafka.client.security.protocol": "SSL", "kafka.client.ssl.keystore.location": "s.p12"},
            "warn",
            "kafka.client.ssl.keystore.location",
        ),
    ],
)
def test_what_the_client_of_the_statistics_cannot_honour_is_named(
    options: dict[str, str], status: str, said: str
) -> None:
    (found,) = local.stats(_settings(**options))
    assert found.status == status
    assert said in found.finding


def test_a_host_without_faust_runs_no_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "find_spec", lambda _name: None)
    (found,) = local.stats(_settings(**{"kafka.client.security.protocol": "SASL_SSL"}))
    assert (found.status, "not installed" in found.finding) == ("ok", True)
