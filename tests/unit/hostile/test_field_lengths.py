import json
from pathlib import Path

import pytest
from confluent_kafka import Message

from streamtag.events.content import ContentEvent
from streamtag.events.decoder import Decoder
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.settings import EventsSettings
from streamtag.tagger.decode import decode

LIMIT = EventsSettings().max_field_chars  # type: ignore[call-arg]
COPIED = [name for name in ContentEvent.__struct_fields__ if name not in ("text", "features")]
NATIVE = Decoder(EventsSettings())  # type: ignore[call-arg]


def refused(value: bytes, *, key: bytes | None = None, headers: list[tuple[str, bytes | None]] | None = None) -> str:
    with pytest.raises(Rejected) as refusal:
        NATIVE.decode(value, key=key, headers=headers, position=("content", 0, 0))
    assert refusal.value.error_class is ErrorClass.FIELD_TOO_LONG
    return refusal.value.field


@pytest.mark.parametrize("field", COPIED)
def test_a_field_may_be_as_long_as_the_limit_and_no_longer(field: str) -> None:
    for character in ("x", "é", "𝕏", "\u0001"):
        event = {"id": "a", "text": "hello", field: character * LIMIT}
        read = NATIVE.decode(json.dumps(event).encode(), key=None, headers=None, position=("content", 0, 0))
        assert getattr(read, field) == character * LIMIT
        event[field] += character
        assert refused(json.dumps(event, ensure_ascii=False).encode()) == f"/{field}"


def test_a_long_text_does_not_hide_a_long_id() -> None:
    assert refused(json.dumps({"id": "x" * (LIMIT + 1), "text": "y" * 9_000}).encode()) == "/id"


def test_the_id_of_a_cloud_event_has_the_limit_too() -> None:
    names = {"specversion": "1.0", "id": "\u0001" * (LIMIT + 1), "source": "s", "type": "t"}
    headers: list[tuple[str, bytes | None]] = [(f"ce_{name}", content.encode()) for name, content in names.items()]
    assert refused(b'{"text": "hello"}', headers=headers) == "/id"


def test_a_join_cannot_make_a_field_longer_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text("fields: {id: {join: [/a, /a, /a]}, text: /text}")
    read = Decoder(EventsSettings(mapping=path))  # type: ignore[call-arg]
    value = json.dumps({"a": "x" * (LIMIT // 2), "text": "hello"}).encode()
    with pytest.raises(Rejected) as refusal:
        read.decode(value, key=None, headers=None, position=("content", 0, 0))
    assert (refusal.value.error_class, refusal.value.field) == (ErrorClass.FIELD_TOO_LONG, "/id")


def test_a_record_key_may_take_four_bytes_a_character() -> None:
    value = b'{"id": "a", "text": "hello"}'
    assert NATIVE.decode(value, key=b"k" * LIMIT * 4, headers=None, position=("content", 0, 0)).id == "a"
    assert refused(value, key=b"k" * (LIMIT * 4 + 1)) == "record key"


def test_a_tombstone_with_too_long_a_key_is_set_aside() -> None:
    fits, exceeds = (Message(topic="content", partition=0, offset=i, key=b"k" * (LIMIT * 4 + i)) for i in range(2))
    decoded = decode([fits, exceeds], NATIVE)
    assert decoded.skipped == [fits]
    assert [(record, rejected.error_class) for record, rejected in decoded.dead] == [
        (exceeds, ErrorClass.FIELD_TOO_LONG)
    ]
