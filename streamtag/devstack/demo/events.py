"""Made-up content events: the same seed gives the same records, on any machine."""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from streamtag.devstack.demo.texts import SLOTS, TEMPLATES

__all__ = ["BROKEN_SHARE", "EventSource", "Record", "sample_texts"]

BROKEN_SHARE = 0.005
"""Share of records that no decoder accepts: enough for dead letters to be seen, far from the dead-letter limit."""

_SLOT = re.compile(r"\{([a-z]+)(\d?)\}")
_CALM, _GRUMBLING = tuple(kind for kind in TEMPLATES if kind != "grumbles"), "grumbles"
_GRUMBLING_SHARE, _IN_A_SPIKE = 0.2, 0.7
_SECOND_SENTENCE = 0.25
_TEXT_STREAM = 7_919
_CHANNELS = {"chat": "lounge", "football": "football", "kitchen": "kitchen", "market": "market"}


@dataclass(frozen=True)
class Record:
    """One record of the content topic; ``broken`` ones are meant to become dead letters."""

    key: bytes
    value: bytes
    broken: bool = False


class EventSource:
    """An endless stream of records with ids ``demo-000001`` and so on, keyed by author.

    Args:
        seed: chooses all that is random.

    Attributes:
        spike: while true, most events grumble: harmless still, but they score higher.

    Example:
        >>> source = EventSource(seed=1)
        >>> first = next(source)
        >>> first == next(EventSource(seed=1))
        True
    """

    def __init__(self, seed: int) -> None:
        # not a secret: the same seed must give the same events
        self._random = random.Random(seed)  # noqa: S311
        self._made = 0
        self.spike = False

    def __iter__(self) -> Iterator[Record]:
        return self

    def __next__(self) -> Record:
        self._made += 1
        number = f"demo-{self._made:06}"
        author = self._random.choice(SLOTS["name"]).lower()
        if self._random.random() < BROKEN_SHARE:
            return Record(author.encode(), _broken(self._random, number), broken=True)
        text, kind = _text(self._random, _IN_A_SPIKE if self.spike else _GRUMBLING_SHARE)
        channel = _CHANNELS.get(kind) or self._random.choice(tuple(_CHANNELS.values()))
        event = {"id": number, "text": text, "lang": "en", "author": author, "channel": channel}
        return Record(author.encode(), json.dumps(event).encode())


def sample_texts(seed: int, count: int, *, spike: bool = False) -> list[str]:
    """Texts as `EventSource` makes them, from a stream of their own."""
    source = random.Random(seed + _TEXT_STREAM)  # noqa: S311 - as above
    share = _IN_A_SPIKE if spike else _GRUMBLING_SHARE
    return [_text(source, share)[0] for _ in range(count)]


def _text(source: random.Random, grumbling: float) -> tuple[str, str]:
    """A text, and the kind of its first sentence."""
    kind = _GRUMBLING if source.random() < grumbling else source.choice(_CALM)
    text = _sentence(source, kind)
    if source.random() < _SECOND_SENTENCE:
        text += " " + _sentence(source, source.choice(_CALM))
    return text, kind


def _sentence(source: random.Random, kind: str) -> str:
    """One template with its slots filled; ``{team}`` and ``{team2}`` of one sentence differ."""
    used: set[str] = set()

    def fill(found: re.Match[str]) -> str:
        word = source.choice([word for word in SLOTS[found[1]] if word not in used])
        used.add(word)
        return word

    filled = _SLOT.sub(fill, source.choice(TEMPLATES[kind]))
    return filled[0].upper() + filled[1:]


def _broken(source: random.Random, number: str) -> bytes:
    """A record that cannot be decoded, each kind for another reason."""
    return source.choice(
        (
            f'{{"id": "{number}", "text": "this record ends too ea'.encode(),
            b'{"text": "this record has no id"}',
            f'{{"id": "{number}", "text": 42}}'.encode(),
            f'{{"id": "{number}", "text": "Gr'.encode() + b"\xfc\xdf" + b'e in another encoding"}',
        )
    )
