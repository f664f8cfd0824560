"""Whatever the bytes: a content event or a refusal; and duplicate keys are found exactly where they are."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamtag.events.content import ContentEvent
from streamtag.events.decoder import Decoder
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.settings import EventsSettings

POSITION = ("content", 0, 1)


def make(**settings: Any) -> Decoder:
    return Decoder(EventsSettings.model_validate(settings))


NATIVE = make()
DECODERS = [NATIVE, *(make(mapping=name) for name in ("osprey", "ecs", "ocsf", "log", "raw"))]
KNOWN = ContentEvent.__struct_fields__

# Characters that matter to JSON come often.
words = st.text(st.sampled_from('ab":\\{}[],/ \n\u00e9\U0001f600\0') | st.characters(codec="utf-8"), max_size=12)
keys = st.sampled_from(KNOWN) | st.sampled_from(["a", "b"]) | words
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words


class Pairs(list[tuple[str, Any]]):
    """An object as it is written: keys can stand twice."""


def trees(leaves: st.SearchStrategy[Any], depth: int = 6) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(keys, inner), max_size=4).map(Pairs),
        max_leaves=depth,
    )


@st.composite
def written(draw: st.DrawFn, tree: Any) -> str:
    """A tree as JSON with white space and escapes at random."""
    space = st.sampled_from(["", "", " ", "\n\t", "\r  "])

    def string(text: str) -> str:
        out = []
        for char in text:
            form = draw(st.sampled_from(("plain", "plain", "short", "lower", "UPPER"))) if char < "\u0080" else "plain"
            if form in ("lower", "UPPER"):
                digits = f"{ord(char):04x}"
                out.append("\\u" + (digits.upper() if form == "UPPER" else digits))
            elif form == "short" or char in '"\\' or char < " ":
                out.append(json.dumps(char)[1:-1])
            else:
                out.append(char)
        return '"' + "".join(out) + '"'

    def write(node: Any) -> str:
        around, sep = draw(space), draw(space)
        if isinstance(node, Pairs):
            body = ",".join(f"{around}{string(k)}{sep}:{around}{write(v)}" for k, v in node)
            return "{" + body + sep + "}"
        if isinstance(node, list):
            return "[" + f"{around},{sep}".join(write(item) for item in node) + "]"
        return string(node) if isinstance(node, str) else json.dumps(node)

    return draw(space) + write(tree) + draw(space)


def oracle_has_duplicates(text: str) -> bool:
    found = False

    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        found = found or len({key for key, _ in pairs}) < len(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=hook)
    return found


def outcome(decoder: Decoder, value: bytes) -> ContentEvent | Rejected:
    event: ContentEvent | Rejected
    try:
        event = decoder.decode(value, key=b"k", headers=[("traceparent", b"00")], position=POSITION)
    except Rejected as rejected:
        event = rejected
    if isinstance(event, Rejected):
        assert event.stage == "decode"
        assert event.message
        return event
    assert type(event) is ContentEvent
    assert event.id
    assert event.text is not None or event.features is not None
    return event


@pytest.mark.parametrize("decoder", DECODERS, ids=["native", "osprey", "ecs", "ocsf", "log", "raw"])
@given(value=st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_refusal(decoder: Decoder, value: bytes) -> None:
    outcome(decoder, value)


@pytest.mark.parametrize("decoder", DECODERS, ids=["native", "osprey", "ecs", "ocsf", "log", "raw"])
@given(data=st.data())
def test_a_damaged_event_is_an_event_or_a_refusal(decoder: Decoder, data: st.DataObject) -> None:
    value = bytearray(data.draw(trees(scalars).flatmap(written)).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(value)))
        value[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    outcome(decoder, bytes(value))


native_pairs = st.lists(
    st.tuples(st.sampled_from([name for name in KNOWN if name != "features"]), words)
    | st.tuples(st.just("features"), st.lists(st.tuples(keys, scalars), max_size=4).map(Pairs))
    | st.tuples(words, trees(scalars, 3)),
    max_size=6,
).map(lambda pairs: Pairs([("id", "a"), ("text", "t"), *pairs]))


@settings(max_examples=400)
@given(native_pairs.flatmap(written))
@example('{"id":"a","text":":","x" :1}')
@example('{"id":"a","text":"\\"\\"\\"\\"","text":""}')
@example('{"id":"a","text":null,"text":"\\u0022\\u0022"}')
@example('{"id":"a","lang":null,"text":"t","lang":"en"}')
def test_duplicate_keys_are_refused_exactly_where_they_are(text: str) -> None:
    result = outcome(NATIVE, text.encode())
    refused = isinstance(result, Rejected) and result.error_class is ErrorClass.DUPLICATE_KEY
    assert refused == oracle_has_duplicates(text)


@given(trees(scalars).flatmap(written))
def test_duplicate_keys_of_foreign_records_are_refused_exactly_where_they_are(text: str) -> None:
    result = outcome(DECODERS[2], text.encode())
    refused = isinstance(result, Rejected) and result.error_class is ErrorClass.DUPLICATE_KEY
    assert refused == oracle_has_duplicates(text)


def depth_of(node: Any) -> int:
    if isinstance(node, Pairs):
        return 1 + max((depth_of(value) for _, value in node), default=0)
    if isinstance(node, list):
        return 1 + max((depth_of(item) for item in node), default=0)
    return 0


@given(st.data())
def test_depth_is_refused_exactly_above_the_limit(data: st.DataObject) -> None:
    tree = data.draw(trees(scalars, 12))
    limit = data.draw(st.integers(1, 6))
    result = outcome(make(max_depth=limit), data.draw(written(tree)).encode())
    refused = isinstance(result, Rejected) and result.error_class is ErrorClass.TOO_DEEP
    assert refused == (depth_of(tree) > limit)


events = st.builds(
    ContentEvent,
    id=words.filter(bool),
    text=words,
    features=st.none() | st.dictionaries(keys, scalars, max_size=3),
    time=st.none() | words,
    lang=st.none() | words,
    author=st.none() | words,
    channel=st.none() | words,
    tenant=st.none() | words,
    key=st.none() | words,
)


@given(events, st.booleans())
def test_a_native_event_comes_back_as_it_was_written(event: ContentEvent, ascii_only: bool) -> None:
    assert outcome(NATIVE, msgspec.json.encode(event)) == event
    assert outcome(NATIVE, json.dumps(msgspec.structs.asdict(event), ensure_ascii=ascii_only).encode()) == event


@given(trees(st.just("zq0secret") | scalars).flatmap(written), st.integers(0, 60))
def test_a_refusal_never_quotes_the_record(text: str, cut: int) -> None:
    for value in (text, text.replace('"a"', '"zq0secret"'), text[:cut]):
        for decoder in DECODERS:
            result = outcome(decoder, value.encode())
            if isinstance(result, Rejected):
                assert "zq0secret" not in result.message + result.field
