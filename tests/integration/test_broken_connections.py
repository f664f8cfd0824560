"""What a transaction loses where connections break: nothing, on a real Kafka behind a proxy that swallows answers."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic
from faults.broker import Cluster
from faults.ports import Ports
from faults.proxy import Proxies
from services import read_all, wait_until

from streamtag.stream.options import StreamOptions
from streamtag.stream.processor import Commit, Output
from streamtag.stream.sink import Undone
from streamtag.stream.transaction_sink import TransactionSink
from streamtag.telemetry.metrics import Metrics

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

ROUNDS = 6
IN, OUT = "broken-in", "broken-out"


@dataclass
class Road:
    """A broker, and a proxy between it and whoever writes."""

    cluster: Cluster
    proxies: Proxies

    def swallow_answers(self) -> None:
        self.proxies.set(self.cluster.links(), "half_open")

    def heal(self) -> None:
        self.proxies.set(self.cluster.links(), "pass")

    def written(self, value: str) -> bool:
        """Whether it is in the log, committed or not."""
        return value in self.read("read_uncommitted")

    def read(self, isolation: Literal["read_committed", "read_uncommitted"]) -> list[str]:
        return [(one.value() or b"").decode() for one in read_all(self.cluster.bootstrap, OUT, isolation=isolation)]


@pytest.fixture
def road() -> Iterator[Road]:
    with ExitStack() as stack:
        free = stack.enter_context(Ports())
        cluster = stack.enter_context(Cluster(free.take, brokers=1, seats=1))
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        for made in admin.create_topics([NewTopic(IN, 1), NewTopic(OUT, 1)]).values():
            made.result(30)
        yield Road(cluster, stack.enter_context(Proxies(cluster.links())))


def test_what_was_in_the_log_unanswered_costs_the_next_transaction_nothing(road: Road) -> None:
    """A record that is sent again under the sequence number of one that is there already is dropped as a repeat."""
    options = StreamOptions(road.cluster.bootstrap_of(0), group="g", topics=(IN,), transactional_id="g-0")
    consumer = Consumer({"bootstrap.servers": road.cluster.bootstrap, "group.id": "g"})
    sink = TransactionSink(
        options, Metrics.in_memory(), group_metadata=consumer.consumer_group_metadata, stopping=lambda: False
    )

    def transact(values: list[str], before_commit: Callable[[], object] = bool) -> bool:
        """Whether it was committed."""
        sink.open()
        sink.produce(Output(OUT, b"key", value.encode()) for value in values[:1])
        wait_until(lambda: road.written(values[0]), 20, "the first is in the log")
        before_commit()
        sink.produce(Output(OUT, b"key", value.encode()) for value in values[1:])
        try:
            sink.commit({(IN, 0): Commit(len(committed), "p=1;")})
        except Undone:
            sink.abort()
            sink.settle()
            return False
        committed.extend(values)
        return True

    def unanswered(last: str) -> None:
        """Until some time after it is in the log."""
        road.swallow_answers()
        healers.append(pool.submit(heal_after, last))

    def heal_after(last: str) -> None:
        wait_until(lambda: road.written(last), 20, "the last is in the log")
        time.sleep(0.2)  # positions are under way by then, or not: the test holds for both
        road.heal()

    committed: list[str] = []
    healers: list[Future[None]] = []
    with ThreadPoolExecutor(1) as pool:
        for turn in range(ROUNDS):
            transact([f"{turn} first", f"{turn} unanswered"], lambda turn=turn: unanswered(f"{turn} unanswered"))  # type: ignore[misc]
            healers.pop().result(30)
            while not transact([f"{turn} {time.monotonic()}"]):
                pass
    sink.close()
    consumer.close()
    assert road.read("read_committed") == committed
