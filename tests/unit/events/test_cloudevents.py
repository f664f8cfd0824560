import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.events.content import ContentEvent
from streamtag.events.decoder import Decoder
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.settings import EventsSettings

POSITION = ("content", 0, 9)
BINARY = {"ce_specversion": b"1.0", "ce_id": b"ce-1", "ce_source": b"/app", "ce_type": b"post.created"}
ENVELOPE = {"specversion": "1.0", "id": "ce-1", "source": "/app", "type": "post.created"}
STRUCTURED = [("content-type", b"application/cloudevents+json; charset=UTF-8")]


def decode(value: bytes, headers: Any, **settings: Any) -> ContentEvent:
    decoder = Decoder(EventsSettings.model_validate(settings))
    return decoder.decode(value, key=None, headers=headers, position=POSITION)


def binary(value: bytes, content_type: bytes | None = b"application/json", **extra: bytes) -> ContentEvent:
    headers = [*{**BINARY, **extra}.items()]
    if content_type is not None:
        headers.append(("content-type", content_type))
    return decode(value, headers)


def structured(**attributes: Any) -> ContentEvent:
    return decode(json.dumps({**ENVELOPE, **attributes}).encode(), STRUCTURED)


def refusal(value: bytes, headers: Any, **settings: Any) -> tuple[ErrorClass, str]:
    with pytest.raises(Rejected) as caught:
        decode(value, headers, **settings)
    assert caught.value.stage == "decode"
    return caught.value.error_class, caught.value.field


def test_binary_mode_reads_the_value_as_data_and_falls_back_to_the_attributes() -> None:
    event = binary(b'{"text":"x"}', ce_time=b"2026-11-23T03:00:00Z", ce_partitionkey=b"thread-1")
    assert event == ContentEvent(id="ce-1", text="x", time="2026-11-23T03:00:00Z", key="thread-1")


def test_data_wins_over_the_attributes() -> None:
    event = binary(b'{"id":"own","text":"x","time":"t","key":"k"}', ce_time=b"other", ce_partitionkey=b"other")
    assert event == ContentEvent(id="own", text="x", time="t", key="k")


@pytest.mark.parametrize("content_type", [None, b"application/json;charset=utf-8", b"application/vnd.acme+JSON"])
def test_json_data_is_known_by_its_type_or_by_none(content_type: bytes | None) -> None:
    assert binary(b'{"text":"x"}', content_type).text == "x"


def test_text_data_is_the_text() -> None:
    assert binary("h\u00e9llo {".encode(), b"text/plain") == ContentEvent(id="ce-1", text="h\u00e9llo {")
    assert structured(datacontenttype="text/plain", data="h\u00e9llo").text == "h\u00e9llo"


def test_structured_mode_reads_data_inside_the_document() -> None:
    event = structured(data={"text": "x", "lang": "en"}, time="t", partitionkey="k", extension=7)
    assert event == ContentEvent(id="ce-1", text="x", lang="en", time="t", key="k")


def test_structured_mode_reads_base64_data() -> None:
    data = base64.b64encode(b'{"id":"own","text":"x"}').decode()
    assert structured(data_base64=data) == ContentEvent(id="own", text="x")
    assert structured(data_base64=base64.b64encode(b"x").decode(), datacontenttype="text/plain").text == "x"


def test_a_mapping_applies_to_the_data() -> None:
    data = {"message": "x", "@timestamp": "t"}
    expected = ContentEvent(id="ce-1", text="x", time="t")
    assert decode(json.dumps(data).encode(), [*BINARY.items()], mapping="ecs") == expected
    assert decode(json.dumps({**ENVELOPE, "data": data}).encode(), STRUCTURED, mapping="ecs") == expected
    assert decode(b"a line", [*BINARY.items()], mapping="raw") == ContentEvent(id="ce-1", text="a line")


def test_other_headers_do_not_make_a_cloudevent() -> None:
    headers = [("traceparent", b"00"), ("content-type", b"application/json"), ("ce_note", b"\xff"), ("x", None)]
    with pytest.raises(Rejected):  # the native id is asked for
        decode(b'{"text":"x"}', [("traceparent", b"00"), ("ce_id", b"1")])
    assert decode(b'{"id":"a","text":"x"}', [headers[0], headers[1], headers[3]]) == ContentEvent(id="a", text="x")


CT = "content-type"
BAD_BINARY = {
    "version 0.3": ({"ce_specversion": b"0.3"}, b"{}", ErrorClass.UNSUPPORTED_CLOUDEVENT, "ce_specversion"),
    "version 2.0": ({"ce_specversion": b"2.0"}, b"{}", ErrorClass.UNSUPPORTED_CLOUDEVENT, "ce_specversion"),
    "no id": ({"ce_id": None}, b"{}", ErrorClass.MISSING_FIELD, "ce_id"),
    "no source": ({"ce_source": None}, b"{}", ErrorClass.MISSING_FIELD, "ce_source"),
    "no type": ({"ce_type": None}, b"{}", ErrorClass.MISSING_FIELD, "ce_type"),
    "empty id": ({"ce_id": b""}, b"{}", ErrorClass.EMPTY_ID, "ce_id"),
    "empty source": ({"ce_source": b""}, b"{}", ErrorClass.MISSING_FIELD, "ce_source"),
    "id not UTF-8": ({"ce_id": b"\xff"}, b"{}", ErrorClass.INVALID_UTF8, "ce_id"),
    "extension not UTF-8": ({"ce_secret": b"\xff"}, b"{}", ErrorClass.INVALID_UTF8, "ce_"),
    "Avro data": ({CT: b"application/avro"}, b"{}", ErrorClass.UNSUPPORTED_CLOUDEVENT, CT),
    "Latin-1 data": ({CT: b"text/plain; charset=iso-8859-1"}, b"x", ErrorClass.UNSUPPORTED_CLOUDEVENT, CT),
    "text not UTF-8": ({CT: b"text/plain"}, b"\xff", ErrorClass.INVALID_UTF8, ""),
    "data not JSON": ({}, b"x", ErrorClass.INVALID_JSON, ""),
    "data with a key twice": ({}, b'{"text":"x","text":"x"}', ErrorClass.DUPLICATE_KEY, "/text"),
    "data too deep": ({}, b"[" * 40, ErrorClass.TOO_DEEP, ""),
    "data without text": ({}, b"{}", ErrorClass.MISSING_FIELD, "/text"),
    "data with an empty id": ({}, b'{"id":"","text":"x"}', ErrorClass.EMPTY_ID, "/id"),
    "data with a wrong type": ({}, b'{"text":["x"]}', ErrorClass.WRONG_TYPE, "/text"),
}


@pytest.mark.parametrize(("headers", "value", "error_class", "field"), BAD_BINARY.values(), ids=BAD_BINARY)
def test_bad_binary_events_are_refused(
    headers: dict[str, bytes | None], value: bytes, error_class: ErrorClass, field: str
) -> None:
    merged = {**BINARY, **headers}
    sent = [(name, content) for name, content in merged.items() if content is not None]
    assert refusal(value, sent) == (error_class, field)


BAD_STRUCTURED = {
    "version": ({"specversion": "0.3", "data": {}}, ErrorClass.UNSUPPORTED_CLOUDEVENT, "/specversion"),
    "version a number": ({"specversion": 1.0, "data": {}}, ErrorClass.WRONG_TYPE, "/specversion"),
    "id a number": ({"id": 1, "data": {}}, ErrorClass.WRONG_TYPE, "/id"),
    "empty id": ({"id": "", "data": {}}, ErrorClass.EMPTY_ID, "/id"),
    "empty type": ({"type": "", "data": {}}, ErrorClass.MISSING_FIELD, "/type"),
    "no data": ({}, ErrorClass.MISSING_FIELD, "/data"),
    "null data": ({"data": None}, ErrorClass.MISSING_FIELD, "/data"),
    "JSON data a string": ({"data": "x"}, ErrorClass.WRONG_TYPE, "/data"),
    "text data an object": ({"data": {}, "datacontenttype": "text/plain"}, ErrorClass.WRONG_TYPE, "/data"),
    "both kinds of data": ({"data": {}, "data_base64": "e30="}, ErrorClass.UNSUPPORTED_CLOUDEVENT, "/data_base64"),
    "not base64": ({"data_base64": "e30"}, ErrorClass.WRONG_TYPE, "/data_base64"),
    "base64 outside ASCII": ({"data_base64": "\u00e9"}, ErrorClass.WRONG_TYPE, "/data_base64"),
    "not JSON in base64": ({"data_base64": "eA=="}, ErrorClass.INVALID_JSON, "/data_base64"),
    "Avro": ({"data": {}, "datacontenttype": "a/avro"}, ErrorClass.UNSUPPORTED_CLOUDEVENT, "/datacontenttype"),
    "text of the data a list": ({"data": {"text": []}}, ErrorClass.WRONG_TYPE, "/data/text"),
    "no text in the data": ({"data": {"lang": "en"}}, ErrorClass.MISSING_FIELD, "/data/text"),
}


@pytest.mark.parametrize(("attributes", "error_class", "field"), BAD_STRUCTURED.values(), ids=BAD_STRUCTURED)
def test_bad_structured_events_are_refused(attributes: dict[str, Any], error_class: ErrorClass, field: str) -> None:
    assert refusal(json.dumps({**ENVELOPE, **attributes}).encode(), STRUCTURED) == (error_class, field)


def test_structured_documents_are_checked_as_any_json() -> None:
    assert refusal(b'{"id":"a"}', STRUCTURED) == (ErrorClass.MISSING_FIELD, "/specversion")
    assert refusal(b'{"id":"a","id":"a"}', STRUCTURED) == (ErrorClass.DUPLICATE_KEY, "/id")
    assert refusal(b"\xff", STRUCTURED) == (ErrorClass.INVALID_UTF8, "")
    assert refusal(b"[" * 33, STRUCTURED) == (ErrorClass.TOO_DEEP, "")
    twice = json.dumps({**ENVELOPE, "x": 1, "data": {"text": "x"}}).replace('"x": 1', '"x": 1, "x": 2')
    assert refusal(twice.encode(), STRUCTURED)[0] is ErrorClass.DUPLICATE_KEY


@pytest.mark.parametrize("content_type", [b"application/cloudevents-batch+json", b"application/cloudevents+avro"])
def test_batches_and_other_formats_are_unsupported(content_type: bytes) -> None:
    assert refusal(b"[]", [(CT, content_type)]) == (ErrorClass.UNSUPPORTED_CLOUDEVENT, CT)


def test_a_header_twice_or_without_a_value_is_refused() -> None:
    twice = [*BINARY.items(), ("ce_id", b"ce-2")]
    assert refusal(b"{}", twice) == (ErrorClass.UNSUPPORTED_CLOUDEVENT, "ce_id")
    assert refusal(b"{}", [*STRUCTURED, *STRUCTURED]) == (ErrorClass.UNSUPPORTED_CLOUDEVENT, CT)
    assert refusal(b"{}", [*BINARY.items(), ("ce_time", None)]) == (ErrorClass.WRONG_TYPE, "ce_time")


def test_a_content_type_is_short_as_all_of_it_is_looked_at() -> None:
    longest = b"text/plain" + b" " * 1_014
    assert refusal(b"", [*BINARY.items(), (CT, longest + b" ")]) == (ErrorClass.FIELD_TOO_LONG, CT)
    assert refusal(b"\xff", [*BINARY.items(), (CT, longest)]) == (ErrorClass.INVALID_UTF8, "")


header_names = st.sampled_from([*BINARY, CT, "ce_time", "ce_partitionkey", "ce_x", "traceparent", ""]) | st.text()
header_values = (
    st.none()
    | st.binary(max_size=8)
    | st.sampled_from([b"1.0", b"1", b"application/cloudevents+json", b"text/plain", b"application/json", b";charset="])
)
values = st.binary(max_size=30) | st.sampled_from(
    [b'{"text":"x"}', json.dumps({**ENVELOPE, "data": {"text": "x"}}).encode(), b"{}", b'"x"', b"null"]
)


@given(values, st.lists(st.tuples(header_names, header_values), max_size=8))
def test_any_headers_give_an_event_or_a_refusal(value: bytes, headers: list[tuple[str, bytes | None]]) -> None:
    try:
        assert decode(value, headers).id
    except Rejected as rejected:
        assert rejected.stage == "decode"  # noqa: PT017 - either outcome is right, an escape is not
