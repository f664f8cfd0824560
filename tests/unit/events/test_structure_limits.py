"""How deep and how wide JSON may be, whatever form it comes in."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.events.decoder import Decoder
from streamtag.events.json_checks import check_structure
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.settings import EventsSettings

LIMIT = 20
STRUCTURED = [("content-type", b"application/cloudevents+json")]
BINARY = [(f"ce_{name}", b"1.0") for name in ("specversion", "id", "source", "type")]


def decoder(**overrides: Any) -> Decoder:
    return Decoder(EventsSettings.model_validate({"max_values": LIMIT, **overrides}))


def refusal(read: Decoder, value: bytes, headers: list[tuple[str, bytes]] | None = None) -> Rejected | None:
    try:
        read.decode(value, key=None, headers=headers, position=("content", 0, 0))
    except Rejected as rejected:
        return rejected
    return None


@pytest.mark.parametrize(
    ("mapping", "headers", "head"),
    [
        (None, None, '"id": "a", "text": "b"'),
        ("osprey", None, '"data": {"action_id": "a", "data": {"text": "b"}}'),
        (None, STRUCTURED, '"specversion": "1.0", "id": "a", "source": "s", "type": "t", "data": {"text": "b"}'),
        (None, BINARY, '"text": "b"'),
    ],
    ids=["native", "mapped", "structured CloudEvent", "binary CloudEvent"],
)
def test_a_record_may_hold_as_many_values_as_the_limit_and_no_more(
    mapping: str | None, headers: list[tuple[str, bytes]] | None, head: str
) -> None:
    read = decoder(mapping=mapping)
    value = b"{" + head.encode() + b', "list": [1'
    count = value.count(b",") + value.count(b"{") + value.count(b"[")
    fits = value + b",1" * (LIMIT - count) + b"]}"
    assert refusal(read, fits, headers) is None
    refused = refusal(read, fits[:-2] + b",1]}", headers)
    assert refused is not None
    assert refused.error_class is ErrorClass.TOO_MANY_VALUES
    assert "events.max_values" in refused.message


def test_a_flat_object_and_its_features_count_too() -> None:
    many = {str(i): i for i in range(LIMIT)}
    for document in ({"id": "a", "text": "b", **many}, {"id": "a", "features": many}):
        refused = refusal(decoder(), json.dumps(document).encode())
        assert refused is not None
        assert refused.error_class is ErrorClass.TOO_MANY_VALUES


def test_commas_and_brackets_of_a_text_are_no_values() -> None:
    for text in ("," * 500, "[{" * 500, '\\",[' * 500, '"[' * 500, "\\" * 501):
        assert refusal(decoder(), json.dumps({"id": "a", "text": text}).encode()) is None, text[:4]


def test_a_plain_text_record_has_no_values() -> None:
    assert refusal(decoder(mapping="raw"), b"[{," * 500) is None


scalars = st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('[]{},"\\a\u00e9'), max_size=8)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)


def depth_of(tree: Any) -> int:
    items = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else None
    return 0 if items is None else 1 + max(map(depth_of, items), default=0)


def values_of(tree: Any) -> int:
    items = list(tree.values()) if isinstance(tree, dict) else tree if isinstance(tree, list) else None
    return 0 if items is None else 1 + max(0, len(items) - 1) + sum(map(values_of, items))


@given(trees, st.booleans(), st.integers(1, 6), st.integers(1, 30))
def test_depth_and_width_are_counted_exactly(tree: Any, escaped: bool, max_depth: int, max_values: int) -> None:
    value = json.dumps(tree, ensure_ascii=escaped).encode()
    try:
        check_structure(value, max_depth=max_depth, max_values=max_values)
        found = None
    except Rejected as rejected:
        found = rejected.error_class
    if depth_of(tree) > max_depth:
        assert found is ErrorClass.TOO_DEEP
    elif values_of(tree) > max_values:
        assert found is ErrorClass.TOO_MANY_VALUES
    else:
        assert found is None


def test_a_number_that_becomes_text_has_as_many_digits_as_a_double_reaches(tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text("fields: {id: /n, text: {join: [/n, /list]}}")
    read = decoder(mapping=path)
    assert refusal(read, b'{"n": ' + b"9" * 308 + b"}") is None
    refused = refusal(read, b'{"n": ' + b"9" * 310 + b"}")
    assert refused is not None
    assert (refused.error_class, refused.field) == (ErrorClass.MAPPING, "/n")
    assert "too long" in refused.message
