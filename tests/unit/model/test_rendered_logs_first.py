"""``rendered-log/1``: what bundles of before read of an event, and what they pass over."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.model.rendering import first
from streamtag.model.rendering.flatten import word
from streamtag.model.rendering.hidden import hidden

nasty = st.text(st.sampled_from("%&\\^`'\"$+{}[]();,=/*:~0x1aAbB \n") | st.characters(), max_size=60)
keys = st.sampled_from(["name", "value", "a.b", "CommandLine", "event", "Key"]) | st.text(max_size=8)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | nasty
documents = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4))


def lines(event: Any) -> list[str]:
    return first.render(json.dumps(event)).replace("\t", "=").split("\n")


def test_an_event_reads_as_it_did() -> None:
    event = {
        "@timestamp": "2024-05-01T10:00:00.000Z",
        "winlog": {"event_id": 4688, "event_data": {"CommandLine": "cmd /c ec^ho hello"}},
        "unmapped": [{"name": "Zone", "value": "internal"}],
        "policy": json.dumps({"Action": "s3:GetObject", "Action ": "x"}),
    }
    assert lines(event) == [
        "eventid=4688",
        "policy.action=s3:GetObject=x",
        "commandline=cmd /c ec^ho hello",
        "commandline=cmd /c echo hello",
        "unmapped.zone=internal",
    ]


@pytest.mark.parametrize(
    ("event", "read"),
    [
        ({"name": "x", "value": "y", "commandline": "hidden"}, ["x=y"]),
        ({f"a{i:03}": i for i in range(400)} | {"commandline": "hidden"}, [f"a{i:03}={i}" for i in range(400)]),
        ({"rm -rf x": 1}, ["rmrfx=1"]),
        ({"a": [*map(str, range(64)), "hidden"]}, ["a=" + "=".join(map(str, range(64)))]),
    ],
)
def test_what_it_passes_over(event: Any, read: list[str]) -> None:
    assert lines(event) == read


@given(nasty, st.integers(0, 300), nasty)
def test_a_name_that_is_a_value_is_cut_to_what_is_read_of_it(start: str, filling: int, end: str) -> None:
    name = start + "a" * filling + end
    found = first._as_named({"name": name, "value": 1})
    assert found == (((word.__wrapped__(name),), 1) if name else None)


def rendered_whole(document: Any, limit: int) -> str:
    """As it was at first: everything is decoded, and then cut."""
    found: list[str] = []
    left = limit
    for name, same in itertools.groupby(first._pairs(document), key=lambda pair: pair[0]):
        values = [value for _, value in same]
        behind = [text for value in values for text in hidden(value)]
        for some in (values, behind):
            if some:
                line = "\t".join([name, *some] if name else some)[:left]
                found.append(line)
                left -= len(line) + 1
                if left <= 0:
                    return "\n".join(found)
    return "\n".join(found)


@settings(max_examples=300)
@given(documents | st.dictionaries(keys, st.lists(nasty, max_size=8)), st.integers(1, 400) | st.just(8_000))
def test_what_is_not_decoded_for_want_of_room_would_have_been_cut_off(document: Any, limit: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(first, "MAX_CHARS", limit)
        assert first.render_document(document) == rendered_whole(document, limit)


def test_nothing_is_decoded_that_there_is_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def counted(value: str) -> list[str]:
        decoded.append(value)
        return hidden(value)

    monkeypatch.setattr(first, "hidden", counted)
    values = [f"{i} " + "a^b " * 499 for i in range(60)]  # nearly 2,000 characters each, which hide nearly 1,500
    for document, n in (
        ({"a": values}, 0),
        ({"a": values[:3]}, 2),
        ({f"k{i}": one for i, one in enumerate(values)}, 2),
    ):
        decoded.clear()
        first.render_document(document)
        assert len(decoded) == n
