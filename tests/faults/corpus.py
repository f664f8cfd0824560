"""Made-up input as a pure function of (seed, ordinal): the writer makes a record, the checker knows what it was."""

import json
import random
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

POOL = 1_024  # distinct texts: few enough to score them all beforehand
ENTITIES = 300
NO_KEY = ENTITIES  # code of a record without a key
LANGS = ("de", "en", "fr", None)
_WORDS = [
    "river",
    "stone",
    "lamp",
    "green",
    "seven",
    "quick",
    "bread",
    "window",
    "orange",
    "paper",
    "cloud",
    "silver",
    "garden",
    "music",
    "winter",
]

HOLE, EVENT, BAD, TOMBSTONE = range(4)
"""Kind of an input position; a hole is a transaction marker or an aborted record."""

_BAD_EVERY = 200  # well below the limit that stops a worker for dead letters
_TOMBSTONE_EVERY = 300

Record = tuple[bytes | None, bytes | None]


@dataclass(frozen=True)
class Facts:
    """Of some ordinals, as columns: index into the texts, entity (`NO_KEY`: none), index into `LANGS`, kind."""

    text: NDArray[np.int64]
    entity: NDArray[np.int64]
    lang: NDArray[np.int64]
    kind: NDArray[np.int64]


class Corpus:
    """All records there could be under one seed."""

    def __init__(self, seed: int) -> None:
        choose = random.Random(seed)
        self._salt = np.uint64(choose.getrandbits(63))
        self.texts = [" ".join(choose.choices(_WORDS, k=choose.randint(1, 30))) for _ in range(POOL)]
        self.keys: list[bytes | None] = [*(f"entity-{i}".encode() for i in range(ENTITIES)), None]
        self._tails = [[_tail(text, lang) for lang in LANGS] for text in self.texts]

    def facts(self, ordinals: NDArray[np.int64]) -> Facts:
        """What the records with these ordinals are."""
        bits = _mix(ordinals.astype(np.uint64) ^ self._salt)
        entity = (bits >> np.uint64(10)).astype(np.int64) % ENTITIES
        entity[(bits >> np.uint64(40)).astype(np.int64) % 50 == 0] = NO_KEY
        kind = np.full(len(ordinals), EVENT)
        kind[ordinals % _BAD_EVERY == _BAD_EVERY - 1] = BAD
        kind[ordinals % _TOMBSTONE_EVERY == _TOMBSTONE_EVERY - 1] = TOMBSTONE
        text = (bits % np.uint64(POOL)).astype(np.int64)
        return Facts(text, entity, ((bits >> np.uint64(32)) % np.uint64(4)).astype(np.int64), kind)

    def records(self, ordinals: NDArray[np.int64]) -> list[Record]:
        """Key and value of each; a tombstone has no value that could carry its ordinal."""
        facts = self.facts(ordinals)
        columns = zip(
            ordinals.tolist(),
            facts.text.tolist(),
            facts.entity.tolist(),
            facts.lang.tolist(),
            facts.kind.tolist(),
            strict=True,
        )
        return [(self.keys[entity], self._value(n, text, lang, kind)) for n, text, entity, lang, kind in columns]

    def _value(self, ordinal: int, text: int, lang: int, kind: int) -> bytes | None:
        if kind == TOMBSTONE:
            return None
        if kind == BAD:
            return b'{"id":"%d","text":7}' % ordinal
        return b'{"id":"%d",' % ordinal + self._tails[text][lang]


def ordinal_of(value: bytes) -> int:
    """The ordinal of a record that `Corpus.records` made, tombstones excepted."""
    return int(value[7 : value.index(b'"', 7)])


def checksum(key: bytes | None, value: bytes | None) -> int:
    """Of what should pass unchanged."""
    return crc32(repr((key, value)).encode())


def _tail(text: str, lang: str | None) -> bytes:
    event = {"text": text} | ({"lang": lang} if lang else {})
    return json.dumps(event).encode()[1:]


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's finaliser: neighbouring ordinals have nothing in common."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
