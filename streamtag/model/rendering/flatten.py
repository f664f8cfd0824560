"""A JSON value as its fields, whatever the order of its keys and however its names are nested.

A field is all that stands at one path, by its names as they are written: a value, the items of an array, what a text
holds that is JSON. What differs from event to event without saying anything (times, identities, hashes) is left out, so
that two events of one kind read alike.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple
from urllib.parse import unquote

MAX_DEPTH = 16
"""What stands in containers deeper than this has no path of its own."""
MAX_FIELDS = 400
MAX_VALUE_CHARS = 2_000
"""A longer value is read at its first three quarters and its last quarter of so many characters."""
MAX_KEY_CHARS = 48
_EMBEDDED = 2
"""So often a text that holds JSON, which holds a text that holds JSON, is read."""
_WHOLE_NUMBER_BITS = 64
_WHOLE_NUMBER_CHARS = 20

_WRAPPERS = """
attributes data detail details event eventdata fields log payload properties record winlog
"""  # the path says as much without these names
_TELLING = """
title eventid eventcode eventname eventtype action operation operationname activity methodname verb category
description method uri url query requesturi path body commandline cmdline command processcommandline
scriptblocktext image newprocessname executable parentcommandline parentimage targetobject details targetfilename
imageloaded message
"""  # what happened, in the words of the usual families; first, since a reader with a limit reads the beginning
WRAPS = frozenset(_WRAPPERS.split())
RANK = {word: rank for rank, word in enumerate(_TELLING.split())}
OPENING = ("{", "[", "%7b", "%5b")
NAMES, VALUES = ("name", "key", "Name", "Key"), ("value", "Value", "newValue", "NewValue", "values", "Values")

_MODIFIER = "all|base64(?:offset)?|cidr|contains|endswith|exists|[gl]te?|re|startswith|utf16(?:[bl]e)?|wide|windash"
_NAME = re.compile(rf"[\w.@-]{{0,{MAX_KEY_CHARS}}}(?:\|(?:{_MODIFIER}))*", re.ASCII)
"""A name that is no more than that, Sigma's modifiers behind it; any other is read as a value, too."""
_NOT_WORD = re.compile(r"[^0-9a-z]+")
_LONG_DIGITS = re.compile(r"\d{6,}")
_TIME = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d[\d:.,]*+ ?(?:Z|UTC|[+-]\d\d:?\d\d)?)?"
_UUID = r"\{?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?"
_IDENTITY = re.compile(rf"{_TIME}|{_UUID}|\d{{9,}}|(?:0x)?[0-9a-fA-F]{{16,}}")
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_IP = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_PRIVATE_IP = re.compile(r"10\.|127\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|192\.168\.")
_CONTROL = re.compile(r"[\r\n\t\x00]+ *")


class Pair(NamedTuple):
    """A value that says something, at the last two names of its path; the lower its rank, the more its name tells."""

    rank: int
    name: str
    text: str


def fields(document: Any) -> list[list[Pair]]:
    """Pairs of fields that say something, `MAX_FIELDS` at most; telling names first, items of an array in their order.

    >>> event = {"winlog": {"event_data": {"CommandLine": "whoami /all"}}, "@timestamp": "2024-05-01T10:00:00Z"}
    >>> [(pair.name, pair.text) for pairs in fields(event) for pair in pairs]
    [('commandline', 'whoami /all')]

    Args:
        document: a JSON value as `parsed` gives it.

    Returns:
        No pair twice in a field. Equal for documents that differ in the order of keys.
    """
    walk = _Walk()
    found: dict[int, dict[Pair, None]] = {}
    for place, value in walk.leaves(_ROOT, document, MAX_DEPTH, _EMBEDDED):
        text = text_of(value)
        if text:
            name = f"{place.parent}.{place.last}" if place.parent else place.last
            found.setdefault(place.field, {})[Pair(RANK.get(place.last, len(RANK)), name, text)] = None
    numbers = sorted(found, key=lambda number: walk.ranks.get(number, len(RANK)))[:MAX_FIELDS]
    return [sorted(found[number], key=itemgetter(0, 1)) for number in numbers]  # both sorts are stable


def bounded(value: str, limit: int) -> str:
    """A text of at most ``limit`` characters: the first three quarters and the last."""
    if len(value) <= limit:
        return value
    tail = limit // 4
    return f"{value[: limit - tail - 1]} {value[-tail:]}" if tail else value[:limit]


class _Place(NamedTuple):
    """Where a value stands.

    Attributes:
        field: number of its field.
        parent: the last name before its own that does not only wrap, or nothing.
        last: its own name, or nothing.
    """

    field: int
    parent: str
    last: str

    def further(self, field: int, name: str) -> "_Place":
        """One name further."""
        return _Place(field, self.last if self.last and self.last not in WRAPS else self.parent, name)


_ROOT = _Place(0, "", "")


class _Walk:
    """Through one document.

    Attributes:
        ranks: of fields whose own names tell what happened.
    """

    def __init__(self) -> None:
        self.ranks: dict[int, int] = {}
        self._fields: dict[tuple[int, str], int] = {}

    def leaves(self, at: _Place, value: Any, depth: int, embedded: int) -> Iterator[tuple[_Place, Any]]:
        """All values that hold no others, and names that are no names, with where they stand."""
        if isinstance(value, (dict, list)) and not depth:
            yield from ((at, inner) for inner in _below(value))
        elif isinstance(value, dict):
            yield from self._members(at, value, depth - 1, embedded)
        elif isinstance(value, list):
            for inner in value:
                yield from self.leaves(at, inner, depth - 1, embedded)
        elif isinstance(value, str) and embedded and value[:3].lower().startswith(OPENING):
            inner = parsed(value if value[0] != "%" else unquote(value))
            if inner is None:
                yield at, value
            else:
                # Whoever writes a text has its field, and no other.
                for place, leaf in self.leaves(at, inner, depth, embedded - 1):
                    yield _Place(at.field, place.parent, place.last), leaf
        else:
            yield at, value

    def _members(self, at: _Place, value: Mapping[str, Any], depth: int, embedded: int) -> Iterator[tuple[_Place, Any]]:
        """Of an object, sorted; of one that is a name with a value, the value has that name."""
        named = _named(value)
        for words, key in sorted((_words(key), key) for key in value):  # the key: words may be the same
            if key == named:
                place = at.further(self._field(at, key), _name(_name_in(value)))
            else:
                place = self._at(at, key, words)
            if not _NAME.fullmatch(key):
                yield _Place(self._field(at, f"{key}:"), at.parent, at.last), key
            if value[key] is not None:
                yield from self.leaves(place, value[key], depth, embedded)

    def _at(self, at: _Place, key: str, words: Sequence[str]) -> _Place:
        """Where the value of a key stands; ``a.b`` is ``b`` within ``a``."""
        parts = [part for part in key.split(".") if part] if len(words) > 1 else [key]
        if not words:
            return _Place(self._field(at, key), at.parent, at.last)
        for name, part in zip(words, parts, strict=False):
            at = at.further(self._field(at, part), name)
        if len(words) < len(parts):  # it is longer than what is read of it
            at = at._replace(field=self._field(at, key))
        if at.last in RANK:
            self.ranks[at.field] = RANK[at.last]
        return at

    def _field(self, at: _Place, key: str) -> int:
        return self._fields.setdefault((at.field, key), len(self._fields) + 1)


def _below(value: Any) -> Iterator[Any]:
    """Keys and values of a value of any depth."""
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            for key in sorted(inner, reverse=True):
                waiting += [inner[key], key]
        elif isinstance(inner, list):
            waiting += inner[::-1]
        else:
            yield inner


def _named(value: Mapping[str, Any]) -> str | None:
    """Key of the value of an object that is a name with a value."""
    if not 2 <= len(value) <= 4 or not _name_in(value):
        return None
    return next((key for key in VALUES if key in value), None)


def _name_in(value: Mapping[str, Any]) -> str:
    return next((value[key] for key in NAMES if isinstance(value.get(key), str)), "")


def _words(key: str) -> tuple[str, ...]:
    return tuple(_name(part) for part in key[: 4 * MAX_KEY_CHARS].split(".") if part)


def _name(text: str) -> str:
    """As `word`, and within a line. Cut to what `word` looks at, whose cache would keep it."""
    text = text[:MAX_KEY_CHARS]
    return word(text if text.isascii() else _CONTROL.sub(" ", text))


@lru_cache(maxsize=16_384)  # names of fields are few, and come again with every event
def word(key: str) -> str:
    """A name without case, signs, and what follows a ``|``."""
    key = key.partition("|")[0][:MAX_KEY_CHARS].lower()  # Sigma: CommandLine|contains
    return _LONG_DIGITS.sub("", _NOT_WORD.sub("", key)) or ("id" if key.isascii() else key)


def parsed(text: str) -> Any:
    """The object or array that the text is, or None. Of a key that stands twice all values are there, as an array."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return _JSON.decode(text)
    except (RecursionError, ValueError):
        return None


def _merged(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        values: dict[str, list[Any]] = {}
        for key, value in members:
            values.setdefault(key, []).append(value)
        found = {key: several if len(several) > 1 else several[0] for key, several in values.items()}
    return found


def _whole_number(digits: str) -> int | None:
    """Reading a whole number takes quadratic time in its digits, and one of so many says nothing."""
    return int(digits) if len(digits) <= _WHOLE_NUMBER_CHARS else None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_merged, parse_int=_whole_number, parse_constant=_refuse)


def text_of(value: Any) -> str:
    """A value that says something as a text, else nothing."""
    if isinstance(value, str):
        return _masked(_CONTROL.sub(" ", bounded(value, MAX_VALUE_CHARS)).strip())
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        # Writing a whole number takes quadratic time in its digits.
        return _masked(str(value)) if value.bit_length() <= _WHOLE_NUMBER_BITS else ""
    return "" if value is None else format(value, ".6g")


def _masked(text: str) -> str:
    """A value unless it only tells one event from the next; of an address, whether it is a private one."""
    if not text or not (text[0].isdigit() or text[0] in "-{" or (len(text) >= 16 and text[-1] in _HEX_DIGITS)):
        return text
    if _IP.fullmatch(text):
        return "<private-ip>" if _PRIVATE_IP.match(text) else "<ip>"
    return "" if text == "-" or _IDENTITY.fullmatch(text) else text
