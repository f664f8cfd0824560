from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.dead_letters.letter import DeadLetter, NotADeadLetterError, latest, parse
from streamtag.dead_letters.reader import client_options
from streamtag.events import dead_letters as wire
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.settings import load_settings

Headers = list[tuple[str, bytes | None]]


def dead(**changes: Any) -> tuple[bytes | None, bytes | None, wire.Headers]:
    facts: dict[str, Any] = {
        "topic": "content",
        "partition": 3,
        "offset": 42,
        "timestamp_ms": 1_000,
        "key": b"k",
        "value": b"v\xff",
        "headers": [("a", b"1"), ("a", None)],
        "rejected": Rejected(ErrorClass.MAPPING, stage="decode", field="/x", message="is a list"),
        "release": "moderation@1",
        "worker": "host-0",
        "now_ms": 2_000,
        "max_bytes": 100_000,
    }
    return wire.build(**{**facts, **changes})


def read(record: tuple[bytes | None, bytes | None, Headers]) -> DeadLetter:
    key, value, headers = record
    return parse(topic="dead", partition=1, offset=7, at_ms=2_001, key=key, value=value, headers=headers)


def test_what_was_built_is_read_back() -> None:
    letter = read(dead())
    assert letter.facts() == {
        "position": "1/7",
        "at_ms": 2_001,
        "error_class": "mapping",
        "stage": "decode",
        "field": "/x",
        "message": "is a list",
        "source": {"topic": "content", "partition": 3, "offset": 42, "timestamp_ms": 1_000},
        "release": "moderation@1",
        "worker": "host-0",
        "size": 2,
        "truncated": False,
        "replay_count": 0,
        "replay_id": None,
    }
    assert (letter.key, letter.value, letter.headers) == (b"k", b"v\xff", (("a", b"1"), ("a", None)))
    assert letter.source == "content/3/42"


def test_a_truncated_letter_knows_the_size_of_the_whole() -> None:
    letter = read(dead(value=b"x" * 200_000))
    assert (letter.truncated, letter.size) == (True, 200_000)


def test_replay_marks_of_the_original_are_read() -> None:
    letter = read(dead(headers=[(wire.REPLAY_COUNT, b"2"), (wire.REPLAY_ID, b"r1")]))
    assert (letter.replay_count, letter.replay_id) == (2, "r1")


def test_the_latest_are_by_time_then_by_position_and_pages_leave_none_out() -> None:
    key, value, headers = dead()
    stored = [
        parse(topic="dead", partition=p, offset=o, at_ms=at_ms, key=key, value=value, headers=headers)
        for p, o, at_ms in [(0, 5, 10), (1, 4, 10), (1, 3, 10), (0, 6, 9), (2, 0, 11)]
    ]
    ordered = ["2/0", "1/4", "1/3", "0/5", "0/6"]
    first = latest(stored, 2)
    following = latest(stored, 9, before=first[-1].place)
    assert [one.position for one in (*first, *following)] == ordered
    assert {(one.key, one.value, one.headers) for one in following} == {(None, None, ())}


@pytest.mark.parametrize("forged", [b"-1", b"x", b"", "\u0661".encode(), b"9" * 5_000, None])
def test_a_forged_count_reads_as_never(forged: bytes | None) -> None:
    assert read(dead(headers=[(wire.REPLAY_COUNT, forged)])).replay_count == 0


@pytest.mark.parametrize("name", [wire.ERROR_CLASS, wire.TOPIC, wire.PARTITION, wire.OFFSET, wire.RELEASE])
def test_a_record_without_a_fact_is_no_dead_letter(name: str) -> None:
    key, value, headers = dead()
    with pytest.raises(NotADeadLetterError, match=f"{name} is missing"):
        read((key, value, [header for header in headers if header[0] != name]))


def test_a_garbled_number_is_named_and_not_quoted() -> None:
    key, value, headers = dead()
    garbled: Headers = [(n, b"zq0secret" if n == wire.OFFSET else c) for n, c in headers]
    with pytest.raises(NotADeadLetterError, match="offset is not a number") as caught:
        read((key, value, garbled))
    assert "zq0secret" not in str(caught.value)


names = st.sampled_from([wire.ERROR_CLASS, wire.TOPIC, wire.OFFSET, wire.TRUNCATED, wire.SIZE, wire.REPLAY_COUNT, "x"])


@given(st.lists(st.tuples(names, st.none() | st.binary(max_size=4)), max_size=8), st.booleans())
def test_any_headers_are_a_letter_or_refused(headers: Headers, real: bool) -> None:
    record = dead(headers=headers) if real else (b"k", b"v", headers)
    try:
        letter = read(record)
    except NotADeadLetterError:
        assert not real
    else:
        assert letter.headers == tuple(headers) or not real


def test_what_the_tagger_may_write_a_replay_can_put_back() -> None:
    for most in ("1048576", "16777216"):
        settings = load_settings(environ={}, overrides={"dead_letters.max_bytes": most}).settings
        assert client_options(settings, "x").max_message_bytes > settings.dead_letters.max_bytes


def test_a_letter_in_a_list_holds_no_content() -> None:
    letter = read(dead())
    bare = letter.without_content()
    assert (bare.key, bare.value, bare.headers) == (None, None, ())
    assert bare.facts() == letter.facts()
