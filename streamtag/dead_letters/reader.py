"""Reads the dead-letter topic as it stands: committed records, up to where it ended when reading began."""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamtag.dead_letters.letter import DeadLetter, NotADeadLetterError, parse
from streamtag.dead_letters.selection import Selection, parse_position
from streamtag.errors import NotFoundError, StreamtagError, UnavailableError
from streamtag.events.headers import read_headers
from streamtag.settings import Settings
from streamtag.stream.options import StreamOptions

__all__ = ["DeadLetterReader", "Record", "client_options", "kafka_failure"]

log = logging.getLogger(__name__)

READER_GROUP = "streamtag-dlq-reader"  # never joined, never committed to
CALL_S = 10.0  # one request to the broker
_STALLED_S = 30.0  # neither a record nor an end for so long
_POLL_S = 0.2
_FRAMING_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the topic; ``letter`` is None where streamtag did not write it."""

    partition: int
    offset: int
    bytes: int
    letter: DeadLetter | None


def client_options(settings: Settings, name: str) -> StreamOptions:
    """Kafka options of these commands; ``name`` is the group, the client and the transactional id."""
    return StreamOptions(
        bootstrap_servers=settings.kafka.bootstrap_servers,
        group=name,
        topics=(settings.topics.dead_letters,),
        transactional_id=name,
        # what the tagger may write, a replay must be able to write back
        max_message_bytes=max(StreamOptions.max_message_bytes, settings.dead_letters.max_bytes + _FRAMING_BYTES),
        client=settings.kafka.client,
        consumer=settings.kafka.consumer,
        producer=settings.kafka.producer,
    )


def kafka_failure(exception: KafkaException, doing: str) -> StreamtagError:
    """A failed call to Kafka as an error for people."""
    error: KafkaError = exception.args[0]
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):
        return NotFoundError(f"{doing}: {error.str()}")
    return UnavailableError(f"{doing}: {error.str()}", hint="`streamtag doctor` looks at the connection to Kafka.")


class DeadLetterReader:
    """A consumer of the whole dead-letter topic, outside of any group membership.

    Args:
        settings: whose ``topics.dead_letters`` is read.
        group: name under which positions may be looked up.

    Raises:
        NotFoundError: the topic does not exist.
        UnavailableError: Kafka does not answer.
    """

    def __init__(self, settings: Settings, *, group: str = READER_GROUP) -> None:
        self.topic = settings.topics.dead_letters
        self.where = f"Kafka at {settings.kafka.bootstrap_servers}"
        config = client_options(settings, group).consumer_config()
        # Positions are given; only retention can overtake them, and then what is left is what there is.
        config |= {"enable.partition.eof": True, "auto.offset.reset": "earliest"}
        self.consumer = Consumer(config, logger=log)
        try:
            metadata = self.consumer.list_topics(timeout=CALL_S)
        except KafkaException as exception:
            self.consumer.close()
            raise kafka_failure(exception, f"cannot reach {self.where}") from None
        # topic to number of partitions
        self.topics: Mapping[str, int] = {name: len(found.partitions) for name, found in metadata.topics.items()}
        if self.topic not in self.topics:
            self.consumer.close()
            raise NotFoundError(
                f"topic {self.topic} does not exist on {self.where}",
                hint="topics.dead_letters names it; `streamtag topics apply` creates what is missing.",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.consumer.close()

    def bounds(self) -> dict[int, tuple[int, int]]:
        """First and next offset of each partition, now."""
        found = {}
        for partition in range(self.topics[self.topic]):
            try:
                marks = self.consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=CALL_S)
            except KafkaException as exception:
                raise kafka_failure(exception, f"cannot read where {self.topic}/{partition} ends") from None
            if marks is None:
                raise UnavailableError(f"{self.where} does not say where {self.topic}/{partition} ends")
            found[partition] = marks
        return found

    def ranges(self, selection: Selection) -> dict[int, tuple[int, int]]:
        """Half-open offset ranges outside of which nothing can match ``selection``."""
        ranges = self.bounds()
        if selection.positions:
            wanted: dict[int, list[int]] = {}
            for partition, offset in map(parse_position, selection.positions):
                wanted.setdefault(partition, []).append(offset)
            ranges = {
                partition: (max(low, min(wanted[partition])), min(high, max(wanted[partition]) + 1))
                for partition, (low, high) in ranges.items()
                if partition in wanted
            }
        if selection.since_ms is not None and ranges:
            times = [TopicPartition(self.topic, partition, selection.since_ms) for partition in ranges]
            try:
                starts = self.consumer.offsets_for_times(times, timeout=CALL_S)
            except KafkaException as exception:
                raise kafka_failure(exception, f"cannot look up times in {self.topic}") from None
            for start in starts:
                low, high = ranges[start.partition]
                ranges[start.partition] = (max(low, start.offset) if start.offset >= 0 else high, high)
        return {partition: (low, high) for partition, (low, high) in ranges.items() if low < high}

    def batches(
        self, ranges: Mapping[int, tuple[int, int]], *, records: int = 500, max_bytes: int = 16_777_216
    ) -> Iterator[list[Record]]:
        """The records in ``ranges``, in order within each partition.

        Args:
            ranges: partition to half-open offset range.
            records: most records at once.
            max_bytes: a batch ends with the record that reaches this.

        Raises:
            UnavailableError: Kafka stopped answering.
        """
        open_ends = {partition: high for partition, (low, high) in ranges.items() if low < high}
        self.consumer.assign([TopicPartition(self.topic, p, ranges[p][0]) for p in open_ends])
        batch: list[Record] = []
        size = 0
        heard = time.monotonic()
        while open_ends:
            message = self.consumer.poll(_POLL_S)
            if message is None:
                if time.monotonic() - heard > _STALLED_S:
                    raise UnavailableError(
                        f"{self.where} has sent nothing of {self.topic} for {_STALLED_S:.0f} s",
                        hint="`streamtag doctor` looks at the connection to Kafka.",
                    )
            elif self._ended(message, open_ends):
                heard = time.monotonic()
            elif message.error() is None:
                record = _record(message)
                if record.offset < open_ends.get(record.partition, 0):
                    heard = time.monotonic()
                    batch.append(record)
                    size += record.bytes
                self._advance(record, open_ends)
            if batch and (message is None or len(batch) >= records or size >= max_bytes):
                yield batch
                batch, size = [], 0
                heard = time.monotonic()
        if batch:
            yield batch

    def letters(self, selection: Selection) -> Iterator[DeadLetter | None]:
        """All letters that match; None for each record that is no dead letter."""
        for batch in self.batches(self.ranges(selection)):
            for record in batch:
                if record.letter is None or selection.matches(record.letter):
                    yield record.letter

    def _ended(self, message: Message, open_ends: dict[int, int]) -> bool:
        """Whether ``message`` says that a partition has no more; raises for errors that do not pass by themselves."""
        error = message.error()
        if error is None:
            return False
        if error.code() == KafkaError._PARTITION_EOF:
            # The end for a reader of committed records; it may lie below the high watermark.
            open_ends.pop(message.partition() or 0, None)
            return True
        if error.retriable():
            log.warning("reading %s: %s", self.topic, error.str())
            return False
        raise kafka_failure(KafkaException(error), f"cannot read {self.topic}")

    def _advance(self, record: Record, open_ends: dict[int, int]) -> None:
        if record.offset + 1 >= open_ends.get(record.partition, 0):
            open_ends.pop(record.partition, None)
            self.consumer.pause([TopicPartition(self.topic, record.partition)])


def _record(message: Message) -> Record:
    topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
    key, value = message.key(), message.value()
    try:
        headers = list(read_headers(message) or [])
    except UnicodeError:  # nobody's dead letter, then: ours have readable names
        headers = []
    letter = None
    try:
        letter = parse(
            topic=topic,
            partition=partition,
            offset=offset,
            at_ms=message.timestamp()[1],
            key=key,
            value=value,
            headers=headers,
        )
    except NotADeadLetterError as error:
        log.debug("record %s/%d/%d is no dead letter: %s", topic, partition, offset, error)
    size = len(key or b"") + len(value or b"") + sum(len(name) + len(content or b"") for name, content in headers)
    return Record(partition, offset, size, letter)
