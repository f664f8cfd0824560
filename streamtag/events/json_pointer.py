"""JSON Pointer (RFC 6901): the name of one value inside a JSON document."""

import re
from typing import Any, Final

_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_BAD_ESCAPE = re.compile(r"~(?![01])")


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


class JsonPointer:
    """One pointer, parsed once.

    >>> JsonPointer("/tags/0/a~1b").read({"tags": [{"a/b": 7}]})
    7

    Raises:
        ValueError: not a pointer; says why.
    """

    __slots__ = ("_tokens", "text")

    def __init__(self, text: str) -> None:
        if text and not text.startswith("/"):
            raise ValueError(f"a JSON Pointer starts with '/', {text!r} does not")
        if _BAD_ESCAPE.search(text):
            raise ValueError(f"in {text!r} a '~' must be written '~0' (and a '/' inside a name '~1')")
        self.text = text
        self._tokens = tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:])

    def read(self, document: Any) -> Any:
        """The value in a decoded document, or ABSENT; never raises."""
        value = document
        for token in self._tokens:
            if isinstance(value, dict):
                value = value.get(token, ABSENT)
            elif isinstance(value, list) and _INDEX.fullmatch(token) and int(token) < len(value):
                value = value[int(token)]
            else:
                return ABSENT
        return value

    def __repr__(self) -> str:
        return f"JsonPointer({self.text!r})"
