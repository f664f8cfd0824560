"""YAML that is written is read back as what it was, whatever it looks like."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag import strict_yaml

texts = st.text() | st.from_regex(r"[-+]?[0-9._:eExX]{1,8}", fullmatch=True) | st.sampled_from(["no", "null", "~", "="])
scalars = texts | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
documents = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=10)


@pytest.mark.parametrize("text", ["000189", "7e3", "1_000", "0x1f", "010", "no", "2026-11-23", "10:30", "a\x85 b", ""])
def test_a_text_that_looks_like_something_else_stays_a_text(text: str) -> None:
    assert strict_yaml.load(strict_yaml.dump({"tenant": text, text: 1})) == {"tenant": text, text: 1}


@given(value=documents)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert strict_yaml.load(strict_yaml.dump(value)) == value


def test_people_can_read_what_is_written() -> None:
    assert strict_yaml.dump({"tenant": "Größe", "on": "no", "n": "12"}) == "tenant: Größe\non: no\nn: '12'\n"
