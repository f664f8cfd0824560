"""Stage 1: records to content events; what cannot be read becomes a dead letter, a null payload is passed by."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from confluent_kafka import Message

from streamtag.errors import without_frames
from streamtag.events.content import ContentEvent
from streamtag.events.decoder import Decoder
from streamtag.events.headers import Headers, read_headers
from streamtag.events.rejection import ErrorClass, Rejected

Position = tuple[str, int, int]
"""(topic, partition, offset) of a record."""


@dataclass
class Decoded:
    """A batch after decoding: the columns of ``records`` belong together, row by row."""

    records: list[Message] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    events: list[ContentEvent] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    dead: list[tuple[Message, Rejected]] = field(default_factory=list)
    skipped: list[Message] = field(default_factory=list)

    def take(self, rows: Sequence[int]) -> "Decoded":
        """Some of its events; nothing of what was refused or skipped."""
        return Decoded(
            records=[self.records[i] for i in rows],
            positions=[self.positions[i] for i in rows],
            keys=[self.keys[i] for i in rows],
            events=[self.events[i] for i in rows],
            headers=[self.headers[i] for i in rows],
        )

    def refuse(self, refusals: Mapping[int, Rejected]) -> list[int]:
        """Moves these rows to the dead ones, which keep the order of their positions; returns the rows that stay."""
        self.dead += [(self.records[i], rejected) for i, rejected in refusals.items()]
        self.dead.sort(key=lambda dead: (dead[0].topic(), dead[0].partition(), dead[0].offset()))
        stay = [i for i in range(len(self.records)) if i not in refusals]
        self.records = [self.records[i] for i in stay]
        self.positions = [self.positions[i] for i in stay]
        self.keys = [self.keys[i] for i in stay]
        self.events = [self.events[i] for i in stay]
        self.headers = [self.headers[i] for i in stay]
        return stay


def positions(records: Sequence[Message]) -> Iterator[Position]:
    """Where each record stands; read through `map`, half as dear as calling three methods in a loop."""
    columns = zip(
        map(Message.topic, records), map(Message.partition, records), map(Message.offset, records), strict=True
    )
    return cast(Iterator[Position], columns)  # a consumed record has all three


def decode(records: Sequence[Message], decoder: Decoder) -> Decoded:
    """Decodes each record on its own; one that is refused leaves its neighbours alone."""
    out = Decoded()
    decode_one = decoder.decode
    for record, position in zip(records, positions(records), strict=True):
        value = record.value()
        key = record.key()
        if value is None:
            try:
                decoder.check_key(key or b"")
            except Rejected as rejected:
                out.dead.append((record, without_frames(rejected)))
            else:
                out.skipped.append(record)
            continue
        try:
            headers = read_headers(record)
        except UnicodeError:
            out.dead.append((record, _unreadable_headers()))
            continue
        try:
            event = decode_one(value, key=key, headers=headers, position=position)
        except Rejected as rejected:
            out.dead.append((record, without_frames(rejected)))
            continue
        out.records.append(record)
        out.positions.append(position)
        out.keys.append(key)
        out.events.append(event)
        out.headers.append(headers)
    return out


def _unreadable_headers() -> Rejected:
    return Rejected(
        ErrorClass.INVALID_UTF8, stage="decode", field="headers", message="the name of a header is not UTF-8"
    )
