"""Spellings by which people get past a filter, for training and for measuring: the same words to a reader's eye.

Deterministic: a text, a kind and a seed give one result. Only words of four letters and more are changed, a share of
them, since those who hide a word leave the small ones alone.
"""

import hashlib
import random
import re
from collections.abc import Callable, Mapping

_WORD = re.compile(r"[A-Za-z]{4,}")
_LEET = {"a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "t": "7", "b": "8", "g": "9", "l": "1"}
_HOMOGLYPHS = {"a": "а", "c": "с", "e": "е", "i": "і", "j": "ј", "o": "о", "p": "р", "s": "ѕ", "x": "х", "y": "у"}
_INVISIBLE = ("\u200b", "\u200c", "\u200d", "\u2060", "\u00ad")
_SPACERS = (" ", ".", "-", "_", "*")
_EMOJI = ("🔥", "😀", "🎉", "👀", "✨", "🙃")


def obfuscate(text: str, kind: str, *, seed: str, share: float = 0.5) -> str:
    """``text`` with a share of its words disguised.

    Args:
        text: any.
        kind: one of `KINDS`.
        seed: names the draw.
        share: of words to disguise, 0 … 1; the first candidate always is, so that no text stays as it was for luck.
    """
    digest = hashlib.sha256(f"{kind}\0{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()
    draw = random.Random(int.from_bytes(digest[:8], "big"))  # noqa: S311 - no secret
    change = KINDS[kind]
    first = True

    def disguise(word: re.Match[str]) -> str:
        nonlocal first
        chosen, first = first or draw.random() < share, False
        return change(word[0], draw) if chosen else word[0]

    return _WORD.sub(disguise, text)


def _leet(word: str, draw: random.Random) -> str:
    return "".join(draw.choice(_LEET[c.lower()]) if c.lower() in _LEET else c for c in word)


def _homoglyphs(word: str, draw: random.Random) -> str:
    return "".join(_HOMOGLYPHS.get(c, c) if draw.random() < 0.7 else c for c in word)


def _zero_width(word: str, draw: random.Random) -> str:
    return "".join(c + (draw.choice(_INVISIBLE) if draw.random() < 0.5 else "") for c in word[:-1]) + word[-1]


def _spacing(word: str, draw: random.Random) -> str:
    return draw.choice(_SPACERS).join(word)


def _emoji(word: str, draw: random.Random) -> str:
    cut = draw.randrange(1, len(word))
    return word[:cut] + draw.choice(_EMOJI) + word[cut:]


def _repeats(word: str, draw: random.Random) -> str:
    at = draw.randrange(len(word))
    return word[:at] + word[at] * draw.randrange(2, 4) + word[at:]


KINDS: Mapping[str, Callable[[str, random.Random], str]] = {
    "leet": _leet,
    "homoglyphs": _homoglyphs,
    "zero_width": _zero_width,
    "spacing": _spacing,
    "emoji": _emoji,
    "repeats": _repeats,
}
"""Kind → what it does to a word."""
