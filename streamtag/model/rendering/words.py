"""Words and signs of a rendered event, alone and up to three in a row: what a model of logs counts.

``PutBucketPolicy`` is a word, and so are its parts ``put``, ``bucket``, ``policy``. Signs count as words: attacks on
requests and command lines are told by them more than by letters. Nothing reaches beyond its line, so that the name of
a field stands in a row with its own value only.
"""

import re

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
    left = MAX_WORDS
    for line in rendered.split("\n"):
        before = last = ""
        for word in _WORD_OR_SIGN.findall(line):
            parts = [word] if word.islower() or word.isdigit() else _PART.findall(word) or [word]
            if len(parts) > 1 and len(word) <= _LONGEST:
                found.append(word.lower())
            for part in parts:
                part = part[:_LONGEST].lower()  # noqa: PLW2901
                found.append(part)
                if last:
                    found.append(f"{last} {part}")
                    if before:
                        found.append(f"{before} {last} {part}")
                before, last = last, part
            left -= len(parts)
            if left <= 0:
                return found
    return found
