"""Client configurations: what a guarantee rests on cannot be taken away by settings that are passed through."""

from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from streamtag.stream.options import StreamOptions


def options(**found: Any) -> StreamOptions:
    return StreamOptions(
        **{"bootstrap_servers": "127.0.0.1:1", "group": "g", "topics": ("content",), "transactional_id": "g-0", **found}
    )


CONSUMER_GUARANTEES = {
    "bootstrap.servers": "127.0.0.1:1",
    "group.id": "g",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "isolation.level": "read_committed",
    "auto.offset.reset": "error",
    "max.poll.interval.ms": 300_000,
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 1_200,
    "partition.assignment.strategy": "cooperative-sticky",
}
PRODUCER_GUARANTEES = {
    "bootstrap.servers": "127.0.0.1:1",
    "enable.idempotence": True,
    "acks": "all",
    "transactional.id": "g-0",
    "transaction.timeout.ms": 5_000,
    "message.max.bytes": 8_388_608,
}


@pytest.mark.parametrize("mapping", ["client", "consumer"])
def test_no_guarantee_of_the_consumer_can_be_passed_over(mapping: str) -> None:
    hostile = dict.fromkeys(CONSUMER_GUARANTEES, "hostile")
    config = options(**{mapping: hostile}).consumer_config()
    assert {name: config[name] for name in CONSUMER_GUARANTEES} == CONSUMER_GUARANTEES


@pytest.mark.parametrize("mapping", ["client", "producer"])
def test_no_guarantee_of_the_producer_can_be_passed_over(mapping: str) -> None:
    hostile = dict.fromkeys(PRODUCER_GUARANTEES, "hostile")
    config = options(**{mapping: hostile}).producer_config()
    assert {name: config[name] for name in PRODUCER_GUARANTEES} == PRODUCER_GUARANTEES


def test_what_carries_no_guarantee_passes_to_its_client_only() -> None:
    found = options(
        client={"security.protocol": "ssl"}, consumer={"fetch.wait.max.ms": 7}, producer={"compression.type": "none"}
    )
    consumer, producer = found.consumer_config(), found.producer_config()
    assert (consumer["security.protocol"], producer["security.protocol"]) == ("ssl", "ssl")
    assert consumer["fetch.wait.max.ms"] == 7
    assert producer["compression.type"] == "none"
    assert "compression.type" not in consumer
    assert "fetch.wait.max.ms" not in producer


def test_a_key_lands_where_clients_of_java_put_it() -> None:
    for delivery in ("exactly_once", "at_least_once"):
        assert options(delivery=delivery).producer_config()["partitioner"] == "murmur2_random"


def test_at_least_once_has_an_idempotent_producer_without_transactions() -> None:
    config = options(delivery="at_least_once").producer_config()
    assert "transactional.id" not in config
    assert config["enable.idempotence"] is True
    assert options(delivery="at_least_once").consumer_config()["enable.auto.commit"] is False


def test_the_consumer_protocol_leaves_session_and_assignment_to_the_broker() -> None:
    config = options(group_protocol="consumer").consumer_config()
    assert config["group.protocol"] == "consumer"
    assert not {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"} & config.keys()


def test_static_membership_is_opt_in() -> None:
    assert "group.instance.id" not in options().consumer_config()
    assert options(group_instance_id="worker-3").consumer_config()["group.instance.id"] == "worker-3"


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("session_timeout_ms", [1_000, 10_000])
def test_librdkafka_accepts_every_combination(protocol: Any, delivery: Any, session_timeout_ms: int) -> None:
    found = options(
        group_protocol=protocol, delivery=delivery, session_timeout_ms=session_timeout_ms, group_instance_id="x"
    )
    Consumer({**found.consumer_config(), "log_level": 0}).close()
    Producer({**found.producer_config(), "log_level": 0})
