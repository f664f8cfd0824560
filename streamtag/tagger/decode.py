"""Stage 1: records to content events; what cannot be read becomes a dead letter, a null payload is passed by."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from confluent_kafka import Message

from streamtag.events.content import ContentEvent
from streamtag.events.decoder import Decoder
from streamtag.events.headers import Headers, read_headers
from streamtag.events.rejection import ErrorClass, Rejected


@dataclass
class Decoded:
    """A batch after decoding. ``records[i]``, ``events[i]`` and ``headers[i]`` belong together."""

    records: list[Message] = field(default_factory=list)
    events: list[ContentEvent] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    dead: list[tuple[Message, Rejected]] = field(default_factory=list)
    skipped: list[Message] = field(default_factory=list)


def decode(records: Sequence[Message], decoder: Decoder) -> Decoded:
    """Decodes each record on its own; one that is refused leaves its neighbours alone."""
    out = Decoded()
    decode_one, keep, event_of, headers_of = decoder.decode, out.records.append, out.events.append, out.headers.append
    for record in records:
        value = record.value()
        key = record.key()
        if value is None:
            try:
                decoder.check_key(key or b"")
            except Rejected as rejected:
                out.dead.append((record, rejected))
            else:
                out.skipped.append(record)
            continue
        try:
            headers = read_headers(record)
        except UnicodeError:
            out.dead.append((record, _unreadable_headers()))
            continue
        try:
            event = decode_one(
                value,
                key=key,
                headers=headers,
                position=(record.topic(), record.partition(), record.offset()),  # type: ignore[arg-type]
            )
        except Rejected as rejected:
            out.dead.append((record, rejected))
            continue
        keep(record)
        event_of(event)
        headers_of(headers)
    return out


def _unreadable_headers() -> Rejected:
    return Rejected(
        ErrorClass.INVALID_UTF8, stage="decode", field="headers", message="the name of a header is not UTF-8"
    )
