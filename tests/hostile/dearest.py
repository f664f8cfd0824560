"""The dearest records known: what the default limits just let through, and what costs most to refuse."""

import base64
import json
from functools import cache
from typing import NamedTuple

from streamtag.settings import EventsSettings

from . import alphabet
from .subject import Attack, Headers

LIMITS = EventsSettings()  # type: ignore[call-arg]
MAX_HEADERS = 100_000
"""librdkafka reads no more of a record; one that has more comes without any."""
_ROOM = LIMITS.max_bytes - 1_000  # for the rest of the record
_MANY = LIMITS.max_values - 50
_STRUCTURED: Headers = [("content-type", b"application/cloudevents+json")]
_BINARY: Headers = [(f"ce_{name}", content.encode()) for name, content in alphabet.CLOUD_EVENT.items()]
_PARENT = ("traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")


class Dear(NamedTuple):
    """One record, and how the tagger is set up that it is sent to (`generators.SETUPS`)."""

    name: str
    setup: str
    attack: Attack


@cache
def known() -> list[Dear]:
    """All of them: some fifty megabytes."""
    found = [Dear(name, "native", Attack(value, b"k")) for name, value in _native().items()]
    found += [Dear(name, "joined", Attack(value, b"k")) for name, value in _mapped().items()]
    return [*found, *(Dear(name, "native", attack) for name, attack in _with_headers().items())]


def _event(body: bytes) -> bytes:
    return b'{"id": "a", "text": "b", ' + body + b"}"


def _filled(item: bytes) -> bytes:
    """As many items as values are allowed, as long as bytes are allowed; ``%d`` becomes digits."""
    room = _ROOM // _MANY - len(item)
    return b",".join(item.replace(b"%d", b"%0*d" % (room, i)) for i in range(_MANY))


def _native() -> dict[str, bytes]:
    text = LIMITS.max_text_chars
    return {
        "distinct keys": _event(_filled(b'"%d":1')),
        "long numbers": _event(b'"x": [' + _filled(b"1%d") + b"]"),
        "long fractions": _event(b'"x": [' + _filled(b"0.1%d") + b"]"),
        "strings": _event(b'"x": [' + _filled(b'"%d"') + b"]"),
        "empty lists, a long string": _event(
            b'"x": [' + b"[]," * (_MANY // 2) + b'"' + rb"\u00e9" * ((_ROOM - _MANY * 2) // 6) + b'"]'
        ),
        "objects 32 deep": _event(b'"x": [' + b",".join([b'{"a":' * 30 + b"1" + b"}" * 30] * (_MANY // 31)) + b"]"),
        "features": b'{"id": "a", "features": {' + _filled(b'"%d":1') + b"}}",
        "the same key at the end": _event(_filled(b'"%d":1') + b', "text": "c"'),
        "a wrong type at the end": _event(_filled(b'"%d":1') + b', "lang": 1'),
        "no JSON at the end": _event(_filled(b'"%d":1') + b", NaN"),
        "escaped quotes": _event(b'"x": "' + rb"\"" * (_ROOM // 2) + b'"'),
        "too many strings": _event(b'"x": [' + b'"",' * (_ROOM // 3) + b'""]'),
        "too many strings with escapes": _event(b'"x": [' + rb'"\"",' * (_ROOM // 5) + b'""]'),
        "too many lists": _event(b'"x": [' + b"[]," * (_ROOM // 3) + b"1]"),
        "too deep": b"[" * _ROOM,
        "not UTF-8 at the end": _event(b'"x": "' + "é".encode() * (_ROOM // 2) + b'\xff"'),
        "text: U+FDFA": json.dumps({"id": "a", "text": "\ufdfa" * text}, ensure_ascii=False).encode(),
        "text: marks out of order": json.dumps({"id": "a", "text": "\u0591\u05b1\u05b0" * (text // 3)}).encode(),
        "text: distinct words": json.dumps(
            {"id": "a", "text": "".join(chr(0x20000 + i) for i in range(text))}, ensure_ascii=False
        ).encode(),
        "text: too long": json.dumps({"id": "a", "text": "\x01" * (_ROOM // 6)}).encode(),
        "too large": _event(b'"x": "' + b"x" * 4 * _ROOM + b'"'),
    }


def _mapped() -> dict[str, bytes]:
    def joined(items: bytes) -> bytes:
        return b'{"a": "x", "list": [' + items + b"]}"

    return {
        "joined numbers": joined(_filled(b"1%d")),
        "joined short numbers": joined(b",".join([b"1"] * _MANY)),
        "joined fractions": joined(_filled(b"0.1%d")),
        "joined strings": joined(_filled(b'"%d"')),
        "joined numbers of 300 digits": joined(b",".join([b"7" * 300] * (_ROOM // 301))),
        "joined numbers of 4,200 digits": joined(b",".join([b"7" * 4_200] * (_ROOM // 4_201))),
        "a long string, joined": joined(b'"' + "\ufdfa".encode() * (_ROOM // 3) + b'"'),
        "mapped features": b'{"a": "x", "t": "y", "f": {' + _filled(b'"%d":1') + b"}}",
    }


def _with_headers() -> dict[str, Attack]:
    good, bad = b'{"id": "a", "text": "b"}', b"broken"
    envelope = json.dumps(alphabet.CLOUD_EVENT)[:-1].encode()
    inner = base64.b64encode(_event(b'"x": [' + b"1," * _MANY + b"1]" + b" " * (_ROOM * 3 // 4 - 3 * _MANY)))
    return {
        "headers": Attack(good, b"k", [("h", b"")] * MAX_HEADERS),
        "headers of a dead letter": Attack(bad, b"k", [("h", b"")] * MAX_HEADERS),
        "headers of a CloudEvent": Attack(good, b"k", [*_BINARY, *((f"ce_{i}", b"") for i in range(MAX_HEADERS - 4))]),
        "headers with trace state": Attack(good, b"k", [_PARENT, *[("tracestate", b"a=1")] * (MAX_HEADERS - 1)]),
        "a long trace state": Attack(good, b"k", [_PARENT, ("tracestate", b"a=1," * (_ROOM // 4))]),
        "a long content type": Attack(good, b"k", [*_BINARY, ("content-type", b"text/plain" + b"; " * (_ROOM // 2))]),
        "CloudEvent, many values": Attack(
            envelope + b', "data": ' + _event(_filled(b'"%d":1')) + b"}", b"k", _STRUCTURED
        ),
        "CloudEvent, many values in base64": Attack(
            envelope + b', "data_base64": "' + inner + b'"}', b"k", _STRUCTURED
        ),
    }
