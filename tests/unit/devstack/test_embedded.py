"""The demo's embedded services, which need nothing but Python."""

import signal
import subprocess
import sys
import time

import pytest
import redis
from confluent_kafka import Consumer
from services import produce, read_all, wait_until

from streamtag.devstack.child import Child
from streamtag.devstack.embedded_redis import EmbeddedRedis
from streamtag.devstack.mock_kafka import MockKafka, parse_topics
from streamtag.devstack.process import ProcessRef
from streamtag.devstack.redis import redis_answers
from streamtag.errors import SettingsError, UnavailableError


def test_the_mock_broker_has_the_partitions_asked_for_and_carries_records() -> None:
    with MockKafka({"content": 2, "tags": 5}) as kafka:
        consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "g"})
        topics = consumer.list_topics(timeout=10).topics
        assert {name: len(topic.partitions) for name, topic in topics.items()} == {"content": 2, "tags": 5}
        consumer.close()
        produce(kafka.bootstrap, "content", [(b"k", b"v", [("h", b"1")])])
        assert [m.headers() for m in read_all(kafka.bootstrap, "content")] == [[("h", b"1")]]


def test_a_first_group_member_of_the_mock_broker_does_not_wait_three_seconds() -> None:
    def took_s() -> float:
        with MockKafka({"content": 1}) as kafka:
            produce(kafka.bootstrap, "content", [(b"k", b"v")])
            options = {"bootstrap.servers": kafka.bootstrap, "group.id": "g", "auto.offset.reset": "earliest"}
            consumer = Consumer(options)
            consumer.subscribe(["content"])
            begun = time.monotonic()
            assert consumer.poll(60) is not None
            consumer.close()
            return time.monotonic() - begun

    assert any(took_s() < 2.5 for _ in range(5)), "a busy machine may be late once"


@pytest.mark.parametrize("argument", ["content", "=4", "content=0", "content=-1", "content=four"])
def test_a_topic_without_a_sound_partition_count_is_refused(argument: str) -> None:
    with pytest.raises(SettingsError, match="topic=partitions"):
        parse_topics([argument])


def test_a_child_that_cannot_start_says_why() -> None:
    with pytest.raises(UnavailableError, match="topic=partitions"):
        Child("streamtag.devstack.mock_kafka", ["nonsense"]).start()


def test_the_embedded_redis_runs_scripts_streams_and_publishes() -> None:
    with EmbeddedRedis(server=False) as embedded:
        assert embedded.kind == "embedded (fakeredis)"
        with redis.Redis.from_url(embedded.url) as client, client.pubsub() as channel:
            channel.subscribe("news")
            assert channel.get_message(timeout=5)
            script = "redis.call('XADD', 'audit', '*', 'k', 'v'); redis.call('PUBLISH', 'news', ARGV[1]); return 1"
            assert client.eval(script, 0, "hello") == 1
            message = channel.get_message(timeout=5)
            assert message is not None
            assert message["data"] == b"hello"
            assert client.xlen("audit") == 1


def test_without_redis_and_fakeredis_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamtag.devstack.embedded_redis.find_spec", lambda name: None)
    with pytest.raises(UnavailableError) as caught:
        EmbeddedRedis(server=False)
    assert "streamtag[demo]" in caught.value.hint


def test_embedded_services_end_with_a_parent_that_is_killed() -> None:
    program = (
        "import time\n"
        "from streamtag.devstack.mock_kafka import MockKafka\n"
        "from streamtag.devstack.embedded_redis import EmbeddedRedis\n"
        "kafka, store = MockKafka({'content': 1}).start(), EmbeddedRedis(server=False).start()\n"
        "print(kafka._child.pid, store._child.pid, store.url, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    first, second, url = parent.stdout.readline().split()
    refs = [ProcessRef.of(int(pid)) for pid in (first, second)]
    assert all(refs)
    assert redis_answers(url, 2.0)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    wait_until(lambda: not any(ref and ref.alive() for ref in refs), 10, "both children are gone")
