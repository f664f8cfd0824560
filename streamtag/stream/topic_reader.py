"""Reads ranges of topics as they stand: committed records, outside of any group membership."""

import logging
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from streamtag.errors import NotFoundError, StreamtagError, UnavailableError
from streamtag.stream.client_log import ClientLog
from streamtag.stream.options import StreamOptions, refused_options
from streamtag.stream.processor import Partition
from streamtag.stream.trouble import in_words

__all__ = ["CALL_S", "TopicReader", "kafka_failure"]

log = logging.getLogger(__name__)
client_log = ClientLog(log)

CALL_S = 10.0  # one request to the broker
_STALLED_S = 30.0  # neither a record nor an end for so long
_SETTLE_S = 10.0  # twice the default of tagger.transaction_timeout_ms: by then the broker has ended it
_POLL_S = 0.1
_MOVES_S = 10.0  # a partition has another leader by then, and its leader knows of it
_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_MOVING = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
)
"""It passes by itself: the topic was made just now, or a broker has stopped."""
_UNKNOWN = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)


class TopicReader:
    """A consumer of committed records; a context manager.

    Every method raises `NotFoundError` for a topic that does not exist, and `UnavailableError` when Kafka does not
    answer in time.

    Args:
        options: how to reach Kafka; ``group`` is the one whose positions are looked up, it is never joined.
        settled: topics end where their first open transaction begins, so that none is waited for.
    """

    def __init__(self, options: StreamOptions, *, settled: bool = False) -> None:
        self.where = f"Kafka at {options.bootstrap_servers}"
        self._group = options.group
        self._options = options
        self._isolation = IsolationLevel.READ_COMMITTED if settled else IsolationLevel.READ_UNCOMMITTED
        self.consumer, self._admin = self._connect()
        self.unsettled: dict[Partition, int] = {}
        """Where reading ended early, as a transaction stayed open; and at which position."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.consumer.close()

    def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """First and next offset of each partition now; unless ``settled``, open transactions are within."""
        deadline = time.monotonic() + _MOVES_S
        while isinstance(found := self._try_bounds(topic), KafkaError):
            if found.code() not in _MOVING or time.monotonic() > deadline:
                raise self._explain(found, f"cannot read where {topic} ends")
            time.sleep(_POLL_S)
        return found

    def _try_bounds(self, topic: str) -> dict[int, tuple[int, int]] | KafkaError:
        failed: KafkaError | None = None
        try:
            metadata = self.consumer.list_topics(topic, timeout=CALL_S).topics[topic]
            places = [TopicPartition(topic, partition) for partition in metadata.partitions]
            lows, highs = self._list(places, _EARLIEST), self._list(places, _LATEST)
        except KafkaException as error:
            failed = error.args[0]
        except TimeoutError:
            failed = KafkaError(KafkaError._TIMED_OUT)
        if failed is not None:  # not while that is handled: the client library keeps what is, for ever
            self._begin_anew()
            return failed
        return metadata.error or {place.partition: (lows[place], highs[place]) for place in places}

    def from_time(self, topic: str, at_ms: int) -> dict[int, tuple[int, int]]:
        """As `bounds`, beginning with the first record of each partition at or after a time, Unix milliseconds."""
        bounds = self.bounds(topic)
        places = [TopicPartition(topic, partition, max(0, at_ms)) for partition in bounds]
        try:
            starts = self.consumer.offsets_for_times(places, timeout=CALL_S)
        except KafkaException as error:
            raise self._explain(error.args[0], f"cannot look up times in {topic}") from None
        # Negative: every record is older.
        begins = {
            start.partition: start.offset if start.offset >= 0 else bounds[start.partition][1] for start in starts
        }
        return {p: (max(low, min(begins[p], high)), high) for p, (low, high) in bounds.items()}

    def committed(self, partitions: list[Partition]) -> dict[Partition, int]:
        """What the group has committed, of those where it has."""
        if not partitions:
            return {}
        places = [TopicPartition(topic, partition) for topic, partition in partitions]
        try:
            found = self.consumer.committed(places, timeout=CALL_S)
        except KafkaException as error:
            raise self._explain(error.args[0], f"cannot read what group {self._group} has committed") from None
        return {(place.topic, place.partition): place.offset for place in found if place.offset >= 0}

    def batches(
        self, topic: str, ranges: Mapping[int, tuple[int, int]], *, records: int = 1_000
    ) -> Iterator[list[Message]]:
        """The committed records in half-open offset ranges by partition, in order within each partition.

        At most ``records`` at once; whoever is given them may take as long as it likes.

        A range that ends within an open transaction is read once that has ended; if it stays open,
        the partition ends early and is named in `unsettled`.
        """
        reading = _Reading({p: high for p, (low, high) in ranges.items() if low < high})
        self.consumer.assign([TopicPartition(topic, p, ranges[p][0]) for p in reading.ends])
        heard = time.monotonic()
        try:
            while reading.ends:
                messages = self.consumer.consume(records, _POLL_S)
                now = time.monotonic()
                heard = now if messages or reading.waiting else heard
                if now - heard > _STALLED_S:
                    raise UnavailableError(
                        f"{self.where} has sent nothing of {topic} for {_STALLED_S:.0f} s",
                        hint="`streamtag doctor` looks at the connection to Kafka.",
                    )
                batch = [m for m in messages if self._take(topic, m, reading, now)]
                if batch:
                    yield batch
                    heard = time.monotonic()
                for partition, position in reading.expired(now):
                    self.unsettled[topic, partition] = position
        finally:
            # librdkafka keeps a partition paused over unassign and assign.
            self.consumer.resume(self.consumer.assignment())
            self.consumer.unassign()

    def _take(self, topic: str, message: Message, reading: "_Reading", now: float) -> bool:
        """Whether ``message`` is a record of the range; raises for errors that do not pass by themselves."""
        error = message.error()
        partition, offset = message.partition() or 0, message.offset() or 0
        if error is None:
            wanted = offset < reading.ends.get(partition, 0)
            if reading.reached(partition, offset + 1):
                self.consumer.pause([TopicPartition(topic, partition)])
            return wanted
        if error.code() == KafkaError._PARTITION_EOF:
            # The end for a reader of committed records: it lies below the high watermark while transactions are open.
            if reading.reached(partition, offset, ended=now):
                self.consumer.pause([TopicPartition(topic, partition)])
            return False
        if error.retriable():
            log.warning("reading %s: %s", topic, error.str())
            return False
        raise self._explain(error, f"cannot read {topic}")

    def _list(self, places: list[TopicPartition], spec: OffsetSpec) -> dict[TopicPartition, int]:
        # Asked by the consumer, the end would be that of a reader of committed records.
        asked = self._admin.list_offsets(
            dict.fromkeys(places, spec), isolation_level=self._isolation, request_timeout=CALL_S
        )
        return {place: int(future.result(CALL_S + 1).offset) for place, future in asked.items()}

    def _connect(self) -> tuple[Consumer, AdminClient]:
        options = self._options
        # Positions are given; only retention can overtake them, and then what is left is what there is.
        config = options.consumer_config() | {"enable.partition.eof": True, "auto.offset.reset": "earliest"}
        kafka = {**options.client, "bootstrap.servers": options.bootstrap_servers, "log_level": 0}
        with refused_options("kafka.client, kafka.consumer"):
            return Consumer(config, logger=client_log), AdminClient(kafka, logger=client_log)

    def _begin_anew(self) -> None:
        """Makes new clients: the old ones may never be right again.

        One that lists offsets names the leader epoch that it knows, is refused after a restart of the broker, and does
        not ask for another (librdkafka #4620). Where a single broker wakes from a freeze and names no broker, as it is
        fenced itself, clients forget every broker that they knew (librdkafka 2.10 and later).
        """
        old = self.consumer
        self.consumer, self._admin = self._connect()
        old.close()

    def _explain(self, error: KafkaError, doing: str) -> StreamtagError:
        return kafka_failure(error, f"{doing}, {self.where}")


def kafka_failure(error: KafkaError, doing: str) -> StreamtagError:
    """A failed call to Kafka as an error for people."""
    if error.code() in _UNKNOWN:
        return NotFoundError(
            f"{doing}: {error.str()}", hint="`streamtag topics diff` compares a cluster with the settings."
        )
    hint = "`streamtag doctor` looks at the connection to Kafka."
    if "AUTHORIZATION" in error.name():
        hint = "Which rights each role needs: docs/howto-secure.md."
    return UnavailableError(f"{doing}: {in_words(error)}", hint=hint)


class _Reading:
    """How far one call of `TopicReader.batches` is; ``ends`` holds the partitions that are not done."""

    def __init__(self, ends: dict[int, int]) -> None:
        self.ends = ends
        self.waiting: dict[int, tuple[int, float]] = {}
        """Partitions at an end before theirs: position, and since when (monotonic)."""

    def reached(self, partition: int, position: int, *, ended: float | None = None) -> bool:
        """All below ``position`` has been read; with ``ended``, and there is no more for now. Whether it is done so."""
        if partition not in self.ends:
            return False
        self.waiting.pop(partition, None)
        if position >= self.ends[partition]:
            del self.ends[partition]
            return True
        if ended is not None:
            self.waiting[partition] = (position, ended)
        return False

    def expired(self, now: float) -> list[tuple[int, int]]:
        """Partitions, and positions, that have waited too long; they are done, too."""
        found = [(p, position) for p, (position, since) in self.waiting.items() if now - since > _SETTLE_S]
        for partition, _ in found:
            del self.waiting[partition], self.ends[partition]
        return found
