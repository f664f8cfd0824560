"""The content of a dead letter for somebody to look at: personal data masked, bytes that are no text left out."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from streamtag.domain.personal_data import mask

__all__ = ["masked"]


_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_SAYS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_CUT_OFF = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
# One that is not closed ends with the text: whatever it holds, it is read once.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:(?P<closed>")|\\?)', re.DOTALL)


def masked(content: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` as `DeadLetter.content` gives it.

    Example:
        >>> header = {"name": "from", "value": "+49 170 1234567"}
        >>> masked({"key": "anna@example.org", "value_base64": "/w==", "headers": [header]})
        {'key': '[e-mail]', 'headers': [{'name': 'from', 'value': '[phone]'}]}
    """
    return {name: _masked(value) for name, value in content.items() if not name.endswith("_base64")}


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return masked_text(value)
    if isinstance(value, list):
        return [{**masked(one), "name": one["name"]} for one in value]
    return value


def masked_text(text: str) -> str:
    r"""A text that may be JSON, whole or broken, masked; strings in it, and other escapes, by what they say.

    An escape would hide what stands behind it: the ``n`` of ``\n`` is a letter, and no number begins within a word.

    Example:
        >>> masked_text(r'{"text": "call\n0170 1234567", "n": 1}')
        '{"text": "call\\n[phone]", "n": 1}'
    """
    return "".join(_pieces(text))


def _pieces(text: str) -> Iterator[str]:
    at = 0
    for found in _STRING.finditer(text):
        yield _masked_raw(text[at : found.start()])
        yield _masked_string(found[0], closed=found["closed"] is not None)
        at = found.end()
    yield _masked_raw(text[at:])


def _masked_string(raw: str, *, closed: bool) -> str:
    try:
        says = json.loads(raw if closed else raw + '"', strict=False)
    except ValueError:
        return _masked_raw(raw)
    shown = masked_text(says)  # a string may hold JSON
    if shown == says:
        return raw
    lone = any("\ud800" <= c <= "\udfff" for c in shown)  # a surrogate that nothing else can encode
    return json.dumps(shown, ensure_ascii=lone)[: None if closed else -1]


def _masked_raw(raw: str) -> str:
    """What cannot be read as JSON, e.g. since it was cut off or a quote stands where none may: escapes one by one."""
    says = _ESCAPE.sub(_said, _CUT_OFF.sub("", raw)).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    shown = mask(says)
    if shown != says:
        return shown
    return raw if says == raw else mask(raw)


def _said(escape: re.Match[str]) -> str:
    number, letter = escape.groups()
    return _SAYS.get(letter, letter) if number is None else chr(int(number, 16))
