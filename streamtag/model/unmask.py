"""Words spelled apart, drawn out or cut by an emoji, in their plain spelling: a step of ``hashed-ngrams/2``.

``i d i o t``, ``i.d.i.o.t``, ``idiooooot`` and ``idi🔥ot`` become ``idiot``. The patterns are part of the contract.
Texts that have nothing of the kind are told by a few passes over all bytes of a batch; only the others are rewritten.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["unmask", "unmask_all"]

_SEPARATORS = r"\x00-\x20._*\-~+,/|:;=^#'\""
# Three signs or more, one at a time, always with the same one or two separators between them, and no word beside them.
_APART = re.compile(
    rf"(?<![A-Za-z0-9@$!'\x80-\U0010ffff])"
    rf"[A-Za-z0-9@$!]([{_SEPARATORS}]{{1,3}})[A-Za-z0-9@$!](?:\1[A-Za-z0-9@$!])+"
    rf"(?![A-Za-z0-9@$\x80-\U0010ffff])"
)
_LETTERS = re.compile(r"[A-Za-z].*[A-Za-z]", re.DOTALL)
_DRAWN_OUT = re.compile(r"([A-Za-z])\1{2,}")
# Arrows, signs and pictures; not the dashes and dots of ordinary prose.
_PICTURE = re.compile("(?<=[A-Za-z])[\u00b7\u2190-\u2bff\U0001f000-\U0001faff]+(?=[A-Za-z])")

_BANG, _WORD, _LETTER = 1, 2, 3
"""What belongs to a word; a ``!`` may also stand behind one."""
_CLASS = np.zeros(256, dtype=np.uint8)
for _byte in range(256):
    if _byte >= 0x80 or chr(_byte).isalnum() or chr(_byte) in "@$":
        _CLASS[_byte] = _WORD
    if _byte < 0x80 and chr(_byte).isalpha():
        _CLASS[_byte] = _LETTER
_CLASS[ord("!")] = _BANG
_CLASSES = bytes(_CLASS)
_REACH = 8
"""Bytes that three signs spelled apart take, from the first to the last."""


def unmask(text: str) -> str:
    """The text with such words in their plain spelling."""
    if not text.isascii():
        text = _PICTURE.sub("", text)
    text = _APART.sub(_together, text)
    return _DRAWN_OUT.sub(r"\1", text)


def unmask_all(texts: Sequence[str]) -> list[bytes]:
    """`unmask` of each, as UTF-8 (lone surrogates as ``?``)."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    for i in _suspects(encoded).tolist():
        encoded[i] = unmask(texts[i]).encode("utf-8", "replace")
    return encoded


def _suspects(encoded: Sequence[bytes]) -> NDArray[np.intp]:
    """Numbers of the texts that `unmask` could change: a few more than it does."""
    joined = b" ".join(encoded)
    data = np.frombuffer(joined, dtype=np.uint8)
    if len(data) < 3:
        return np.empty(0, dtype=np.intp)
    kinds = np.frombuffer(b"\0" + joined.translate(_CLASSES) + b"\0", dtype=np.uint8)
    drawn_out = (data[1:-1] == data[:-2]) & (data[1:-1] == data[2:]) & (kinds[2:-2] == _LETTER)
    alone = ((kinds[1:-1] > 0) & (kinds[:-2] == 0) & (kinds[2:] < _WORD)).nonzero()[0]
    near = alone[:-2][alone[2:] - alone[:-2] <= _REACH]
    found = [drawn_out.nonzero()[0], near]
    if not joined.isascii():  # a picture's first bytes, behind a letter
        first, second = data[:-1], data[1:]
        pictures = (first == 0xF0) | (first == 0xE2) & (second >= 0x86) | (first == 0xC2) & (second == 0xB7)
        pictures &= kinds[:-3] == _LETTER
        found.append(pictures.nonzero()[0])
    ends = np.cumsum(np.fromiter(map(len, encoded), dtype=np.intp, count=len(encoded)) + 1)
    return np.unique(ends.searchsorted(np.concatenate(found), side="right"))


def _together(found: re.Match[str]) -> str:
    signs = found[0].split(found[1]) if found[1] else [found[0]]
    joined = "".join(signs)
    return joined if _LETTERS.search(joined) else found[0]
