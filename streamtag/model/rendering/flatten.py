"""A JSON value as short pairs of path and value, whatever the order of its keys and however its names are nested.

What differs from event to event without saying anything (times, identities, hashes) is left out, so that two events of
one kind read alike.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

MAX_DEPTH = 16
"""Containers deeper than this are not looked into."""
MAX_FIELDS = 400
MAX_ITEMS = 64
"""Of one array."""
MAX_VALUE_CHARS = 2_000
"""A longer value is read at its first three quarters and its last quarter of so many characters."""
MAX_KEY_CHARS = 48
_EMBEDDED = 2
"""So often a text that holds JSON, which holds a text that holds JSON, is read."""
_WHOLE_NUMBER_BITS = 64

_WRAPPERS = """
attributes data detail details event eventdata fields log payload properties record winlog
"""  # the path says as much without these names
_TELLING = """
title eventid eventcode eventname eventtype action operation operationname activity methodname verb category
description method uri url query requesturi path body commandline cmdline command processcommandline
scriptblocktext image newprocessname executable parentcommandline parentimage targetobject details targetfilename
imageloaded message
"""  # what happened, in the words of the usual families; first, since a reader with a limit reads the beginning
_WRAPS = frozenset(_WRAPPERS.split())
_RANK = {word: rank for rank, word in enumerate(_TELLING.split())}
_OPENING = ("{", "[", "%7b", "%5b")
_NAMES, _VALUES = ("name", "key", "Name", "Key"), ("value", "Value", "newValue", "NewValue", "values", "Values")

_NOT_WORD = re.compile(r"[^0-9a-z]+")
_LONG_DIGITS = re.compile(r"\d{6,}")
_TIME = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d[\d:.,]*+ ?(?:Z|UTC|[+-]\d\d:?\d\d)?)?"
_UUID = r"\{?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?"
_IDENTITY = re.compile(rf"{_TIME}|{_UUID}|\d{{9,}}|(?:0x)?[0-9a-fA-F]{{16,}}")
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_IP = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_PRIVATE_IP = re.compile(r"10\.|127\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|192\.168\.")
_CONTROL = re.compile(r"[\r\n\t\x00]+ *")

Pair = tuple[str, str]


def pairs(document: Any) -> list[Pair]:
    """``(path, value)`` of the leaves that say something: telling names first, else by path.

    >>> pairs({"winlog": {"event_data": {"CommandLine": "whoami /all"}}, "@timestamp": "2024-05-01T10:00:00Z"})
    [('commandline', 'whoami /all')]

    Args:
        document: a decoded JSON value.

    Returns:
        At most `MAX_FIELDS` pairs, none twice. Equal for documents that differ in the order of keys, in ``a.b`` against
        nested ``a`` and ``b``, or in upper case, underscores and dashes of names.
    """
    found: dict[tuple[tuple[int, str], str], None] = {}
    for path, value in _leaves((), document, MAX_DEPTH, _EMBEDDED):
        text = _text_of(value)
        if text:
            name = _short(path)
            found[(_RANK.get(name.rsplit(".", 1)[-1], len(_RANK)), name), text] = None
            if len(found) == MAX_FIELDS:
                break
    # The sort is stable: items of an array keep their order.
    return [(name, text) for (_, name), text in sorted(found, key=lambda pair: pair[0])]


def bounded(value: str, limit: int) -> str:
    """A text of at most ``limit`` characters: the first three quarters and the last."""
    if len(value) <= limit:
        return value
    tail = limit // 4
    return f"{value[: limit - tail - 1]} {value[-tail:]}"


def _leaves(path: tuple[str, ...], value: Any, depth: int, embedded: int) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        if depth:
            for name, inner in _members(value):
                yield from _leaves(path + name, inner, depth - 1, embedded)
    elif isinstance(value, list):
        if depth:
            for inner in value[:MAX_ITEMS]:
                yield from _leaves(path, inner, depth - 1, embedded)
    elif isinstance(value, str) and embedded and value[:3].lower().startswith(_OPENING):
        inner = parsed(value if value[0] != "%" else unquote(value))
        yield from [(path, value)] if inner is None else _leaves(path, inner, depth, embedded - 1)
    else:
        yield path, value


def _members(value: Mapping[str, Any]) -> Sequence[tuple[tuple[str, ...], Any]]:
    """Paths and values of an object, sorted; one that is a name with a value gives that name."""
    named = _as_named(value)
    if named:
        return [named]
    split = [(tuple(_word(part) for part in key[: 4 * MAX_KEY_CHARS].split(".") if part), key) for key in value]
    # Keys that are one after shortening keep a fixed order, too.
    return [(name, value[key]) for name, key in sorted(split)]


def _as_named(value: Mapping[str, Any]) -> tuple[tuple[str, ...], Any] | None:
    if not 2 <= len(value) <= 4:
        return None
    name = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), None)
    inner = next((key for key in _VALUES if key in value), None)
    # Cut to what `_word` looks at: this name is a value, of any length, and the cache would keep it.
    return ((_word(name[:MAX_KEY_CHARS]),), value[inner]) if name and inner else None


@lru_cache(maxsize=16_384)  # names of fields are few, and come again with every event
def _word(key: str) -> str:
    key = key.partition("|")[0][:MAX_KEY_CHARS].lower()  # Sigma: CommandLine|contains
    return _LONG_DIGITS.sub("", _NOT_WORD.sub("", key)) or ("id" if key.isascii() else key)


def _short(path: Sequence[str]) -> str:
    telling = [word for word in path[:-1] if word not in _WRAPS]
    return ".".join([*telling[-1:], *path[-1:]])


def parsed(text: str) -> Any:
    """The object or array that the text is, or None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None


def _text_of(value: Any) -> str:
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
