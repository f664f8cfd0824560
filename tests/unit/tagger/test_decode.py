"""Stage 1: each record on its own, and what belongs together stays together."""

import gc
import weakref

import pytest
from confluent_kafka import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from tagging import raw_record, record

from streamtag.events.decoder import Decoder
from streamtag.settings import EventsSettings
from streamtag.tagger.decode import decode

DECODER = Decoder(EventsSettings())  # type: ignore[call-arg]
KINDS = {
    "event": lambda offset: record(offset, text=f"text {offset}", headers=[("n", str(offset).encode())]),
    "no headers": lambda offset: record(offset, text=f"text {offset}"),
    "bad": lambda offset: raw_record(offset, b"{"),
    "tombstone": lambda offset: raw_record(offset, None),
    "empty": lambda offset: raw_record(offset, b""),
}


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(KINDS)), max_size=20))
def test_every_record_has_one_outcome_in_order_and_columns_belong_together(kinds: list[str]) -> None:
    records: list[Message] = [KINDS[kind](offset) for offset, kind in enumerate(kinds)]
    found = decode(records, DECODER)

    def offsets_of(*wanted: str) -> list[int]:
        return [offset for offset, kind in enumerate(kinds) if kind in wanted]

    assert [one.offset() for one in found.records] == offsets_of("event", "no headers")
    assert [event.id for event in found.events] == [f"e{one.offset()}" for one in found.records]
    assert [event.text for event in found.events] == [f"text {one.offset()}" for one in found.records]
    for one, headers in zip(found.records, found.headers, strict=True):
        expected = [("n", str(one.offset()).encode())] if kinds[one.offset() or 0] == "event" else []
        assert list(headers or ()) == expected
    assert [one.offset() for one, _ in found.dead] == offsets_of("bad", "empty")
    assert {rejected.stage for _, rejected in found.dead} <= {"decode"}
    assert [one.offset() for one in found.skipped] == offsets_of("tombstone")


@pytest.mark.parametrize(
    "content", [b"{", b"", b"\xff", b'{"id": 1}', b'{"id": "a", "id": "b"}', b"[" * 100, b'{"id": "a"}']
)
def test_a_refused_record_keeps_its_batch_in_memory_no_longer_than_the_batch_is_used(content: bytes) -> None:
    gc.disable()
    try:
        found = decode([raw_record(0, content), record(1, text="text")], DECODER)
        assert len(found.dead) == len(found.events) == 1
        gone = weakref.ref(found)
        del found
        assert gone() is None, "a cycle: it would stay until the collector comes"
    finally:
        gc.enable()
