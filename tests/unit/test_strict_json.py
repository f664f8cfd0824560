"""JSON of somebody else's: one error, whatever is wrong with it."""

from typing import Any

import msgspec
import pytest

from streamtag import strict_json


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"a": 1', "truncated"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": "x"}', "Expected `int`"),
    ],
)
def test_there_is_one_error(content: bytes, why: str) -> None:
    of: Any = dict[str, int] if why.startswith("Expected") else Any
    with pytest.raises(msgspec.DecodeError, match=why):
        strict_json.decode(content, of)


def test_what_is_right_is_decoded() -> None:
    assert strict_json.decode('{"a": "ü"}'.encode(), dict[str, str]) == {"a": "ü"}
