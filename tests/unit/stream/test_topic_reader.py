"""Ranges of topics are read whole and no further, on librdkafka's mock broker."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from streamtag.devstack.mock_kafka import MockKafka
from streamtag.errors import NotFoundError, UnavailableError
from streamtag.stream import topic_reader as room
from streamtag.stream.options import StreamOptions
from streamtag.stream.topic_reader import TopicReader, _Reading
from streamtag.telemetry.repeats import Repeats


def options(bootstrap: str) -> StreamOptions:
    return StreamOptions(bootstrap, group="g", topics=(), transactional_id="reader", consumer={"fetch.wait.max.ms": 10})


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    """Two partitions of 30 records, and one that is empty."""
    with MockKafka({"content": 3}) as kafka:
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        for n in range(60):
            producer.produce("content", value=str(n).encode(), partition=n % 2)
        assert producer.flush(20) == 0
        yield kafka.bootstrap


def read(reader: TopicReader, ranges: dict[int, tuple[int, int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for batch in reader.batches("content", ranges):
        for message in batch:
            found.setdefault(message.partition() or 0, []).append(message.offset() or 0)
    return found


def test_ranges_are_read_whole_and_no_further(bootstrap: str) -> None:
    with TopicReader(options(bootstrap)) as reader:
        bounds = reader.bounds("content")
        assert bounds == {0: (0, 30), 1: (0, 30), 2: (0, 0)}
        assert read(reader, bounds) == {0: list(range(30)), 1: list(range(30))}
        assert read(reader, {0: (10, 20), 1: (29, 30), 2: (0, 0)}) == {0: list(range(10, 20)), 1: [29]}
        assert read(reader, {}) == {}
        assert reader.unsettled == {}


class EverySecondAnswerEmpty:
    """A client whose broker is slow: what was asked for comes with the next call."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._empty = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def consume(self, records: int, timeout_s: float) -> Any:
        self._empty = not self._empty
        return [] if self._empty else self._client.consume(records, timeout_s)


def test_whoever_is_given_a_batch_may_take_long(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=lambda: now))
    sizes = []
    with TopicReader(options(bootstrap)) as reader:
        monkeypatch.setattr(reader, "consumer", EverySecondAnswerEmpty(reader.consumer))
        for batch in reader.batches("content", {0: (0, 30)}, records=10):
            sizes.append(len(batch))
            now += 2 * room._STALLED_S
    assert sum(sizes) == 30
    assert max(sizes) <= 10


def test_a_group_that_has_committed_nothing_has_no_positions(bootstrap: str) -> None:
    with TopicReader(options(bootstrap)) as reader:
        assert reader.committed([("content", 0)]) == {}
        assert reader.committed([]) == {}


def test_a_topic_that_does_not_exist_is_named(bootstrap: str) -> None:
    with TopicReader(options(bootstrap)) as reader, pytest.raises(NotFoundError, match="nowhere"):
        reader.bounds("nowhere")


def moving(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """The first ``times`` questions meet a partition whose leader has just changed; returns them as they are asked."""
    asked: list[int] = []
    whole = TopicReader._list

    def ask(reader: TopicReader, places: Any, spec: Any) -> Any:
        asked.append(len(asked))
        if len(asked) <= times:
            raise KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))
        return whole(reader, places, spec)

    monkeypatch.setattr(TopicReader, "_list", ask)
    return asked


def test_a_partition_that_moves_to_another_broker_is_asked_for_again(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = moving(monkeypatch, 2)
    with TopicReader(options(bootstrap)) as reader:
        assert reader.bounds("content") == {0: (0, 30), 1: (0, 30), 2: (0, 0)}
    assert len(asked) == 4


def test_a_partition_that_never_has_a_leader_is_told(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_MOVES_S", 0.3)
    moving(monkeypatch, 1_000)
    with TopicReader(options(bootstrap)) as reader, pytest.raises(UnavailableError, match="cannot read where content"):
        reader.bounds("content")


def test_a_kafka_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CALL_S", 0.3)
    with TopicReader(options("127.0.0.1:1")) as reader, pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1"):
        reader.bounds("content")


def test_a_kafka_that_stays_away_is_told_once_however_often_it_is_asked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "CALL_S", 0.3)
    monkeypatch.setattr(room.client_log, "_repeats", Repeats())
    with TopicReader(options("127.0.0.1:1")) as reader:
        for _ in range(4):
            with pytest.raises(UnavailableError):
                reader.bounds("content")
            reader.consumer.poll(0.1)
    told = [record.getMessage() for record in caplog.records if "FAIL" in record.getMessage()]
    assert len(told) == 1, told


def test_an_end_that_a_transaction_hides_is_waited_for_and_then_named() -> None:
    reading = _Reading({0: 10, 1: 10})
    assert not reading.reached(0, 7, ended=100.0)
    assert reading.expired(100.0 + room._SETTLE_S) == []
    assert reading.expired(100.1 + room._SETTLE_S) == [(0, 7)]
    assert reading.ends == {1: 10}


def test_an_end_that_is_reached_meanwhile_is_none_to_wait_for() -> None:
    reading = _Reading({0: 10})
    assert not reading.reached(0, 7, ended=100.0)
    assert not reading.reached(0, 8)
    assert reading.expired(200.0) == []
    assert reading.reached(0, 12)
    assert not reading.reached(0, 13)
    assert reading.ends == {}
