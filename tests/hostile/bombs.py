"""Few and large: inputs made to cost time or memory out of proportion. Up to 4 MB, above the limit of 1 MiB."""

import base64
import gzip
import json
import random

from . import alphabet
from .subject import Attack, Headers

_SIZES = (1_000, 10_000, 100_000, 1_000_000, 1_048_000, 4_000_000)
_MOST_MARKS = [
    "\u0301",
    "\u0301\u0323",
    "\u0591\u05b1\u05b0",
    "\u0f73",
    "\uff9e\u0300",
    "\u0344",
    "a\u0301\u0323\u0345",
]


def _event(text: str | bytes, **fields: object) -> bytes:
    if isinstance(text, str):
        text = json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return json.dumps({"id": "a", **fields})[:-1].encode() + b', "text": ' + text + b"}"


def _texts(choose: random.Random, n: int) -> list[bytes]:
    """Events whose text holds about ``n`` bytes, and as many as the limit on texts lets through."""
    marks = choose.choice(_MOST_MARKS)
    strange = "".join(choose.choices(alphabet.CHARACTERS, k=min(n, 20_000) // 4))
    rare = "".join(chr(0x20000 + int(choose.random() * 0xA000)) for _ in range(min(n, 20_000)))
    words = ["\ufdfa", marks, "\u202e", "\u200b", "\U000e0041", "A", "\u0130", "ﷺ a", "\x7f", "é", "\u1100\u1161"]
    found = [_event((word * n)[:length]) for word in words for length in (n // 3, min(n, 20_000))]
    escaped = b'"' + choose.choice([rb"\u0301", rb"\\", rb"\"", rb"\ud83d\ude00", rb"\u0000"]) * (n // 6) + b'"'
    return [*found, _event(strange), _event(rare), _event(escaped)]


def _documents(choose: random.Random, n: int) -> list[bytes]:
    """Deep, wide, long, unfinished and repeated JSON of about ``n`` bytes."""
    wide = b",".join(b'"k%d":%d' % (i, i) for i in range(n // 12))
    same = b",".join([b'"k":1'] * (n // 6))
    digits = choose.choice([b"9" * n, b"0." + b"3" * n, b"1e" + b"9" * n, b"-" + b"1" * n + b".5e-300", b"0" * n])
    return [
        *(
            opening * (n // len(opening))
            for opening in (b"[", b"{", b'{"a":', b"[[],", b'"', b"\\", b'"\\', b"[{", b"]", b" ")
        ),
        *(_event("x")[:-1] + b', "a": ' + b"[" * k + b"]" * k + b"}" for k in (31, 32, 500, n // 2)),
        *(b"{" + body + b', "id": "a", "text": "b"}' for body in (wide, same, b'"text":"' + b"y" * n + b'"')),
        *(b'{"id": "a", "features": {' + body + b"}}" for body in (wide, same, b'"n":' + digits)),
        _event("x")[:-1] + b', "unknown": ' + digits + b"}",
        _event("x")[:-1] + b', "unknown": [' + b"1," * (n // 2) + b"1]}",
        _event("x", **{"k" * n: 1}),
        *(_event("x", **{name: "y" * n}) for name in ("id", "lang", "tenant", "channel", "author", "time", "key")),
        _event("x") + b" " * n,
        _event("x" * (n // 2))[:-2],
        gzip.compress(_event("x" * n), 1),
        b"\x00" * n,
        choose.randbytes(n),
        b'{"id": "a", "text": "' + b"\xff" * n + b'"}',
        _event("".join(f'"{i}' for i in range(n // 8))),
    ]


def _headers(choose: random.Random, n: int) -> list[Attack]:
    """Records whose headers or keys hold about ``n`` bytes."""
    binary: Headers = [(f"ce_{name}", content.encode()) for name, content in alphabet.CLOUD_EVENT.items()]
    parent = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
    value = alphabet.NATIVE[1]
    structured: Headers = [("content-type", b"application/cloudevents+json")]
    envelope = json.dumps(alphabet.CLOUD_EVENT)[:-1].encode()
    return [
        Attack(value, None, [(f"h{i}", b"x") for i in range(min(10_000, n // 2))]),
        Attack(b"broken", None, [(f"h{i}", b"x" * 20) for i in range(min(10_000, n // 20))]),
        Attack(value, None, [("h", b"x" * n)]),
        Attack(b"broken", None, [("h" * min(n, 30_000), b"x" * n), ("small", b"1")]),
        Attack(value, None, binary + [(f"ce_x{i}", b"y") for i in range(min(10_000, n // 3))]),
        Attack(value, None, binary * min(1_000, n // 60)),
        Attack(value, None, [("ce_id", b"\x01" * n), *(pair for pair in binary if pair[0] != "ce_id")]),
        Attack(
            value,
            None,
            [*binary, ("content-type", b"text/plain" + choose.choice([b";", b" ", b"; charset", b";\t"]) * n)],
        ),
        Attack(value, None, [("traceparent", parent), *[("tracestate", b"a=1")] * min(10_000, n // 10)]),
        Attack(value, None, [("traceparent", parent), ("tracestate", b"a=1," * (n // 4))]),
        Attack(value, None, [("traceparent", parent + b"-" + b"x" * n)]),
        Attack(value, b"k" * n),
        Attack(None, b"k" * n),
        Attack(b"broken", b"k" * n),
        Attack(envelope + b', "data_base64": "' + b"A" * n + b'"}', None, structured),
        Attack(envelope + b', "data_base64": "' + base64.b64encode(_event("x" * (n // 2))) + b'"}', None, structured),
        Attack(envelope + b', "data": ' + b"[" * n + b"]" * n + b"}", None, structured),
        Attack(envelope + b', "data": ' + _event("\u0301\u0323" * (n // 4)) + b"}", None, structured),
        Attack(envelope + b', "x": "' + b"y" * n + b'", "data": {"text": "t"}}', None, structured),
    ]


def native(choose: random.Random) -> list[Attack]:
    """A few of them, of one size, between ordinary neighbours."""
    n = choose.choice(_SIZES)
    kind = choose.random()
    if kind < 0.34:
        found = [Attack(value, b"k") for value in _texts(choose, n)]
    elif kind < 0.67:
        found = [Attack(value, b"k") for value in _documents(choose, n)]
    else:
        found = _headers(choose, n)
    return [*choose.sample(found, k=min(6, len(found))), *(Attack(value, b"k") for value in alphabet.NATIVE)]


def mapped(choose: random.Random) -> list[Attack]:
    """Values that a mapping joins, converts and looks for, in bulk."""
    n = choose.choice(_SIZES)
    digits = b"7" * choose.choice([300, 309, 4_000, 5_000, n])
    found = [
        b'{"list": [' + b'"\xef\xb7\xba",' * (n // 6) + b'"x"], "n": 5}',
        b'{"list": [' + b"1," * (n // 2) + b"1]}",
        b'{"a": "x", "list": [' + b"[]," * (n // 3) + b"1]}",
        b'{"a": ' + digits + b', "list": ["x"]}',
        b'{"a": "x", "t": "y", "n": ' + digits + b"}",
        b'{"a": "x", "t": "y", "n": -1e308}',
        b'{"a": "x", "t": "y", "f": {' + b",".join(b'"%d": 1' % i for i in range(n // 8)) + b"}}",
        b'{"a": "x", "t": "y", "f": {"g": {}}}',
        b'{"b": {"c": ' + b"[" * 25 + b"]" * 25 + b'}, "t": "y"}',
        b'{"a": "x", "t": "' + "\u0591\u05b1\u05b0".encode() * (n // 6) + b'"}',
    ]
    return [Attack(value, b"k") for value in (*choose.sample(found, k=5), *alphabet.JOINED_RECORDS)]
