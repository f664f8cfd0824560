"""What the JSON decoder lets pass (depth, width, duplicate keys) and does not explain (why a record was refused).

All checks are linear in the size of the record, whatever it holds, and raise `Rejected` only. Their order is the
order of blame: encoding, depth, width, syntax, duplicate keys, types. Messages never quote the record.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.events.content import ContentEvent
from streamtag.events.rejection import ErrorClass, Rejected

_QUOTE = ord('"')
_ALL_BUT_STRUCTURE = bytes(set(range(256)) - set(b'[]{},"'))
_STEP = np.zeros(256, dtype=np.int8)
_STEP[list(b"[{")] = 1
_STEP[list(b"]}")] = -1
_VALUE = np.zeros(256, dtype=np.bool_)
_VALUE[list(b"[{,")] = True

# msgspec's messages hold types, our own field names and "[...]" for anything else: no content.
_PATH = re.compile(r" - at `\$([^`]*)`$")
_MISSING = re.compile(r"missing required field `([^`]*)`")
_STEP_OF_PATH = re.compile(r"\.([A-Za-z_]\w*)")


def refuse(error_class: ErrorClass, message: str, *, field: str = "") -> NoReturn:
    """Raises `Rejected` for the decode stage, without the exception that led to it."""
    raise Rejected(error_class, stage="decode", field=field, message=message) from None


def check_utf8(value: bytes, *, field: str = "") -> str:
    """The record as text; refuses what is not UTF-8 (msgspec does not look into the fields it skips)."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        start = error.start
    refuse(ErrorClass.INVALID_UTF8, f"not UTF-8 at byte {start}", field=field)


def check_structure(value: bytes, *, max_depth: int, max_values: int) -> None:
    """Refuses objects and arrays nested deeper than ``max_depth``, and more than ``max_values`` values.

    The outermost object is at depth 1. Values are what stands outside of strings: opening brackets and commas. What
    reads them builds an object for each, at 0.1 to 0.3 µs, so a limit on bytes alone leaves a record far dearer than
    its size.
    """
    opening = value.count(b"{") + value.count(b"[")
    if opening <= max_depth and opening + value.count(b",") <= max_values:
        return
    structure = _structure(value)
    depth = int(np.cumsum(_STEP[structure], dtype=np.int32).max(initial=0))
    if depth > max_depth:
        refuse(ErrorClass.TOO_DEEP, f"nested {depth} deep, the limit is {max_depth} (events.max_depth)")
    values = np.count_nonzero(_VALUE[structure])
    if values > max_values:
        refuse(ErrorClass.TOO_MANY_VALUES, f"{values} values, the limit is {max_values} (events.max_values)")


def _structure(value: bytes) -> NDArray[np.uint8]:
    """Brackets and commas outside of strings (and closing quotes), in order; a string not closed reaches to the end."""
    if b"\\" in value:  # outside of strings it is not JSON, and whatever reads the record stops there
        value = value.replace(rb"\\", b"").replace(rb"\"", b"")
    marks = np.frombuffer(value.translate(None, _ALL_BUT_STRUCTURE), dtype=np.uint8)
    # Odd after the opening quote of a string, even after the closing one; one byte is enough to know.
    quotes = np.cumsum(marks == _QUOTE, dtype=np.uint8)
    outside: NDArray[np.uint8] = marks[quotes & 1 == 0]
    return outside


class _DuplicateKeyError(Exception):
    pass


def _unique(pairs: Sequence[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise _DuplicateKeyError


def _as_pairs(pairs: Sequence[tuple[str, Any]]) -> Sequence[tuple[str, Any]]:
    return pairs


def _no_constant(_: str) -> NoReturn:
    refuse(ErrorClass.INVALID_JSON, "NaN and Infinity are not JSON")


# `len` costs nothing and, unlike `int`, is linear in the digits; the numbers themselves are of no interest here.
_SCAN = json.JSONDecoder(object_pairs_hook=_unique, parse_int=len, parse_float=len, parse_constant=_no_constant)
_PAIRS = json.JSONDecoder(object_pairs_hook=_as_pairs, parse_int=len, parse_float=len, parse_constant=_no_constant)


def check_keys(value: bytes) -> None:
    """Refuses what is not JSON, and an object with the same key twice at any depth (escapes resolved).

    ``value`` must be UTF-8 and not nested too deep.
    """
    try:
        _SCAN.decode(value.decode())
    except _DuplicateKeyError:
        pass
    except json.JSONDecodeError as error:
        # str(error) has no content: a constant text and positions.
        refuse(ErrorClass.INVALID_JSON, f"not JSON: {error.msg} (character {error.pos})")
    except RecursionError:
        refuse(ErrorClass.TOO_DEEP, "nested deeper than the decoder can follow")
    else:
        return
    refuse(ErrorClass.DUPLICATE_KEY, "the same key twice in one object", field=_duplicate_field(value))


def _duplicate_field(value: bytes) -> str:
    """Pointer of a key of ours that stands twice in the outermost object; other keys may be content: not named."""
    try:
        pairs = _PAIRS.decode(value.decode())
    except (json.JSONDecodeError, RecursionError, Rejected):
        return ""  # what follows the duplicate is not JSON: the duplicate came first
    keys = [key for key, _ in pairs] if pairs and isinstance(pairs[0], tuple) else []
    return next((f"/{name}" for name in ContentEvent.__struct_fields__ if keys.count(name) > 1), "")


def explain(value: bytes, error: Exception) -> NoReturn:
    """Raises `Rejected` for a record that a typed decode refused with ``error``."""
    if isinstance(error, RecursionError):
        refuse(ErrorClass.TOO_DEEP, "nested deeper than the decoder can follow")
    check_keys(value)  # a record that is no JSON at all can have failed by its types first
    message = str(error)
    if not isinstance(error, msgspec.ValidationError):
        refuse(ErrorClass.INVALID_JSON, f"not JSON: {message}")
    path = _PATH.search(message)
    field = "".join(f"/{name}" for name in _STEP_OF_PATH.findall(path[1])) if path else ""
    missing = _MISSING.search(message)
    if missing:
        refuse(ErrorClass.MISSING_FIELD, f"{missing[1]} is missing", field=f"{field}/{missing[1]}")
    refuse(ErrorClass.WRONG_TYPE, _PATH.sub("", message).replace("`", ""), field=field)
