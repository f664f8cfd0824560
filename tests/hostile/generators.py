"""Sources of hostile batches. Each is a function of a random generator alone, so a batch is named by its seed."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import alphabet, bombs, dearest
from .subject import Attack, Headers, Setup

BATCH = 512
Make = Callable[[random.Random], list[Attack]]


@dataclass(frozen=True)
class Generator:
    """A source of batches.

    Attributes:
        name: in the report.
        setup: of the tagger it attacks.
        share: of the batches, relative.
        make: one batch.
    """

    name: str
    setup: str
    share: int
    make: Make


def mutated(choose: random.Random, whole: bytes, others: Sequence[bytes]) -> bytes:
    """``whole`` with one to four changes: tokens put in, bytes flipped, stretches dropped, doubled or borrowed."""
    for _ in range(choose.choice((1, 1, 1, 2, 2, 4))):
        at = int(choose.random() * (len(whole) + 1))
        to = at + int(choose.random() * choose.choice((2, 8, 64)))
        kind = choose.random()
        if kind < 0.45:
            whole = whole[:at] + choose.choice(alphabet.TOKENS) + whole[at:]
        elif kind < 0.6:
            whole = whole[:at] + bytes((int(choose.random() * 256),)) + whole[at + 1 :]
        elif kind < 0.75:
            whole = whole[:at] + whole[to:]
        elif kind < 0.85:
            whole = whole[:to] + whole[at:]
        else:
            other = choose.choice(others)
            whole = whole[:at] + other[int(choose.random() * len(other)) :]
    return whole


def _mutants(corpus: Sequence[bytes], headers: Sequence[Headers | None] = (None,)) -> Make:
    def make(choose: random.Random) -> list[Attack]:
        return [
            Attack(mutated(choose, choose.choice(corpus), corpus), b"k", headers=choose.choice(headers))
            for _ in range(BATCH)
        ]

    return make


def noise(choose: random.Random) -> list[Attack]:
    """Bytes without any order, and tombstones."""
    found = [Attack(choose.randbytes(int(choose.random() ** 3 * 200))) for _ in range(BATCH)]
    found[0] = Attack(None, b"k")
    return found


def _quoted(text: str) -> bytes:
    """As a JSON string, only what must be escaped."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    for control in set(text) & _CONTROLS:
        text = text.replace(control, f"\\u{ord(control):04x}")
    return b'"' + text.encode("utf-8", "surrogatepass") + b'"'


_CONTROLS = {chr(code) for code in range(32)}


def unicode_texts(choose: random.Random) -> list[Attack]:
    """Well-formed events: texts, ids and segments of characters that Unicode software trips over."""
    few = choose.choices(alphabet.CHARACTERS, k=6)
    found = []
    for i in range(BATCH):
        letters = few if i % 2 else alphabet.CHARACTERS
        text = "".join(choose.choices(letters, k=int(choose.random() ** 4 * 400)))
        if not i % 8:
            text += chr(choose.choice((0xD800, 0xDFFF, int(choose.random() * 0x110000))))
        name = _quoted(text[:9] or "a")
        found.append(
            Attack(
                b'{"id":' + name + b',"lang":' + name + b',"text":' + _quoted(text) + b"}",
                text.encode("utf-8", "replace"),
            )
        )
    return found


_HEADER_NAMES = [
    "content-type",
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    "ce_partitionkey",
    "ce_x",
    "traceparent",
    "tracestate",
    "streamtag.dlq.error.class",
    "streamtag.dlq.offset",
    "",
    "ü",
]
_HEADER_VALUES = [
    None,
    *(b"", b"1.0", b"0.3", b"a", b"\xff", b"application/cloudevents+json", b"application/cloudevents-batch+json"),
    *(
        b"application/cloudevents+json; charset=latin-1",
        b"text/plain",
        b"application/json",
        b"application/avro",
        b";" * 300,
    ),
    *(
        b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
        b"00-" + b"0" * 32 + b"-" + b"b" * 16 + b"-01",
        b"cc-" + b"a" * 32,
    ),
    *(b"a=1,b=2", b"a=1,a=1", b"," * 500, b"a=" + b"\x01", b"k@v=" + b"x" * 256, b"x" * 600),
]


def headers(choose: random.Random) -> list[Attack]:
    """Headers that mean something, repeated, missing, empty, absent, wrong; on values of every form."""
    values = [*alphabet.NATIVE, *alphabet.STRUCTURED, b""]
    binary: Headers = [(f"ce_{name}", content.encode()) for name, content in alphabet.CLOUD_EVENT.items()]
    found = []
    for _ in range(BATCH):
        some = [
            (choose.choice(_HEADER_NAMES), choose.choice(_HEADER_VALUES)) for _ in range(int(choose.random() ** 2 * 8))
        ]
        found.append(Attack(choose.choice(values), b"", [*binary, *some] if choose.random() < 0.5 else some))
    return found


def timestamps(choose: random.Random) -> list[Attack]:
    """Record timestamps of every kind: absent, negative, far off, of every pane of the last days."""
    now = time.time_ns() // 1_000_000
    odd = [(0, 0), (0, -1), (1, -1), (1, 0), (1, 2**63 - 1), (1, -(2**63)), (2, now), (1, 2**62), (1, 253402300800000)]
    days_ms = 7 * 86_400_000
    value = alphabet.NATIVE[0]
    return [
        Attack(
            value,
            None,
            None,
            choose.choice(odd) if choose.random() < 0.3 else (1, now - int(choose.random() * days_ms)),
        )
        for _ in range(BATCH)
    ]


def _dearest(setup: str) -> Make:
    def make(choose: random.Random) -> list[Attack]:
        return choose.sample([dear.attack for dear in dearest.known() if dear.setup == setup], k=4)

    return make


STRUCTURED_HEADERS: list[Headers | None] = [
    [("content-type", b"application/cloudevents+json")],
    [("content-type", b"application/cloudevents+json; charset=utf-8")],
]

SETUPS = [
    Setup("native", {}),
    Setup("osprey", {"events.mapping": "osprey"}),
    Setup("ecs", {"events.mapping": "ecs"}),
    Setup("ocsf", {"events.mapping": "ocsf"}),
    Setup("raw", {"events.mapping": "raw"}),
    Setup("joined", {"events.mapping": str(Path(__file__).with_name("joined.yaml"))}),
    Setup("tight", {"events.max_depth": "3", "events.max_text_chars": "20", "dead_letters.max_bytes": "4096"}),
    Setup("wide", {}, "wide"),
]

GENERATORS = [
    Generator("noise", "native", 4, noise),
    Generator("native_mutants", "native", 40, _mutants(alphabet.NATIVE)),
    Generator("tight_mutants", "tight", 8, _mutants(alphabet.NATIVE)),
    Generator("unicode", "native", 16, unicode_texts),
    Generator("cloudevents_mutants", "native", 10, _mutants(alphabet.STRUCTURED, STRUCTURED_HEADERS)),
    Generator("headers", "native", 8, headers),
    Generator("tight_headers", "tight", 2, headers),
    Generator("timestamps", "native", 4, timestamps),
    Generator("osprey_mutants", "osprey", 4, _mutants(alphabet.OSPREY)),
    Generator("ecs_mutants", "ecs", 4, _mutants(alphabet.ECS)),
    Generator("ocsf_mutants", "ocsf", 4, _mutants(alphabet.OCSF)),
    Generator("joined_mutants", "joined", 4, _mutants(alphabet.JOINED_RECORDS)),
    Generator("raw_mutants", "raw", 4, _mutants([*alphabet.RAW, *alphabet.NATIVE])),
    Generator("raw_unicode", "raw", 2, unicode_texts),
    Generator("wide_mutants", "wide", 3, _mutants(alphabet.NATIVE)),
    Generator("wide_unicode", "wide", 3, unicode_texts),
    Generator("wide_timestamps", "wide", 1, timestamps),
    Generator("bombs", "native", 3, bombs.native),
    Generator("mapped_bombs", "joined", 2, bombs.mapped),
    Generator("dearest", "native", 2, _dearest("native")),
    Generator("mapped_dearest", "joined", 1, _dearest("joined")),
]
