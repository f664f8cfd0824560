import json
from collections.abc import Callable
from typing import Any

import pytest

from streamtag.events.content import ContentEvent
from streamtag.events.decoder import Decoder
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.settings import EventsSettings

POSITION = ("content", 3, 42)
SECRET = "zq0secret"


def make(**settings: Any) -> Callable[[bytes], ContentEvent]:
    decoder = Decoder(EventsSettings.model_validate(settings))
    return lambda value: decoder.decode(value, key=None, headers=None, position=POSITION)


decode = make()


def refusal(value: bytes, read: Callable[[bytes], ContentEvent] = decode) -> tuple[ErrorClass, str]:
    with pytest.raises(Rejected) as caught:
        read(value)
    assert caught.value.stage == "decode"
    assert SECRET not in caught.value.message
    assert SECRET not in caught.value.field
    return caught.value.error_class, caught.value.field


def test_a_full_native_event_is_read() -> None:
    fields = {
        "id": "e-1",
        "text": 'two lines:\n"quoted" \u00e9 \U0001f600',
        "features": {"bytes": 12, "ratio": 0.5, "country": "PT", "vpn": False, "asn": None},
        "time": "2026-11-23T03:00:00Z",
        "lang": "pt",
        "author": "did:plc:1",
        "channel": "general",
        "tenant": "acme",
        "key": "thread-1",
    }
    assert decode(json.dumps(fields).encode()) == ContentEvent(**fields)  # type: ignore[arg-type]
    assert decode(json.dumps(fields, ensure_ascii=False, indent=2).encode()) == ContentEvent(**fields)  # type: ignore[arg-type]


def test_fields_that_are_not_known_are_ignored() -> None:
    assert decode(b'{"id":"a","text":"x","extra":{"id":["b"],"n":1e999}}') == ContentEvent(id="a", text="x")


def test_a_null_field_counts_as_absent() -> None:
    assert decode(b'{"id":"a","text":"x","lang":null,"features":null}') == ContentEvent(id="a", text="x")


def test_control_characters_in_a_text_are_allowed_when_escaped() -> None:
    assert decode(rb'{"id":"a","text":"\u0000\u0007\u2028"}').text == "\0\a\u2028"


def test_features_alone_make_an_event() -> None:
    assert decode(b'{"id":"a","features":{}}').features == {}


# The rows of the table of bad input, one case each where the field is known, several where there are several ways.
BAD = {
    "empty": (b"", ErrorClass.INVALID_JSON, ""),
    "not JSON": (b"plain text", ErrorClass.INVALID_JSON, ""),
    "cut off": (b'{"id":"a","text":"zq0secret', ErrorClass.INVALID_JSON, ""),
    "two documents": (b'{"id":"a","text":"x"} {}', ErrorClass.INVALID_JSON, ""),
    "byte order mark": (b'\xef\xbb\xbf{"id":"a","text":"x"}', ErrorClass.INVALID_JSON, ""),
    "UTF-16": ('{"id":"a","text":"x"}'.encode("utf-16-le"), ErrorClass.INVALID_JSON, ""),
    "raw control character": (b'{"id":"a","text":"\x01"}', ErrorClass.INVALID_JSON, ""),
    "trailing comma": (b'{"id":"a","text":"x",}', ErrorClass.INVALID_JSON, ""),
    "NaN in features": (b'{"id":"a","features":{"x":NaN}}', ErrorClass.INVALID_JSON, ""),
    "Infinity in a field that is ignored": (b'{"id":"a","text":"x","y":-Infinity}', ErrorClass.INVALID_JSON, ""),
    "lone high surrogate": (rb'{"id":"a","text":"\ud800 x"}', ErrorClass.INVALID_JSON, ""),
    "lone low surrogate, ignored field": (rb'{"id":"a","text":"x","y":"\udc00 aaaaaa"}', ErrorClass.INVALID_JSON, ""),
    "wrong type and then no JSON": (b'{"id":1,"text":zq0secret', ErrorClass.INVALID_JSON, ""),
    "invalid UTF-8 in the text": (b'{"id":"a","text":"\xff"}', ErrorClass.INVALID_UTF8, ""),
    "invalid UTF-8 in a field that is ignored": (b'{"id":"a","text":"x","y":"\xff"}', ErrorClass.INVALID_UTF8, ""),
    "invalid UTF-8 in a key that is ignored": (b'{"id":"a","text":"x","\xff":1}', ErrorClass.INVALID_UTF8, ""),
    "encoded surrogate": (b'{"id":"a","text":"\xed\xa0\x80"}', ErrorClass.INVALID_UTF8, ""),
    "overlong UTF-8": (b'{"id":"a","text":"\xc0\xaf"}', ErrorClass.INVALID_UTF8, ""),
    "not an object": (b'["zq0secret"]', ErrorClass.WRONG_TYPE, ""),
    "null document": (b"null", ErrorClass.WRONG_TYPE, ""),
    "id is a number": (b'{"id":7,"text":"x"}', ErrorClass.WRONG_TYPE, "/id"),
    "id is null": (b'{"id":null,"text":"x"}', ErrorClass.WRONG_TYPE, "/id"),
    "text is a list": (b'{"id":"a","text":["zq0secret"]}', ErrorClass.WRONG_TYPE, "/text"),
    "author is an object": (b'{"id":"a","text":"x","author":{"zq0secret":1}}', ErrorClass.WRONG_TYPE, "/author"),
    "features is a list": (b'{"id":"a","features":[1]}', ErrorClass.WRONG_TYPE, "/features"),
    "a feature is nested": (b'{"id":"a","features":{"zq0secret":{"y":1}}}', ErrorClass.WRONG_TYPE, "/features"),
    "a feature beyond a double": (b'{"id":"a","features":{"x":1e999}}', ErrorClass.WRONG_TYPE, "/features"),
    "no id": (b'{"text":"zq0secret"}', ErrorClass.MISSING_FIELD, "/id"),
    "neither text nor features": (b'{"id":"a","lang":"en"}', ErrorClass.MISSING_FIELD, "/text"),
    "id is empty": (b'{"id":"","text":"x"}', ErrorClass.EMPTY_ID, "/id"),
    "same id twice": (b'{"id":"a","id":"a","text":"x"}', ErrorClass.DUPLICATE_KEY, "/id"),
    "text twice, once null": (b'{"id":"a","text":"x","text":null}', ErrorClass.DUPLICATE_KEY, "/text"),
    "twice by an escape": (rb'{"id":"a","text":"x","\u0069d":"b"}', ErrorClass.DUPLICATE_KEY, "/id"),
    "twice below": (b'{"id":"a","text":"x","y":[{"zq0secret":1,"zq0secret":1}]}', ErrorClass.DUPLICATE_KEY, ""),
    "twice in features": (b'{"id":"a","features":{"n":1,"n":2}}', ErrorClass.DUPLICATE_KEY, ""),
    "twice and a wrong type": (b'{"id":1,"id":"a","text":"x"}', ErrorClass.DUPLICATE_KEY, "/id"),
    "too deep": (b'{"id":"a","text":"x","y":' + b"[" * 40 + b"]" * 40 + b"}", ErrorClass.TOO_DEEP, ""),
    "deep beyond any stack": (b'{"y":' + b'{"y":' * 100_000, ErrorClass.TOO_DEEP, ""),
    "too large": (b'{"id":"a","text":"' + b"x" * 1_048_576 + b'"}', ErrorClass.TOO_LARGE, ""),
    "text too long": (b'{"id":"a","text":"' + b"x" * 20_001 + b'"}', ErrorClass.TEXT_TOO_LONG, "/text"),
}


@pytest.mark.parametrize(("value", "error_class", "field"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_with_its_class_and_field(value: bytes, error_class: ErrorClass, field: str) -> None:
    assert refusal(value) == (error_class, field)


def test_limits_are_inclusive() -> None:
    read = make(max_bytes=40, max_depth=3, max_text_chars=4)
    value = b'{"id":"a","text":"xxxx"}'
    assert read(value + b" " * (40 - len(value))).text == "xxxx"
    assert refusal(value + b" " * (41 - len(value)), read)[0] is ErrorClass.TOO_LARGE
    assert read(b'{"id":"a","text":"x","y":[[1]]}').id == "a"
    assert refusal(b'{"id":"a","text":"x","y":[[[]]]}', read)[0] is ErrorClass.TOO_DEEP
    assert refusal(b'{"id":"a","text":"xxxxx"}', read)[0] is ErrorClass.TEXT_TOO_LONG


def test_the_length_of_a_text_is_counted_in_code_points() -> None:
    read = make(max_text_chars=3)
    assert read('{"id":"a","text":"\U0001f600\u00e9\u00e9"}'.encode()).text == "\U0001f600éé"


def test_brackets_inside_strings_are_no_depth() -> None:
    read = make(max_depth=2)
    assert read(rb'{"id":"a","text":"[[[{{{ \" [[[ \\"}').text == '[[[{{{ " [[[ \\'
    assert read(b'{"id":"a","text":"x","y":[],"z":[],"w":{},"v":{}}').id == "a"


def test_at_the_deepest_setting_no_stack_overflows() -> None:
    read = make(max_depth=500)
    assert read(b'{"id":"a","text":"x","y":' + b"[" * 499 + b"]" * 499 + b"}").id == "a"
    assert refusal(b"[" * 500 + b"]" * 500, read)[0] is ErrorClass.WRONG_TYPE
    assert refusal(b'{"y":' * 500, read)[0] is ErrorClass.INVALID_JSON


HOSTILE = {
    "quotes never closed": b'"' + rb"\"" * 500_000,
    "backslashes": b'"' + b"\\" * 1_000_001,
    "quotes": b'{"id":"a",' + b'"' * 1_000_000,
    "open brackets": b"[" * 1_000_000,
    "pairs of brackets": b"[" + b"[]," * 300_000 + b"[]]",
    "brackets in open strings": b'{"' * 500_000,
    "digits": b'{"id":"a","text":"x","y":' + b"9" * 1_000_000 + b"}",
    "digits in features": b'{"id":"a","features":{"y":' + b"9" * 1_000_000 + b"}}",
    "fraction": b'{"id":"a","features":{"y":0.' + b"9" * 1_000_000 + b"}}",
    "many keys": b'{"id":"a","text":"x"' + b"".join(b',"k%d":0' % n for n in range(70_000)) + b"}",
    "spaces": b" " * 1_000_000 + b"{",
    "escapes": b'{"id":"a","text":"' + rb"\u0022" * 150_000 + b'"}',
    "no key but colons": b":" * 1_000_000,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_megabyte_built_to_be_slow_is_settled_in_linear_time(value: bytes) -> None:
    # No clock here: anything quadratic in a megabyte runs into the time limit of the test by orders of magnitude.
    for read in (decode, make(mapping="ecs")):
        try:
            read(value)
        except Rejected as rejected:
            assert rejected.stage == "decode"  # noqa: PT017 - either outcome is right, an escape is not
