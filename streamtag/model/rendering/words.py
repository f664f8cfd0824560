"""Words of a rendered event, and rows of words and signs: what a model of logs counts.

*Words* stand alone and in pairs, whatever signs lie between. ``PutBucketPolicy`` is a word, and so are its parts
``put``, ``bucket``, ``policy``, which make the pairs. *Rows* are up to three words or signs one behind the other, a
sign among them: attacks on requests and command lines are told by them more than by words. Nothing reaches beyond its
line.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

ROW_BIT = 1 << 31
"""Set in the hash of a row, not in that of a word."""
_LONGEST = 40
"""Characters; of a longer word, which is a code and no word, only the parts count."""
_WORD_OR_SIGN = re.compile(r"[^\W_]+|[^\w\s]|_")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_a-zA-Z]+")


class Words(NamedTuple):
    """Words and pairs; rows with a sign; each as often as it stands."""

    words: list[str]
    rows: list[str]


def words(rendered: str) -> Words:
    r"""What stands in an event, in lower case.

    >>> words("name\tPutPolicy").words
    ['name', 'putpolicy', 'put', 'name put', 'policy', 'put policy']
    >>> words("a=b").rows
    ['=', 'a =', '= b', 'a = b']
    """
    found = Words([], [])
    for line in _lines(rendered, len(rendered)):
        word = ""
        row: list[str] = []
        for part, kind in line:
            if kind != _SIGN:
                found.words.append(part)
            if kind == _WHOLE:
                continue
            if kind == _PLAIN:
                found.words.extend([f"{word} {part}"] if word else [])
                word = part
            row = [*row[-2:], part]
            behind = [row[at:] for at in range(len(row) - 1, -1, -1)]
            found.rows.extend(" ".join(some) for some in behind if _has_sign(some))
    return found


def word_hashes(rendered: str, most: int | None = None) -> list[int]:
    """31 bits of the CRC-32 of the UTF-8 of each of `words`, `ROW_BIT` set for rows.

    No pair is written out: a checksum goes on where that of its first word ended.

    Args:
        rendered: an event.
        most: words and signs that are read of it; by default all.
    """
    found: list[int] = []
    for line in _lines(rendered, len(rendered) if most is None else most):
        word = last = pair = 0
        before_is_sign = last_is_sign = False
        for part, kind in line:
            content = part.encode("utf-8", "replace")
            alone = crc32(content)
            if kind != _SIGN:
                found.append(alone >> 1)
            if kind == _WHOLE:
                continue
            behind = b" " + content
            if kind == _PLAIN:
                if word:
                    found.append(crc32(behind, word) >> 1)
                word = alone
            is_sign = kind == _SIGN
            if is_sign:
                found.append(alone >> 1 | ROW_BIT)
            if last:
                before, pair = pair, crc32(behind, last)
                if is_sign or last_is_sign:
                    found.append(pair >> 1 | ROW_BIT)
                if before and (is_sign or last_is_sign or before_is_sign):
                    found.append(crc32(behind, before) >> 1 | ROW_BIT)
            before_is_sign, last_is_sign, last = last_is_sign, is_sign, alone
    return found


_PLAIN, _WHOLE, _SIGN = range(3)


def _has_sign(row: list[str]) -> bool:
    return any(not part[0].isalnum() for part in row)


def _lines(rendered: str, left: int) -> Iterator[list[tuple[str, int]]]:
    """What stands on each line, and its kind: a word that makes pairs, a whole one whose parts do, or a sign."""
    for line in rendered.split("\n"):
        found: list[tuple[str, int]] = []
        for word in _WORD_OR_SIGN.findall(line):
            if not word[0].isalnum():
                found.append((word, _SIGN))
                left -= 1
            else:
                parts = [word] if word.islower() or word.isdigit() else _PART.findall(word) or [word]
                if len(parts) > 1 and len(word) <= _LONGEST:
                    found.append((word.lower(), _WHOLE))
                found += [(part[:_LONGEST].lower(), _PLAIN) for part in parts]
                left -= len(parts)
            if left <= 0:
                break
        yield found
        if left <= 0:
            return
