"""Reads the dead-letter topic as it stands: committed records, up to where it ended when reading began."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from streamtag.dead_letters.letter import DeadLetter, NotADeadLetterError, parse
from streamtag.dead_letters.selection import Selection, parse_position
from streamtag.errors import NotFoundError, StreamtagError
from streamtag.events.headers import read_headers
from streamtag.settings import Settings
from streamtag.stream.options import StreamOptions
from streamtag.stream.topic_reader import CALL_S, TopicReader, kafka_failure

__all__ = ["DeadLetterReader", "Record", "client_options"]

log = logging.getLogger(__name__)

_FRAMING_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the topic; ``letter`` is None where streamtag did not write it."""

    partition: int
    offset: int
    bytes: int
    letter: DeadLetter | None


def client_options(settings: Settings, name: str) -> StreamOptions:
    """Kafka options of these commands; ``name`` is the group, the client and the transactional id.

    Where only is read, take the group of the tagger: it is neither joined nor committed to.
    """
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


class DeadLetterReader:
    """Reads the whole dead-letter topic, outside of any group membership; a context manager.

    Args:
        settings: whose ``topics.dead_letters`` is read.
        group: name under which positions may be looked up; None: that of the tagger.

    Raises:
        NotFoundError: the topic does not exist.
        UnavailableError: Kafka does not answer.
    """

    def __init__(self, settings: Settings, *, group: str | None = None) -> None:
        self.topic = settings.topics.dead_letters
        # Who looks at dead letters does not wait for a worker that was killed while it wrote some.
        self._reader = TopicReader(client_options(settings, group or settings.tagger.group), settled=True)
        try:
            self.topics = self._topics()
        except StreamtagError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._reader.__exit__(None, None, None)

    @property
    def consumer(self) -> Consumer:
        """The client, for what belongs to its group: positions with metadata, transactions."""
        return self._reader.consumer

    def bounds(self) -> dict[int, tuple[int, int]]:
        """First and next offset of each partition, now."""
        return self._reader.bounds(self.topic)

    def ranges(self, selection: Selection) -> dict[int, tuple[int, int]]:
        """Half-open offset ranges outside of which nothing can match ``selection``."""
        since_ms = selection.since_ms
        ranges = self.bounds() if since_ms is None else self._reader.from_time(self.topic, since_ms)
        if selection.positions:
            wanted: dict[int, list[int]] = {}
            for partition, offset in map(parse_position, selection.positions):
                wanted.setdefault(partition, []).append(offset)
            ranges = {
                partition: (max(low, min(wanted[partition])), min(high, max(wanted[partition]) + 1))
                for partition, (low, high) in ranges.items()
                if partition in wanted
            }
        return {partition: (low, high) for partition, (low, high) in ranges.items() if low < high}

    def batches(
        self, ranges: Mapping[int, tuple[int, int]], *, records: int = 500, max_bytes: int = 16_777_216
    ) -> Iterator[list[Record]]:
        """The records in ``ranges``, in order within each partition.

        Args:
            ranges: partition to half-open offset range.
            records: most records at once.
            max_bytes: a batch ends with the record that reaches this: what is written back fits one transaction.

        Raises:
            UnavailableError: Kafka stopped answering.
        """
        for messages in self._reader.batches(self.topic, ranges, records=records):
            batch: list[Record] = []
            size = 0
            for record in map(_record, messages):
                batch.append(record)
                size += record.bytes
                if size >= max_bytes:
                    yield batch
                    batch, size = [], 0
            if batch:
                yield batch

    def letter(self, partition: int, offset: int) -> DeadLetter:
        """The one at a position.

        Raises:
            NotFoundError: there is none.
        """
        found = list(self.letters(Selection(positions=(f"{partition}/{offset}",))))
        if not found or found[0] is None:
            what = "no dead letter of streamtag" if found else "no (committed) record"
            raise NotFoundError(f"{self.topic}/{partition}/{offset} holds {what}")
        return found[0]

    def letters(self, selection: Selection) -> Iterator[DeadLetter | None]:
        """All letters that match; None for each record that is no dead letter."""
        for batch in self.batches(self.ranges(selection)):
            for record in batch:
                if record.letter is None or selection.matches(record.letter):
                    yield record.letter

    def _topics(self) -> Mapping[str, int]:
        """All topics, with their numbers of partitions."""
        where = self._reader.where
        try:
            found = self.consumer.list_topics(timeout=CALL_S).topics
            missing = None if self.topic in found else self.consumer.list_topics(self.topic, timeout=CALL_S)
        except KafkaException as exception:
            raise kafka_failure(exception.args[0], f"cannot reach {where}") from None
        refused = None if missing is None else missing.topics[self.topic].error
        if refused is not None and refused.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise kafka_failure(refused, f"cannot read {self.topic}, {where}")
        if missing is not None:
            raise NotFoundError(
                f"topic {self.topic} does not exist on {where}",
                hint="topics.dead_letters names it; `streamtag topics apply` creates what is missing.",
            )
        return {name: len(topic.partitions) for name, topic in found.items()}


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
