import gc
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from hostile.dearest import MAX_HEADERS
from raw_producer import send

from streamtag.devstack.mock_kafka import MockKafka
from streamtag.events.dead_letters import ERROR_CLASS, split
from streamtag.events.decoder import Decoder
from streamtag.events.rejection import ErrorClass
from streamtag.settings import EventsSettings
from streamtag.tagger.decode import decode
from streamtag.tagger.emit import Emitter

VALUE = b'{"id": "a", "text": "hello"}'


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with MockKafka({"content": 1}) as kafka:
        yield kafka.bootstrap


def consumed(bootstrap: str, offset: int) -> Message:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "g", "fetch.wait.max.ms": 10})
    consumer.assign([TopicPartition("content", 0, offset)])
    try:
        record = consumer.poll(20)
    finally:
        consumer.close()
    assert record is not None
    assert record.error() is None
    return record


def test_a_header_name_that_is_not_utf8_makes_a_dead_letter_and_harms_no_neighbour(broker: str) -> None:
    send(broker, "content", VALUE, [(b"fine", b"1"), (b"\xff\xfe", b"2")])
    send(broker, "content", VALUE, [(b"fine", b"1")])
    bad, good = consumed(broker, 0), consumed(broker, 1)
    decoded = decode([bad, good], Decoder(EventsSettings()))  # type: ignore[call-arg]
    assert decoded.records == [good]
    ((dead, rejected),) = decoded.dead
    assert dead is bad
    assert (rejected.error_class, rejected.field) == (ErrorClass.INVALID_UTF8, "headers")
    assert dead.headers() == [], "what cannot be read is not left lying about"
    assert good.headers() == [("fine", b"1")]


def test_a_topic_full_of_such_records_crashes_nothing(broker: str) -> None:
    """Hot code is specialised by the interpreter, and then meets what the client leaves behind in another way."""
    count = 200
    first = 2
    send(broker, "content", VALUE, [(b"\xff", b"1")], times=count)
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "g", "fetch.wait.max.ms": 10})
    consumer.assign([TopicPartition("content", 0, first)])
    records: list[Message] = []
    while len(records) < count:
        records += consumer.consume(count - len(records), 20)
    consumer.close()
    decoded = decode(records, Decoder(EventsSettings()))  # type: ignore[call-arg]
    assert len(decoded.dead) == count
    gc.collect()


def test_a_tombstone_refused_for_its_key_becomes_a_dead_letter_without_such_headers() -> None:
    key = b"k" * 5_000
    with MockKafka({"content": 1}) as kafka:
        send(kafka.bootstrap, "content", None, [(b"\xff", b"1")], key=key)
        record = consumed(kafka.bootstrap, 0)
        decoded = decode([record], Decoder(EventsSettings()))  # type: ignore[call-arg]
    ((dead, rejected),) = decoded.dead
    emitter = Emitter(
        tags_topic="tags",
        dead_letters_topic="dead-letters",
        only_tagged=False,
        with_scores=True,
        max_dead_letter_bytes=100_000,
        worker="w",
    )
    letter = emitter.dead_letter(dead, rejected, release="1", now_ms=0)
    original, facts = split(letter.headers)
    assert (letter.key, letter.value, original) == (key, None, [])
    assert facts[ERROR_CLASS] == b"field_too_long"


def test_a_record_with_more_headers_than_the_client_reads_comes_without_any() -> None:
    """Not ours to change, but the limits page says so, and what a record's headers may cost rests on it."""
    with MockKafka({"content": 1}) as kafka:
        send(kafka.bootstrap, "content", VALUE, [(b"h", b"")] * MAX_HEADERS)
        send(kafka.bootstrap, "content", VALUE, [(b"h", b"")] * (MAX_HEADERS + 1))
        most, beyond = consumed(kafka.bootstrap, 0), consumed(kafka.bootstrap, 1)
        decoded = decode([most, beyond], Decoder(EventsSettings()))  # type: ignore[call-arg]
    assert decoded.records == [most, beyond]
    assert [len(headers or ()) for headers in decoded.headers] == [MAX_HEADERS, 0]
