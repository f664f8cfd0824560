"""What identifies a person is masked however JSON has written it, and whether or not it still is JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.dead_letters.masked import masked_text

PERSONAL = st.sampled_from(
    ["0170 1234567", "10.1.2.3", "m\u00fcller@ex\u00e4mple.de", "4111 1111 1111 1111", "2001:db8::1"]
)
TEXTS = st.lists(
    PERSONAL | st.sampled_from(["\n", "\t", " ", '"', "\\", "call", "{", "\u00e9", "\ud800"]), max_size=8
).map("".join)


@pytest.mark.parametrize(
    "value",
    [
        r'{"text":"call:\n0170 1234567"}',
        r'{"text":"ip\t10.1.2.3"}',
        r'{"text":"\n2001:db8::1"}',
        r'{"text":"\u002B49 170 1234567"}',
        r'{"text":"m\u00fcller@ex\u00e4mple.de"}',
        r'{"text":"\n4111 1111 1111 1111"}',
        r'{"message":"{\"text\":\"call\\n0170 1234567\"}"}',
        r'{"text":"cut off\n0170 1234567',
        r'not json: "a\n0170 1234567" and 10.1.2.3',
        '5" of 0170 1234567',
        r'{"text":"call\n0170 1234567 \u04',
        r'{"text":"call\n0170 1234567\\'[:-1],
        r'{"text":"C:\docs\n0170 1234567"}',
        r'{"a":"5" pipe","text":"call\n0170 1234567"}',
        r'{"a":"5" pipe","text":"call\u002B49 170 1234567"}',
    ],
)
def test_no_escape_hides_a_person(value: str) -> None:
    shown = masked_text(value)
    assert not any(piece in shown for piece in ("1234567", "10.1.2.3", "2001", "mple", "1111"))
    assert "[" in shown


@pytest.mark.parametrize("value", ['{"a": "b\\n", "a": 1}', '{"n": 20261128}', '"\\ud800"', '"\\', "", '"'])
def test_the_rest_stays_as_it_was_written(value: str) -> None:
    assert masked_text(value) == value


@given(TEXTS, st.booleans())
def test_json_is_masked_as_what_it_says(text: str, ascii_only: bool) -> None:
    written = json.dumps({"text": text}, ensure_ascii=ascii_only)
    assert json.loads(masked_text(written)) == {"text": masked_text(text)}


def test_a_hostile_value_takes_time_in_proportion_to_its_length() -> None:
    hostile = '"' + r"\"" * 200_000 + "\\"
    assert len(masked_text(hostile)) <= len(hostile)
