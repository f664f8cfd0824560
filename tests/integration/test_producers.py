"""Which producer wrote what, as the broker's log says it."""

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka.client import AIOKafkaClient  # type: ignore[import-untyped]
from aiokafka.protocol.fetch import FetchRequest  # type: ignore[import-untyped]
from aiokafka.record import MemoryRecords  # type: ignore[import-untyped]
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]
from confluent_kafka import Consumer
from services import MIB, MakeTopics, Topics, wait_until

from streamtag.stream.options import StreamOptions
from streamtag.stream.processor import Commit, Output
from streamtag.stream.transaction_sink import TransactionSink
from streamtag.telemetry.metrics import Metrics

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]


@pytest.fixture
def topics(make_topics: MakeTopics) -> Topics:
    return make_topics(partitions=1)


@pytest.fixture
def sink(topics: Topics) -> Iterator[TransactionSink]:
    consumer = Consumer({"bootstrap.servers": topics.bootstrap, "group.id": topics.input})
    options = StreamOptions(
        bootstrap_servers=topics.bootstrap,
        group=topics.input,
        topics=(topics.input,),
        transactional_id=f"{topics.input}-0",
        delivery="exactly_once",
    )
    membership = consumer.consumer_group_metadata
    made = TransactionSink(options, Metrics.in_memory(), group_metadata=membership, stopping=lambda: False)
    yield made
    made.close()
    consumer.close()


def written_by(topics: Topics) -> list[tuple[int, int, int]]:
    """Producer, its epoch and the first sequence number of each batch of records in the log of the tags."""
    records, found = MemoryRecords(asyncio.run(_log(topics))), []
    while records.has_next():
        batch = records.next_batch()
        if not batch.is_control_batch:
            found.append((batch.producer_id, batch.producer_epoch, batch.base_sequence))
    return found


async def _log(topics: Topics) -> bytes:
    client = AIOKafkaClient(bootstrap_servers=topics.bootstrap)
    await client.bootstrap()
    try:
        await client.add_topic(topics.tags)
        leader = client.cluster.leader_for_partition(TopicPartition(topics.tags, 0))
        answer = await client.send(leader, FetchRequest(1000, 1, MIB, 0, [(topics.tags, [(0, 0, MIB)])]))
        [(_, [partition])] = answer.topics
        return bytes(partition[-1])
    finally:
        await client.close()


def test_an_undone_transaction_is_the_last_of_its_producer(topics: Topics, sink: TransactionSink) -> None:
    """librdkafka may give its sequence numbers out again, and the broker drop what has them as repeats."""
    for n in range(4):
        sink.open()
        sink.produce([Output(topics.tags, b"key", b"value")])
        if n == 2:
            wait_until(lambda: len(written_by(topics)) == 3, 30, "the log has what is to be undone", every_s=0.2)
            sink.abort()
        else:
            sink.commit({(topics.input, 0): Commit(n, "p=1;")})
    (producer, epoch, _), *_ = found = written_by(topics)
    assert found == [(producer, epoch, 0), (producer, epoch, 1), (producer, epoch, 2), (producer, epoch + 1, 0)]
