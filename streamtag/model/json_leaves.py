"""The words of the values of a JSON text, and where they stand in it: what an explanation of a log event points at."""

import re
from typing import NamedTuple

import msgspec

__all__ = ["Leaf", "leaves"]

# A text that is JSON consists of these; what is no token is a blank or a sign of its structure.
_TOKEN = re.compile(r'"(?P<string>(?:[^"\\]|\\.)*)"(?P<key>\s*:)?|(?P<plain>-?[0-9][0-9.eE+-]*|true|false)')
# Within a string: words, and what stands between them. An escape stays whole, or leaving a part out would break it.
_WORD = re.compile(r"(?:\w|\\u[0-9a-fA-F]{4})+|(?:\\[^u]|[^\w\s\\])+")


class Leaf(NamedTuple):
    """A word of a value: code points ``start`` to ``end``, and what stands there when it is left out."""

    start: int
    end: int
    left_out: str


def leaves(text: str) -> list[Leaf] | None:
    """The words of all values of an object or array; None where the text is something else.

    Keys are no values: what they say stays. A text without all of its leaves is still JSON of the same shape.

    >>> text = '{"cmd": "whoami /all", "pid": 12}'
    >>> [text[leaf.start : leaf.end] for leaf in leaves(text)]
    ['whoami', '/', 'all', '12']
    """
    if text.lstrip()[:1] not in {"{", "["}:
        return None
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    found = []
    for token in _TOKEN.finditer(text):
        if token["plain"] is not None:
            found.append(Leaf(*token.span(), "null"))
        elif token["key"] is None:
            begin = token.start("string")
            found += [Leaf(begin + w.start(), begin + w.end(), "") for w in _WORD.finditer(token["string"])]
    return found
