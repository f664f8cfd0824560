"""A `Runner` on a broker in memory: the real polling side, the real loop, and a sink that obeys the test."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import pytest
from confluent_kafka import Message, TopicPartition
from fake_broker import FakeBroker, FakeConsumer
from services import wait_until

from streamtag.stream import backoff
from streamtag.stream import member as member_module
from streamtag.stream import processing as processing_module
from streamtag.stream import source as source_module
from streamtag.stream.options import StreamOptions
from streamtag.stream.processor import Commit, Output, Partition, Range
from streamtag.stream.runner import Runner
from streamtag.stream.sink import Undone
from streamtag.stream.start import Start
from streamtag.telemetry.metrics import InMemoryMetrics, Metrics

OPTIONS: dict[str, Any] = {
    "bootstrap_servers": "127.0.0.1:1",
    "group": "g",
    "topics": ("content",),
    "transactional_id": "g-0",
    "commit_interval_ms": 10,
    "batch_size": 4,
    "batch_wait_ms": 0,
    "queue_batches": 2,
    "pause_after_ms": 30,
    "revoke_budget_ms": 100,
    "drain_timeout_s": 5.0,
}


class Copier:
    """A processor that copies records and names the range of each commit; ``before`` may block or raise."""

    def __init__(self, asked: list[str]) -> None:
        self._asked = asked
        self.hold: str | None = None
        self.is_full: Callable[[], bool] = lambda: False
        self.before: Callable[[Sequence[Message]], None] = lambda records: None
        self.processed: list[tuple[Partition, int]] = []

    def held(self) -> str | None:
        return self.hold

    def process(self, records: Sequence[Message]) -> Iterable[Output]:
        self.before(records)
        for record in records:
            self.processed.append((where(record), record.offset() or 0))
            yield Output("copies", record.key(), record.value(), [("source", str(where(record)).encode())])

    def full(self) -> bool:
        return self.is_full()

    def close(self, covered: Mapping[Partition, Range]) -> Iterable[Output]:
        for partition, span in covered.items():
            yield Output("ranges", str(partition).encode(), f"{span.start} {span.end}".encode())

    def commits(self, covered: Mapping[Partition, Range]) -> Mapping[Partition, Commit]:
        return {partition: Commit(span.end, "remembered") for partition, span in covered.items()}

    def committed(self) -> None:
        self._asked.append("processor.committed")

    def undo(self) -> None:
        self._asked.append("processor.undo")


class Notes:
    """A keeper that writes down what it is told, among what is processed; ``due`` goes out when idle."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Partition, int]] = []
        self.remembered: list[str] = []
        self.due: deque[Output] = deque()
        self.told: Callable[[], None] = lambda: None

    def processed(self, records: Sequence[Message]) -> None:
        self.lines += [("record", where(record), record.offset() or 0) for record in records]

    def assigned(self, starts: Mapping[Partition, Start]) -> None:
        self.told()
        self.lines += [("assigned", partition, start.position) for partition, start in starts.items()]
        self.remembered += [start.metadata for start in starts.values()]

    def released(self, partitions: Collection[Partition]) -> None:
        self.lines += [("released", partition, 0) for partition in partitions]

    def idle(self) -> Iterable[Output]:
        while self.due:
            yield self.due.popleft()


class ObedientSink:
    """A transaction in memory: what was produced is seen when `commit` succeeds, together with the positions."""

    def __init__(
        self,
        loop: "Loop",
        group_metadata: Callable[[], object],
        stopping: Callable[[], bool],
        commit_positions: Callable[[Sequence[TopicPartition]], None],
    ) -> None:
        self._loop = loop
        self._commit_positions = commit_positions
        self._group_metadata = group_metadata
        self.stopping = stopping
        self.complaint = ""
        self.while_undoing: Callable[[], None] = lambda: None
        self._open: list[Output] | None = None

    def _call(self, name: str) -> None:
        self._loop.broker.asked.append(f"sink.{name}")
        if self._loop.trouble[name]:
            raise self._loop.trouble[name].popleft()

    def open(self) -> None:
        assert self._open is None, "a transaction is open already"
        self._call("open")
        self._open = []

    def produce(self, outputs: Iterable[Output]) -> None:
        assert self._open is not None
        self._open.extend(outputs)

    def commit(self, commits: Mapping[Partition, Commit]) -> None:
        assert self._open is not None
        self._loop.broker.asked.append("sink.commit begins")
        self._loop.before_positions()
        self._group_metadata()
        self._loop.while_committing()
        self._call("commit")
        self._loop.outputs += self._open
        self._commit_positions([TopicPartition(t, p, c.position, c.metadata) for (t, p), c in commits.items()])
        self._open = None

    def abort(self) -> None:
        self.while_undoing()
        self._call("abort")
        self._open = None

    def settle(self) -> None:
        self.while_undoing()
        self._call("settle")

    def close(self) -> None:
        self._call("close")


class Loop:
    """The loop under test, on threads of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, broker: FakeBroker, options: Mapping[str, Any]) -> None:
        self.broker = broker
        self.options = StreamOptions(**{**OPTIONS, **options})
        self.outputs: list[Output] = []  # committed
        self.trouble: defaultdict[str, deque[Exception]] = defaultdict(deque)
        self.before_positions: Callable[[], None] = lambda: None
        self.while_committing: Callable[[], None] = lambda: None
        self.metrics: InMemoryMetrics = Metrics.in_memory()
        self.processor = Copier(broker.asked)
        self.consumer: FakeConsumer
        self.consumers = 0
        self.sink: ObedientSink
        self.failure: BaseException | None = None
        for module, name, seconds in (
            (source_module, "_IDLE_POLL_S", 0.005),
            (source_module, "_TICK_S", 0.02),
            (member_module, "_RETRY_S", 0.01),
            (member_module, "_REJOIN_S", 0.01),
            (processing_module, "_HELD_LOOK_S", 0.005),
        ):
            monkeypatch.setattr(module, name, seconds)
        monkeypatch.setattr(backoff, "wait", lambda seconds, _stopping: time.sleep(min(seconds, 0.005)))
        monkeypatch.setattr(member_module, "Consumer", self._make_consumer)
        monkeypatch.setattr(processing_module, "TransactionSink", self._make_sink)
        monkeypatch.setattr(processing_module, "DeliverySink", self._make_delivery)
        self.keeper = Notes()
        self.runner = Runner(self.options, self.processor, self.metrics, keeper=self.keeper)
        self._thread = threading.Thread(target=self._run, name="polling", daemon=True)

    def _make_consumer(self, config: dict[str, Any], **_: object) -> FakeConsumer:
        self.consumer = FakeConsumer(self.broker, config)
        self.consumers += 1
        return self.consumer

    def _make_sink(self, _options: StreamOptions, _metrics: Metrics, **rest: Any) -> ObedientSink:
        self.sink = ObedientSink(self, rest["group_metadata"], rest["stopping"], self.broker.commit)
        return self.sink

    def _make_delivery(self, _options: StreamOptions, _metrics: Metrics, **rest: Any) -> ObedientSink:
        def commit(positions: Sequence[TopicPartition]) -> None:
            rest["commit_positions"](positions).result(30)

        self.sink = ObedientSink(self, lambda: None, rest["stopping"], commit)
        return self.sink

    def _run(self) -> None:
        try:
            self.runner.run()
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.failure = error

    def start(self) -> "Loop":
        self._thread.start()
        return self

    def stop(self, deadline_s: float = 30) -> None:
        self.runner.stop()
        self.wait_end(deadline_s)

    def wait_end(self, deadline_s: float = 30) -> None:
        self._thread.join(deadline_s)
        assert not self._thread.is_alive(), "the loop does not end"

    def rebalance(self, kind: str, *partitions: Partition) -> None:
        self.broker.rebalances.append((kind, list(partitions)))

    def wait_committed(self, partition: Partition, position: int, deadline_s: float = 30) -> None:
        wait_until(
            lambda: self.broker.position(partition) == position,
            deadline_s,
            f"{partition} committed up to {position}",
            every_s=0.002,
        )

    def copies(self, partition: Partition) -> list[int]:
        """Offsets of the committed copies, in order."""
        source = [("source", str(partition).encode())]
        return [int(out.value or b"") for out in self.outputs if out.headers == source]

    def ranges(self, partition: Partition) -> list[Range]:
        """Committed ranges, in order."""
        key = str(partition).encode()
        return [Range(*map(int, (o.value or b"").split())) for o in self.outputs if (o.topic, o.key) == ("ranges", key)]

    def check_exactly_once(self, partition: Partition, start: int = 0) -> None:
        """Every record up to the committed position was copied once, in order, and ranges touch."""
        end = self.broker.position(partition) or 0
        written = [m.offset() or 0 for m in self.broker.logs[partition] if start <= (m.offset() or 0) < end]
        assert self.copies(partition) == written
        ranges = self.ranges(partition)
        assert [r.start for r in ranges] == [start, *(r.end for r in ranges[:-1])]
        assert all(r.end > r.start for r in ranges)
        assert ranges[-1].end == end


def where(record: Message) -> Partition:
    return record.topic() or "", record.partition() or 0


def undone(cause: str = "ordered") -> Undone:
    return Undone(cause)
