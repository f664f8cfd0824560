"""The reader of committed records that feeds the checker, on a thread of its own."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from services import Topics

from streamtag.events import dead_letters, summary

from .checking import Checker
from .corpus import checksum, ordinal_of
from .errands import Errand
from .findings import Findings
from .tag_columns import header
from .upstream import ORDINAL_HEADER

_CHUNK = 2_000
SILENT_S = 20.0
"""A client that hears nothing for so long is made anew: it may have lost every broker that it knew, for good."""


class Reader:
    """Reads the four topics of a pipeline from their beginning; a context manager.

    Args:
        topics: of the pipeline, over a road that is never hurt.
        checker: fed here and nowhere else.
        findings: takes what cannot be read.
    """

    def __init__(self, topics: Topics, checker: Checker, findings: Findings) -> None:
        self._topics = topics
        self._checker = checker
        self._findings = findings
        self._stop = threading.Event()
        self._thread = Errand(self._run, "reader", findings)
        self._committed_ms = [0] * topics.partitions
        self._consumer = self._connect()
        self._handlers: dict[str, Callable[[Sequence[Message]], None]] = {
            topics.input: self._inputs,
            topics.tags: checker.outcomes,
            topics.stats: self._summaries,
            topics.dead_letters: self._dead,
        }
        self._ends = {(name, p): 0 for name in self._handlers for p in range(topics.partitions)}
        """Where each partition ended for this reader: markers behind the last record are no records."""
        self._next = dict(self._ends)

    def __enter__(self) -> "Reader":
        places = [TopicPartition(name, p, OFFSET_BEGINNING) for name, p in self._ends]
        self._consumer.assign(places)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Reads no more; what has been fed has been verified as far as it can be."""
        if not self._stop.is_set():
            self._stop.set()
            self._thread.finish(30)
            self._consumer.close()

    def committed_since(self, moment_ms: int) -> bool:
        """True when every partition has a commit summary that the broker appended after ``moment_ms``."""
        return all(at > moment_ms for at in self._committed_ms)

    def positions(self) -> list[TopicPartition]:
        """Where it reads on, of each partition that it has read from."""
        return [TopicPartition(topic, p, offset) for (topic, p), offset in self._next.items() if offset]

    def unread(self) -> list[str]:
        """Partitions that are not read to their end, with where they are. Asks the broker."""
        client = AdminClient({"bootstrap.servers": self._topics.bootstrap, "log_level": 0})
        wanted = {TopicPartition(t, p): OffsetSpec.latest() for t, p in self._ends}  # type: ignore[no-untyped-call]
        found = []
        for place, future in client.list_offsets(wanted, request_timeout=10).items():
            try:
                high = future.result().offset
            except KafkaException as error:
                return [str(error)]
            if high > (end := self._ends[place.topic, place.partition]):
                found.append(f"{place.topic}/{place.partition} at {end} of {high}")
        return found

    def _connect(self) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._topics.bootstrap,
                "group.id": "campaign-reader",  # never commits, never joins
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 20,
                "queued.max.messages.kbytes": 65_536,
                "log_level": 0,
            }
        )

    def _run(self) -> None:
        heard = time.monotonic()
        while not self._stop.is_set():
            messages = self._consumer.consume(_CHUNK, 0.05)
            self._dispatch(messages)
            self._checker.verify()
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENT_S:
                heard = time.monotonic()
                self._consumer.close()
                self._consumer = self._connect()
                self._consumer.assign([TopicPartition(*place, offset) for place, offset in self._next.items()])

    def _dispatch(self, messages: Sequence[Message]) -> None:
        found: dict[str, list[Message]] = defaultdict(list)
        for message in messages:
            error = message.error()
            if error is None:
                found[message.topic() or ""].append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ends[message.topic() or "", message.partition() or 0] = message.offset() or 0
            elif "offset" in error.str().lower():  # a broker that is away is expected, a torn log is not
                self._findings.add("log", error.str())
        for topic, group in found.items():
            self._handlers[topic](group)
            self._next |= {(topic, m.partition() or 0): (m.offset() or 0) + 1 for m in group}

    def _inputs(self, messages: Sequence[Message]) -> None:
        columns: dict[int, tuple[list[int], list[int], list[int]]] = defaultdict(lambda: ([], [], []))
        for message in messages:
            offsets, ordinals, stamps = columns[message.partition() or 0]
            value = message.value()
            offsets.append(message.offset() or 0)
            ordinals.append(ordinal_of(value) if value is not None else int(header(message, ORDINAL_HEADER)))
            stamps.append(message.timestamp()[1])
        for partition, (offsets, ordinals, stamps) in columns.items():
            self._checker.inputs(partition, offsets, ordinals, stamps)

    def _dead(self, messages: Sequence[Message]) -> None:
        columns: dict[int, tuple[list[int], list[int], list[int]]] = defaultdict(lambda: ([], [], []))
        for message in messages:
            offsets, stamps, contents = columns[int(header(message, dead_letters.PARTITION))]
            offsets.append(int(header(message, dead_letters.OFFSET)))
            stamps.append(int(header(message, dead_letters.TIMESTAMP)))
            contents.append(checksum(message.key(), message.value()))
        for partition, (offsets, stamps, contents) in columns.items():
            self._checker.dead(partition, offsets, stamps, contents)

    def _summaries(self, messages: Sequence[Message]) -> None:
        for message in messages:
            one = summary.decode(message.value() or b"")
            self._checker.summary(one)
            self._committed_ms[one.partition] = max(self._committed_ms[one.partition], message.timestamp()[1])


def now_ms() -> int:
    """Unix milliseconds, of the machine that the brokers run on, too."""
    return time.time_ns() // 1_000_000
