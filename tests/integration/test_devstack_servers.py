"""The real services that other tests rely on: they come up, survive what tests do to them, and leave nothing."""

import pytest
import redis
from services import MIB, Kafka, MakeTopics, Redis, Topics, produce, read_all, wait_until

from streamtag.devstack.kafka import KafkaServer, broker_answers
from streamtag.devstack.redis import RedisServer, redis_answers

pytestmark = pytest.mark.services


def test_what_is_produced_is_read_in_order_with_key_headers_and_timestamp(topics: Topics) -> None:
    records = [(b"k", f"v{i}".encode(), [("h", b"1"), ("h", None)]) for i in range(100)]
    places = produce(topics.bootstrap, topics.input, records, timestamp_ms=1_700_000_000_000)
    found = read_all(topics.bootstrap, topics.input)
    assert [m.value() for m in found] == [r[1] for r in records]
    assert [(m.partition(), m.offset()) for m in found] == places
    assert found[0].headers() == [("h", b"1"), ("h", None)]
    assert found[0].timestamp()[1] == 1_700_000_000_000


def test_a_dead_letter_of_the_default_limit_fits_its_topic(make_topics: MakeTopics) -> None:
    topics = make_topics(partitions=1)
    produce(topics.bootstrap, topics.dead_letters, [(None, bytes(4 * MIB))])
    assert len(read_all(topics.bootstrap, topics.dead_letters)[0].value() or b"") == 4 * MIB


def test_an_input_above_the_topics_limit_is_refused(make_topics: MakeTopics) -> None:
    topics = make_topics(partitions=1, max_bytes=10_000)
    with pytest.raises(AssertionError, match="refused"):
        produce(topics.bootstrap, topics.input, [(None, bytes(20_000))])


def test_a_killed_broker_comes_back_with_its_records_on_the_same_address(
    own_kafka: KafkaServer, make_topics: MakeTopics
) -> None:
    topics = make_topics(partitions=2, bootstrap=own_kafka.bootstrap)
    produce(topics.bootstrap, topics.input, [(str(i).encode(), b"v") for i in range(50)])
    address = own_kafka.bootstrap
    own_kafka.kill()
    assert not broker_answers(address, 0.5)
    own_kafka.start()
    assert own_kafka.bootstrap == address
    assert len(read_all(address, topics.input)) == 50


def test_a_frozen_broker_answers_nothing_and_thaws(own_kafka: KafkaServer) -> None:
    own_kafka.pause()
    assert not broker_answers(own_kafka.bootstrap, 1.0)
    own_kafka.resume()
    wait_until(lambda: broker_answers(own_kafka.bootstrap, 1.0), 20, "broker answers after resume")


def test_a_killed_redis_keeps_what_it_acknowledged(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.set("k", "v")
    own_redis.kill()
    assert not redis_answers(own_redis.url, 0.5)
    own_redis.start()
    with redis.Redis.from_url(own_redis.url) as client:
        assert client.get("k") == b"v"


def test_a_frozen_redis_answers_nothing_and_is_stopped_all_the_same(own_redis: RedisServer) -> None:
    own_redis.pause()
    assert not redis_answers(own_redis.url, 0.3)
    own_redis.stop()
    assert own_redis.ref is None


def test_namespaces_differ(namespace: str, redis_server: Redis) -> None:
    assert redis_answers(redis_server.url, 2.0)
    assert namespace.startswith("test-")


def test_the_session_has_one_broker(kafka: Kafka, topics: Topics) -> None:
    assert topics.bootstrap == kafka.bootstrap
