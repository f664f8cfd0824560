"""One dead letter, as read from its topic."""

import base64
import dataclasses
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from streamtag.events import dead_letters as wire


class NotADeadLetterError(ValueError):
    """A record in the dead-letter topic that streamtag did not write."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The record that died, and why.

    Attributes:
        topic, partition, offset: where the dead letter stands.
        at_ms: when it was written, Unix milliseconds (timestamp of its record).
        error_class, message, stage, field: why it died; see `streamtag.events.rejection`.
        source_topic, source_partition, source_offset, source_timestamp_ms: the original.
        release: what decided then.
        worker: who wrote it.
        truncated: key, value or headers are not whole, so it cannot be replayed.
        size: bytes of the original value.
        replay_count: how often the original had been replayed before it died (again).
        replay_id: the replay that brought it last, if any.
        key, value, headers: the original's, to the byte unless ``truncated``.
    """

    topic: str
    partition: int
    offset: int
    at_ms: int
    error_class: str
    message: str
    stage: str
    field: str
    source_topic: str
    source_partition: int
    source_offset: int
    source_timestamp_ms: int
    release: str
    worker: str
    truncated: bool
    size: int
    replay_count: int
    replay_id: str | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def position(self) -> str:
        """``<partition>/<offset>`` in the dead-letter topic."""
        return f"{self.partition}/{self.offset}"

    @property
    def place(self) -> tuple[int, int, int]:
        """In their order: by time, where that is the same by position."""
        return self.at_ms, self.partition, self.offset

    @property
    def source(self) -> str:
        """``<topic>/<partition>/<offset>`` of the original."""
        return f"{self.source_topic}/{self.source_partition}/{self.source_offset}"

    def without_content(self) -> "DeadLetter":
        """The same without key, value and headers: many of them take little memory."""
        return dataclasses.replace(self, key=None, value=None, headers=())

    def facts(self) -> dict[str, Any]:
        """Everything but key, value and headers, under the names of the JSON output."""
        return {
            "position": self.position,
            "at_ms": self.at_ms,
            "error_class": self.error_class,
            "stage": self.stage,
            "field": self.field,
            "message": self.message,
            "source": {
                "topic": self.source_topic,
                "partition": self.source_partition,
                "offset": self.source_offset,
                "timestamp_ms": self.source_timestamp_ms,
            },
            "release": self.release,
            "worker": self.worker,
            "size": self.size,
            "truncated": self.truncated,
            "replay_count": self.replay_count,
            "replay_id": self.replay_id,
        }

    def content(self) -> dict[str, Any]:
        """Key, value and headers, as JSON can hold them: maybe personal data."""
        headers = [encoded("value", value, name=name) for name, value in self.headers]
        return encoded("key", self.key) | encoded("value", self.value) | {"headers": headers}


def parse(
    *,
    topic: str,
    partition: int,
    offset: int,
    at_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]] | None,
) -> DeadLetter:
    """A record of the dead-letter topic.

    Raises:
        NotADeadLetterError: the facts are missing or garbled; the message names the header, not its content.
    """
    original, facts = wire.split(headers)
    if not facts:
        raise NotADeadLetterError(f"header {wire.ERROR_CLASS} is missing")
    replayed = dict(original)
    truncated = wire.TRUNCATED in facts
    return DeadLetter(
        topic=topic,
        partition=partition,
        offset=offset,
        at_ms=at_ms,
        error_class=_text(facts, wire.ERROR_CLASS),
        message=_text(facts, wire.ERROR_MESSAGE),
        stage=_text(facts, wire.STAGE),
        field=_text(facts, wire.FIELD),
        source_topic=_text(facts, wire.TOPIC),
        source_partition=_number(facts, wire.PARTITION),
        source_offset=_number(facts, wire.OFFSET),
        source_timestamp_ms=_number(facts, wire.TIMESTAMP),
        release=_text(facts, wire.RELEASE),
        worker=_text(facts, wire.WORKER),
        truncated=truncated,
        size=_number(facts, wire.SIZE) if truncated else len(value or b""),
        replay_count=replay_count(replayed.get(wire.REPLAY_COUNT)),
        replay_id=(replayed.get(wire.REPLAY_ID) or b"").decode("utf-8", "replace") or None,
        key=key,
        value=value,
        headers=tuple(original),
    )


def latest(letters: Iterable[DeadLetter], most: int, *, before: tuple[int, int, int] | None = None) -> list[DeadLetter]:
    """The newest ``most``, or those right before a place; latest first, and without content: it holds no more."""
    wanted = (one.without_content() for one in letters if before is None or one.place < before)
    return heapq.nlargest(most, wanted, key=lambda one: one.place)


def encoded(field: str, content: bytes | None, **more: Any) -> dict[str, Any]:
    """Bytes for JSON: as text where they are UTF-8, else under ``<field>_base64``."""
    try:
        return more | {field: None if content is None else content.decode()}
    except UnicodeDecodeError:
        return more | {f"{field}_base64": base64.b64encode(content or b"").decode()}


def replay_count(header: bytes | None) -> int:
    """How often a record has been replayed; what is no number counts as never, the next replay writes it anew."""
    return int(header) if header is not None and header.isdigit() and len(header) < 10 else 0


def _text(facts: dict[str, bytes], name: str) -> str:
    if name not in facts:
        raise NotADeadLetterError(f"header {name} is missing")
    return facts[name].decode("utf-8", "replace")


def _number(facts: dict[str, bytes], name: str) -> int:
    try:
        return int(_text(facts, name))
    except ValueError as error:
        if isinstance(error, NotADeadLetterError):
            raise
        raise NotADeadLetterError(f"header {name} is not a number") from None
