"""What every sink keeps, on a real Kafka: outputs and positions together, or neither.

A new sink is one more entry of `SINKS`; it inherits every case.
"""

import contextlib
import random
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from services import MIB, MakeTopics, Topics, read_all, wait_until

from streamtag.stream.delivery_sink import DeliverySink
from streamtag.stream.options import StreamOptions
from streamtag.stream.processor import Commit, Output
from streamtag.stream.sink import Sink, Undone
from streamtag.stream.transaction_sink import TransactionSink
from streamtag.telemetry.metrics import Metrics

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]

Delivery = Literal["exactly_once", "at_least_once"]
SINKS: Mapping[str, Delivery] = {"transaction": "exactly_once", "delivery": "at_least_once"}


@dataclass
class Rig:
    """A sink between topics of its own; ``takes_back``: what was produced can be made never to be seen."""

    topics: Topics
    delivery: Delivery
    consumer: Consumer

    @property
    def takes_back(self) -> bool:
        return self.delivery == "exactly_once"

    def sink(self) -> Sink:
        options = StreamOptions(
            bootstrap_servers=self.topics.bootstrap,
            group=self.topics.input,
            topics=(self.topics.input,),
            transactional_id=f"{self.topics.input}-0",
            delivery=self.delivery,
            producer={"queue.buffering.max.messages": 100},
        )
        metrics = Metrics.in_memory()
        if self.delivery == "exactly_once":
            membership = self.consumer.consumer_group_metadata
            return TransactionSink(options, metrics, group_metadata=membership, stopping=lambda: False)
        return DeliverySink(options, metrics, commit_positions=self._commit, stopping=lambda: False)

    def _commit(self, positions: list[TopicPartition]) -> "Future[None]":
        done: Future[None] = Future()
        try:
            self.consumer.commit(offsets=positions, asynchronous=False)
        except KafkaException as error:
            done.set_exception(error)
        else:
            done.set_result(None)
        return done

    def outputs(self, *values: object) -> Iterator[Output]:
        return (Output(self.topics.tags, b"key", str(value).encode()) for value in values)

    def commits(self, position: int) -> dict[tuple[str, int], Commit]:
        return {(self.topics.input, 0): Commit(position, "p=1;")}

    def seen(self) -> list[str]:
        """What a reader of committed records sees."""
        return [(one.value() or b"").decode() for one in read_all(self.topics.bootstrap, self.topics.tags)]

    def position(self) -> int | None:
        found: list[TopicPartition] = []

        def asked() -> bool:
            try:
                found[:] = self.consumer.committed([TopicPartition(self.topics.input, 0)], timeout=10)
            except KafkaException as error:
                # A new broker has no coordinator for a group at first, or is still loading it.
                if not error.args[0].retriable() and "COORDINATOR" not in error.args[0].name():
                    raise
                return False
            return True

        wait_until(asked, 30, "the broker says what is committed", every_s=0.2)
        return found[0].offset if found[0].offset >= 0 else None

    def wait_seen(self, *values: object, aborted: str = "") -> None:
        """Waits until exactly these are seen; a reader sees a transaction a little later than its writer.

        ``aborted``: was produced, and may be seen where nothing is taken back.
        """
        wanted = [str(value) for value in values]

        def seen() -> bool:
            return [value for value in self.seen() if self.takes_back or value != aborted] == wanted

        wait_until(seen, 20, f"{wanted} are seen")

    def transact(self, sink: Sink, values: Iterable[object], position: int) -> None:
        sink.open()
        sink.produce(self.outputs(*values))
        sink.commit(self.commits(position))


@pytest.fixture(params=SINKS)
def rig(request: pytest.FixtureRequest, make_topics: MakeTopics) -> Iterator[Rig]:
    topics = make_topics(partitions=1)
    config: dict[str, Any] = {"bootstrap.servers": topics.bootstrap, "group.id": topics.input}
    consumer = Consumer(config)
    yield Rig(topics, SINKS[request.param], consumer)
    consumer.close()


@pytest.fixture
def sink(rig: Rig) -> Iterator[Sink]:
    made = rig.sink()
    yield made
    made.close()


def test_outputs_and_positions_appear_with_the_commit(rig: Rig, sink: Sink) -> None:
    sink.open()
    sink.produce(rig.outputs("a", "b"))
    assert rig.position() is None
    if rig.takes_back:
        assert rig.seen() == []
    sink.commit(rig.commits(2))
    rig.wait_seen("a", "b")
    assert rig.position() == 2


def test_one_transaction_follows_another(rig: Rig, sink: Sink) -> None:
    for end in (1, 2, 3):
        rig.transact(sink, [end], end)
    rig.wait_seen(1, 2, 3)
    assert rig.position() == 3


def test_more_outputs_than_the_client_queues_all_arrive_in_order(rig: Rig, sink: Sink) -> None:
    rig.transact(sink, range(1_000), 1_000)
    rig.wait_seen(*range(1_000))


def test_headers_and_null_values_arrive_as_they_are(rig: Rig, sink: Sink) -> None:
    sink.open()
    sink.produce([Output(rig.topics.tags, None, None, [("source", b"x"), ("none", None)])])
    sink.commit(rig.commits(1))
    [found] = read_all(rig.topics.bootstrap, rig.topics.tags, until=bool)
    assert (found.key(), found.value(), found.headers()) == (None, None, [("source", b"x"), ("none", None)])


def test_an_abort_moves_nothing_and_the_next_commit_is_whole(rig: Rig, sink: Sink) -> None:
    rig.transact(sink, ["before"], 1)
    sink.open()
    sink.produce(rig.outputs("aborted"))
    sink.abort()
    sink.settle()
    assert rig.position() == 1
    rig.transact(sink, ["after"], 3)
    assert rig.position() == 3
    rig.wait_seen("before", "after", aborted="aborted")


def test_an_output_that_is_refused_undoes_all_and_the_next_commit_is_whole(rig: Rig, sink: Sink) -> None:
    large = random.Random(0).randbytes(3 * MIB).hex()  # within the client's limit, beyond the topic's, compressed, too
    with pytest.raises(Undone, match=r"MSG_SIZE_TOO_LARGE|_STATE"):  # as it is noticed
        rig.transact(sink, ["fits", large], 2)
    sink.abort()
    sink.settle()
    assert rig.position() is None
    with contextlib.suppress(Undone):  # librdkafka 2.16 may count the next batch wrong, and notices
        rig.transact(sink, ["after"], 2)
    sink.abort()
    if rig.position() is None:
        rig.transact(sink, ["after"], 2)
    assert rig.position() == 2
    rig.wait_seen("after", aborted="fits")


def test_closing_undoes_what_is_open_and_a_successor_goes_on_at_once(rig: Rig, sink: Sink) -> None:
    sink.open()
    sink.produce(rig.outputs("left open"))
    sink.close()
    assert rig.position() is None
    successor = rig.sink()
    rig.transact(successor, ["successor"], 1)
    successor.close()
    assert rig.position() == 1
    rig.wait_seen("successor", aborted="left open")


def test_where_nothing_is_open_there_is_nothing_to_end(rig: Rig, sink: Sink) -> None:
    sink.settle()
    sink.abort()
    sink.settle()
    rig.transact(sink, [], 7)
    sink.abort()
    sink.close()
    sink.close()
    assert (rig.seen(), rig.position()) == ([], 7)
