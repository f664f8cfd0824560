"""What hostile inputs are made of: characters, tokens of JSON, and well-formed records to start from."""

import base64
import json
from typing import Any

# Ranges and single characters that Unicode software trips over.
CHARACTERS = (
    "\x00\x01\x07\x1b\x7f\x85\xa0\xad\u0130\u0131\u017f\u1e9e\u0149\u1f50ßﬃ"  # controls, folding that lengthens
    "\u0301\u0323\u0345\u05b0\u0591\u0f73\u0f71\u3099\uff9e\u0488\u20dd\ufe20"  # marks of many classes
    "\u200b\u200d\u200e\u202a\u202e\u2066\u2069\ufeff\u2060\u180e\U000e0041\ufe0f\U000e0100"  # invisible, bidi, tags
    "\ufdfa\u3300\u33ff\u2100\u00bd\u1d2c\U0001d400\U0001f100\uff21\u2460"  # what NFKC expands and folds
    "\uac00\u1100\u1161\u11a8\u1160\u3164\uffa0"  # Hangul syllables and fillers
    "\ud7ff\ue000\uf8ff\ufdd0\ufffe\uffff\U0001fffe\U0010ffff"  # borders, private use, noncharacters
    "аеорсухіΑΒΕԁ\u13aa\ua4d0"  # look-alikes
    "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪1️⃣"  # sequences
    "\u0600\u06dd\u0950\u0e33\u0f0c\u17b4\u1885\u2028\u2029\u115f"
)

# Pieces that change what a JSON parser sees.
TOKENS = [
    *(
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"\x00",
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ),
    *(
        rb"\ud800",
        rb"\udc00",
        rb"\ud83d\ude00",
        rb"\u0000",
        rb"\u0022",
        rb"\u005c",
        rb"\uD8",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"\xe2\x80\xae",
    ),
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0", b"01", b"1e-999", b"9" * 40, b"0." + b"0" * 40 + b"1"),
    *(b'"id":"x",', b'"text":"y",', b'"id":null,', b'"features":{},', b'"features":{"a":[1]},', b'"text":{"a":1},'),
    *(
        b'"i\\u0064":"z",',
        b'"data":',
        b'"data_base64":"//8=",',
        b'"specversion":"1.0",',
        b"[" * 40,
        b'{"a":' * 40,
        b"/*",
        b"//",
    ),
    *(b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b" " * 64, b"\n", b"\t", b"\r"),
]

_TEXT = "the train leaves at ten from platform three"


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


_EVENT = {
    "id": "a-1",
    "text": _TEXT,
    "lang": "de",
    "channel": "c",
    "tenant": "t",
    "author": "u",
    "time": "2026-01-01T00:00:00Z",
}
NATIVE = [
    _json({"id": "a-1", "text": _TEXT}),
    _json(_EVENT),
    _json({**_EVENT, "features": {"n": 1, "f": -2.5e-7, "s": "word", "b": True, "z": None}}),
    _json({"id": "a", "features": {"n": 1}}),
    _json({"id": "ü", "text": 'quoted "twice" \\ and \u202e turned', "unknown": [1, {"a": [None]}]}),
    json.dumps({"id": "é", "text": "Grüße 😀 \u0301\u0323"}).encode(),
]
OSPREY = [
    _json(
        {
            "send_time": "2026-01-01T00:00:00Z",
            "data": {"action_id": 7, "action_name": "post", "data": {"text": _TEXT, "user_id": 1.5}},
        }
    ),
    _json({"send_time": None, "data": {"action_id": "7", "data": {"post": {"text": _TEXT}, "user": {"id": "u"}}}}),
]
ECS = [
    _json(
        {
            "@timestamp": "2026-01-01T00:00:00Z",
            "event": {"id": "e", "dataset": "d"},
            "message": _TEXT,
            "url": {"original": "http://a/b"},
        }
    ),
    _json({"message": _TEXT, "process.command_line": "a -b", "user.name": "n", "host.id": 5}),
]
OCSF = [
    _json(
        {
            "metadata": {"uid": "m", "version": "1.1.0"},
            "time": 1767225600000,
            "message": _TEXT,
            "severity_id": 3,
            "class_uid": 1007,
        }
    ),
    _json({"time": 1e300, "message": _TEXT}),
]
RAW = [_TEXT.encode(), b"", b"\xff", "Grüße 😀".encode()]
# Read by joined.yaml.
JOINED_RECORDS = [
    _json({"a": "x", "b": 5, "list": ["p", 1, None, True, 2.5], "t": _TEXT, "n": 1e9, "f": {"g": 1}}),
    _json({"b": {"c": ["q"]}, "list": [], "text": "y", "n": 10**30, "f": None}),
    _json({"a": "x", "list": ["p"] * 300, "n": -1e18}),
]
CLOUD_EVENT = {"specversion": "1.0", "id": "ce", "source": "/s", "type": "t"}
STRUCTURED = [
    _json({**CLOUD_EVENT, "data": {"text": _TEXT}, "time": "2026-01-01T00:00:00Z", "partitionkey": "k"}),
    _json({**CLOUD_EVENT, "datacontenttype": "text/plain", "data": _TEXT}),
    _json({**CLOUD_EVENT, "data_base64": base64.b64encode(_json({"id": "x", "text": _TEXT})).decode()}),
    _json({**CLOUD_EVENT, "data": {"id": 5}, "data_base64": "!"}),
]
