"""Words and signs of a rendered event, alone and up to three in a row: what a model of logs counts.

``PutBucketPolicy`` is a word, and so are its parts ``put``, ``bucket``, ``policy``. Signs count as words: attacks on
requests and command lines are told by them more than by letters. Nothing reaches beyond its line, so that the name of
a field stands in a row with its own value only.
"""

import re
from collections.abc import Iterator
from zlib import crc32

MAX_WORDS = 1_500
"""Of one event, signs included; what comes later is not read."""
_LONGEST = 40
"""Characters; of a longer word, which is a code and no word, only the parts count."""
_WORD_OR_SIGN = re.compile(r"[^\W_]+|[^\w\s]|_")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_a-zA-Z]+")


def words(rendered: str) -> list[str]:
    r"""Words, signs, and rows of two and three of them, as often as they stand.

    >>> words("name\tPutPolicy!")
    ['name', 'putpolicy', 'put', 'name put', 'policy', 'put policy', 'name put policy', '!', 'policy !', 'put policy !']
    """
    found: list[str] = []
    for line in _lines(rendered):
        before = last = ""
        for part, starts_row in line:
            found.append(part)
            if not starts_row:
                continue
            if last:
                found.append(f"{last} {part}")
            if before:
                found.append(f"{before} {last} {part}")
            before, last = last, part
    return found


def word_hashes(rendered: str) -> list[int]:
    """CRC-32 of the UTF-8 of each of `words`, without writing out the rows: a checksum goes on where another ended."""
    found: list[int] = []
    for line in _lines(rendered):
        last = pair = -1
        for part, starts_row in line:
            content = part.encode("utf-8", "replace")
            alone = crc32(content)
            found.append(alone)
            if not starts_row:
                continue
            behind = b" " + content
            if last >= 0:
                before, pair = pair, crc32(behind, last)
                found.append(pair)
                if before >= 0:
                    found.append(crc32(behind, before))
            last = alone
    return found


def _lines(rendered: str) -> Iterator[list[tuple[str, bool]]]:
    """Words of each line in lower case, and whether they are part of rows: a word is not, where its parts are."""
    left = MAX_WORDS
    for line in rendered.split("\n"):
        found: list[tuple[str, bool]] = []
        for word in _WORD_OR_SIGN.findall(line):
            parts = [word] if word.islower() or word.isdigit() else _PART.findall(word) or [word]
            if len(parts) > 1 and len(word) <= _LONGEST:
                found.append((word.lower(), False))
            found += [(part[:_LONGEST].lower(), True) for part in parts]
            left -= len(parts)
            if left <= 0:
                break
        yield found
        if left <= 0:
            return
