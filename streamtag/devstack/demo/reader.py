"""Reads what the workers wrote: tag events and dead letters, committed ones only."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamtag.devstack.demo.records import DeadLetter, SeenTags
from streamtag.errors import UnavailableError
from streamtag.events import dead_letters
from streamtag.settings import Settings

__all__ = ["OutputReader", "Outputs"]

_AGAIN_S = 0.1
_NOT_YET = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE)
_TIMEOUT_S = 10.0
_MOST = 2_000


@dataclass
class Outputs:
    """What one read found."""

    tags: list[SeenTags] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)


class OutputReader:
    """All partitions of both topics from their beginning, without a consumer group: nobody else is disturbed.

    Args:
        settings: names broker and topics.

    Raises:
        UnavailableError: a topic is missing, or the broker does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._tags, self._dead = settings.topics.tags, settings.topics.dead_letters
        self._decoder = msgspec.json.Decoder(SeenTags)
        self._consumer = Consumer(
            {
                **settings.kafka.client,
                **settings.kafka.consumer,
                "bootstrap.servers": settings.kafka.bootstrap_servers,
                "group.id": "streamtag-demo-view",  # asked for by the client, never joined
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )
        try:
            self._consumer.assign([*self._partitions(self._tags), *self._partitions(self._dead)])
        except BaseException:
            self._consumer.close()
            raise

    def read(self, wait_s: float) -> Outputs:
        """What has come; waits up to ``wait_s`` for the first record, never for more."""
        first = self._consumer.poll(wait_s)
        if first is None:
            return Outputs()
        return self._sorted([first, *self._consumer.consume(_MOST, 0)])

    def close(self) -> None:
        """Lets go of the broker."""
        self._consumer.close()

    def _sorted(self, messages: Sequence[Message]) -> Outputs:
        found = Outputs()
        for message in messages:
            error = message.error()
            if error is not None:
                raise UnavailableError(f"reading {message.topic() or 'tag events'}: {error.str()}")
            if message.topic() == self._tags:
                found.tags.append(self._decoder.decode(message.value() or b""))
            else:
                found.dead.append(_letter(message))
        return found

    def _partitions(self, topic: str) -> list[TopicPartition]:
        """Waits for a topic that was made a moment ago: on a busy machine its broker does not know it yet."""
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                metadata = self._consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
            except KafkaException as error:
                raise UnavailableError(f"Kafka does not describe topic {topic}: {error.args[0].str()}") from None
            if metadata.error is None:
                return [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in metadata.partitions]
            if metadata.error.code() not in _NOT_YET or time.monotonic() > deadline:
                raise UnavailableError(f"topic {topic}: {metadata.error.str()}")
            time.sleep(_AGAIN_S)


def _letter(message: Message) -> DeadLetter:
    _, facts = dead_letters.split(message.headers())  # type: ignore[arg-type] # a consumer returns a list, with bytes
    return DeadLetter(
        partition=int(facts[dead_letters.PARTITION]),
        offset=int(facts[dead_letters.OFFSET]),
        error_class=facts[dead_letters.ERROR_CLASS].decode(),
    )
