import hashlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamtag.events import dead_letters
from streamtag.events.rejection import ErrorClass, Rejected

MIB = 1_048_576
REJECTED = Rejected(ErrorClass.WRONG_TYPE, stage="decode", field="/text", message="expected str, got int")


def build(**changes: Any) -> tuple[bytes | None, bytes | None, dead_letters.Headers]:
    record: dict[str, Any] = {
        "topic": "content",
        "partition": 3,
        "offset": 42,
        "timestamp_ms": 1_700_000_000_000,
        "key": b"k",
        "value": b"\xff original \x00",
        "headers": [("traceparent", b"00-x"), ("null", None), ("traceparent", b"again"), ("empty", b"")],
        "rejected": REJECTED,
        "release": "moderation@1 r7",
        "worker": "host-0",
        "now_ms": 1_700_000_000_500,
        "max_bytes": 4 * MIB,
    }
    return dead_letters.build(**{**record, **changes})


def framed_size(key: bytes | None, value: bytes | None, headers: dead_letters.Headers) -> int:
    """Bytes of one record in a batch of its own (record format v2), lengths at their longest."""
    batch, record = 61, 5 + 1 + 10 + 5
    parts = [key or b"", value or b"", *(part for name, content in headers for part in (name.encode(), content or b""))]
    return batch + record + 5 + sum(5 + len(part) for part in parts)


def test_a_record_that_fits_is_kept_to_the_byte_and_its_headers_come_first() -> None:
    headers = [("traceparent", b"00-x"), ("null", None), ("traceparent", b"again"), ("empty", b"")]
    key, value, found = build(headers=headers)
    assert (key, value) == (b"k", b"\xff original \x00")
    assert found[:4] == headers
    assert dict(found[4:]) == {
        dead_letters.ERROR_CLASS: b"wrong_type",
        dead_letters.ERROR_MESSAGE: b"expected str, got int",
        dead_letters.STAGE: b"decode",
        dead_letters.FIELD: b"/text",
        dead_letters.TOPIC: b"content",
        dead_letters.PARTITION: b"3",
        dead_letters.OFFSET: b"42",
        dead_letters.TIMESTAMP: b"1700000000000",
        dead_letters.RELEASE: b"moderation@1 r7",
        dead_letters.WORKER: b"host-0",
        dead_letters.DEAD_AT: b"1700000000500",
    }


@pytest.mark.parametrize(("key", "value"), [(None, None), (b"", b""), (None, b"")])
def test_nothing_and_empty_stay_apart(key: bytes | None, value: bytes | None) -> None:
    assert build(key=key, value=value)[:2] == (key, value)


def test_a_record_that_does_not_fit_keeps_head_hash_size_and_position() -> None:
    whole = b"abc" * MIB
    key, value, headers = build(value=whole, max_bytes=2 * MIB)
    facts = dict(headers)
    assert key == b"k"
    assert value == whole[:65_536]
    assert facts[dead_letters.TRUNCATED] == b"true"
    assert facts[dead_letters.SIZE] == str(len(whole)).encode()
    assert facts[dead_letters.SHA256] == hashlib.sha256(whole).hexdigest().encode()
    assert (facts[dead_letters.TOPIC], facts[dead_letters.OFFSET]) == (b"content", b"42")
    assert headers[0] == ("traceparent", b"00-x")
    assert dead_letters.HEADERS_TRUNCATED not in facts


def test_a_header_that_does_not_fit_is_left_out_and_counted_while_the_others_stay() -> None:
    headers = [("big", b"x" * 3 * MIB), ("traceparent", b"00-x")]
    _, value, found = build(headers=headers, max_bytes=MIB)
    assert found[0] == ("traceparent", b"00-x")
    assert dict(found)[dead_letters.HEADERS_TRUNCATED] == b"1"
    assert value == b"\xff original \x00"


def test_a_key_that_does_not_fit_is_cut_and_flagged() -> None:
    key, _, headers = build(key=b"k" * MIB, max_bytes=65_536)
    assert key is not None
    assert 0 < len(key) < 65_536
    assert dict(headers)[dead_letters.KEY_TRUNCATED] == b"true"


def test_long_facts_are_cut_between_characters() -> None:
    rejected = Rejected(ErrorClass.MAPPING, stage="decode", field="/" + "\u00e9" * 999, message="\U0001f600" * 999)
    facts = dict(build(rejected=rejected, max_bytes=4_096)[2])
    assert set((facts[dead_letters.ERROR_MESSAGE] or b"").decode()) == {"\U0001f600"}
    assert (facts[dead_letters.FIELD] or b"").decode().startswith("/\u00e9")


def test_a_surrogate_in_a_message_does_not_break_the_letter() -> None:
    rejected = Rejected(ErrorClass.SCORER_ERROR, stage="infer", message="bad \ud800 text")
    assert dict(build(rejected=rejected)[2])[dead_letters.ERROR_MESSAGE] == b"bad ? text"


def test_a_dead_letter_of_a_dead_letter_comes_apart_one_layer_at_a_time() -> None:
    first = build()
    second = build(key=first[0], value=first[1], headers=first[2], topic="outer")
    original, facts = dead_letters.split(second[2])
    assert facts[dead_letters.TOPIC] == b"outer"
    assert original == first[2]
    assert dead_letters.split(original)[1][dead_letters.TOPIC] == b"content"


def test_headers_without_facts_are_not_a_dead_letter() -> None:
    assert dead_letters.split([("a", b"1"), (dead_letters.TOPIC, b"x")])[1] == {}
    assert dead_letters.split(None) == ([], {})


sizes = st.integers(0, 300) | st.integers(0, 70_000) | st.sampled_from([MIB, 8 * MIB])
names = st.text(max_size=8) | st.just("n" * 5_000)


@settings(max_examples=150, deadline=None)
@given(
    key=st.none() | sizes,
    value=st.none() | sizes,
    headers=st.lists(st.tuples(names, st.none() | sizes), max_size=6),
    many=st.sampled_from([0, 0, 50, 20_000]),
    long=st.sampled_from([1, 249, 10_000]),
    max_bytes=st.sampled_from([4_096, 4_097, 65_536, MIB, 4 * MIB]),
)
@example(key=8 * MIB, value=8 * MIB, headers=[("n" * 5_000, 8 * MIB)], many=20_000, long=10_000, max_bytes=4_096)
def test_a_dead_letter_always_fits_and_is_whole_where_it_is_not_flagged(
    *, key: int | None, value: int | None, headers: list[tuple[str, int | None]], many: int, long: int, max_bytes: int
) -> None:
    sent: dead_letters.Headers = [(name, None if size is None else bytes(size)) for name, size in headers]
    sent += [("h", b"x")] * many
    record = (None if key is None else bytes(key), None if value is None else bytes(value), sent)
    letter = build(
        topic="t" * min(long, 249),
        key=record[0],
        value=record[1],
        headers=sent,
        rejected=Rejected(ErrorClass.MAPPING, stage="s" * long, field="f" * long, message="m" * long),
        release="r" * long,
        worker="w" * long,
        max_bytes=max_bytes,
    )
    assert framed_size(*letter) <= max_bytes
    original, facts = dead_letters.split(letter[2])
    if dead_letters.TRUNCATED in facts:
        assert framed_size(*record) + 4_096 > max_bytes  # nothing is cut without need
        assert (letter[0] is None, letter[1] is None) == (key is None, value is None)
        dropped = int(facts.get(dead_letters.HEADERS_TRUNCATED, b"0"))
        assert len(original) + dropped == len(sent)
    else:
        assert (letter[0], letter[1], original) == record
