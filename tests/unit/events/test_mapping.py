import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.errors import SettingsError
from streamtag.events.content import ContentEvent
from streamtag.events.decoder import Decoder
from streamtag.events.json_pointer import ABSENT, JsonPointer
from streamtag.events.mapping_file import SHIPPED, load_mapping, parse_mapping
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.settings import EventsSettings

POSITION = ("logs", 2, 17)


def decode(mapping: str | Path, document: Any) -> ContentEvent:
    decoder = Decoder(EventsSettings.model_validate({"mapping": mapping}))
    value = document if isinstance(document, bytes) else json.dumps(document).encode()
    return decoder.decode(value, key=b"k", headers=[], position=POSITION)


def refusal(mapping: str | Path, document: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        decode(mapping, document)
    assert caught.value.stage == "decode"
    return caught.value


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "mapping.yaml"
        path.write_text(text)
        return path

    return write


OSPREY = {
    "send_time": "2026-11-23T03:00:00.123456789Z",
    "data": {
        "action_id": "184467",
        "action_name": "create_post",
        "data": {
            "user_id": "user_4711",
            "ip_address": "192.0.2.7",
            "event_type": "create_post",
            "post": {"text": "the quick brown fox jumps."},
        },
    },
}
ECS = {
    "@timestamp": "2026-11-23T03:00:00.000Z",
    "ecs": {"version": "8.11.0"},
    "event": {"id": "f3a1", "dataset": "nginx.access", "kind": "event", "category": ["web"], "original": "raw line"},
    "message": "GET /about?page=2 200",
    "url": {"original": "/about?page=2"},
    "http": {"request": {"method": "GET"}, "response": {"status_code": 200}},
    "user": {"name": "alice"},
    "host": {"name": "web-1"},
    "organization": {"id": 42},
    "tags": ["forwarded"],
}
ECS_LOGGING = {
    "@timestamp": "2026-11-23T03:00:00.000Z",
    "log.level": "warn",
    "message": "disk is nearly full",
    "ecs.version": "1.2.0",
    "service.name": "billing",
    "event.dataset": "billing.log",
}
OCSF = {
    "class_uid": 1007,
    "class_name": "Process Activity",
    "category_uid": 1,
    "activity_id": 1,
    "type_uid": 100701,
    "severity_id": 1,
    "time": 1795402800123,
    "message": "a process was started",
    "metadata": {"version": "1.3.0", "uid": "0b9c", "tenant_uid": "acme", "product": {"name": "agent"}},
    "device": {"hostname": "laptop-7", "type_id": 3},
    "actor": {"user": {"name": "bob", "uid": "S-1-5"}},
    "process": {"name": "tar", "cmd_line": "tar -czf notes.tgz notes", "pid": 812},
}


def test_ospreys_envelope_is_read() -> None:
    assert decode("osprey", OSPREY) == ContentEvent(
        id="184467",
        text="the quick brown fox jumps.",
        time="2026-11-23T03:00:00.123456789Z",
        author="user_4711",
        channel="create_post",
        key="user_4711",
    )


def test_ospreys_numeric_action_id_becomes_text() -> None:
    numeric = json.loads(json.dumps(OSPREY).replace('"184467"', "184467"))
    assert decode("osprey", numeric).id == "184467"


def test_an_ecs_log_is_read() -> None:
    assert decode("ecs", ECS) == ContentEvent(
        id="f3a1",
        text="GET /about?page=2 200\n/about?page=2",
        time="2026-11-23T03:00:00.000Z",
        author="alice",
        channel="nginx.access",
        tenant="42",
        key="web-1",
    )


def test_an_ecs_log_with_dots_in_names_and_no_id_gets_its_position() -> None:
    event = decode("ecs", ECS_LOGGING)
    assert (event.id, event.text, event.channel) == ("logs/2/17", "disk is nearly full", "billing.log")


def test_an_ocsf_log_is_read() -> None:
    assert decode("ocsf", OCSF) == ContentEvent(
        id="0b9c",
        text="a process was started\ntar -czf notes.tgz notes",
        time="2026-11-23T03:00:00.123Z",
        author="S-1-5",
        channel="Process Activity",
        tenant="acme",
        key="laptop-7",
    )


def test_a_raw_line_is_the_text_and_its_position_the_id() -> None:
    assert decode("raw", "sshd[1]: session {opened\u00e9".encode()) == ContentEvent(
        id="logs/2/17", text="sshd[1]: session {opened\u00e9"
    )
    assert refusal("raw", b"\xff").error_class is ErrorClass.INVALID_UTF8


CLOUDTRAIL = {
    "eventID": "2877",
    "eventTime": "2026-11-23T03:00:00Z",
    "eventSource": "s3.amazonaws.com",
    "eventName": "ListBuckets",
    "userIdentity": {"type": "Root", "ids": [1, 2.5, None, True]},
    "recipientAccountId": "123456789012",
}


def test_a_log_of_any_shape_is_the_text_as_json() -> None:
    event = decode("log", CLOUDTRAIL)
    assert json.loads(event.text or "") == CLOUDTRAIL
    assert (event.id, event.channel, event.tenant) == ("2877", "s3.amazonaws.com", "123456789012")
    assert (event.time, event.features) == ("2026-11-23T03:00:00Z", None)
    assert json.loads(decode("log", [{"a": "é"}]).text or "") == [{"a": "é"}]
    assert decode("log", ECS).key == "web-1"


@pytest.mark.parametrize("document", [None, 7, True])
def test_a_log_that_is_neither_object_array_nor_text_is_refused(document: Any) -> None:
    assert refusal("log", document).error_class is ErrorClass.MISSING_FIELD


def test_a_part_of_a_record_as_json(write: Any) -> None:
    mapping = write("fields: {id: /id, text: {json: /payload}}")
    assert decode(mapping, {"id": "a", "payload": {"b": [1, "c"]}}).text == '{"b":[1,"c"]}'
    assert decode(mapping, {"id": "a", "payload": "as it is"}).text == "as it is"


def test_only_the_text_can_be_json(write: Any) -> None:
    with pytest.raises(SettingsError, match=r"fields\.author: no source: json"):
        load_mapping(write("fields: {text: /t, author: {json: /a}}"))
    with pytest.raises(SettingsError, match=r"fields\.text: a JSON Pointer is a text"):
        load_mapping(write("fields: {text: {json: 3}}"))


@pytest.mark.parametrize("name", ["osprey", "ecs", "ocsf"])
@pytest.mark.parametrize("document", [{}, [], None, 7, "x", {"data": {"data": 3}, "message": None}])
def test_a_record_of_another_shape_is_refused_naming_where_it_was_looked_for(name: str, document: Any) -> None:
    rejected = refusal(name, document)
    assert rejected.error_class is ErrorClass.MISSING_FIELD
    assert rejected.field in ("/data/action_id", "/message")
    assert rejected.field in rejected.message


FULL = """
format: json
fields:
  id: [/a/id, /b]
  text: {join: [/t, [/u, /v]], separator: "|"}
  time: {epoch_s: /s}
  lang: {constant: en}
  author: /who
features:
  size: /n
  kind: [/k1, /k2]
  source: {constant: edge}
"""


def test_every_kind_of_source(write: Any) -> None:
    document = {
        "b": 7,
        "t": "x",
        "v": [1, True, None, 2.5, "y"],
        "s": 0.5,
        "who": 1e3,
        "n": 12,
        "k2": False,
    }
    assert decode(write(FULL), document) == ContentEvent(
        id="7",
        text="x|1|true|2.5|y",
        time="1970-01-01T00:00:00.500Z",
        lang="en",
        author="1000.0",
        features={"size": 12, "kind": False, "source": "edge"},
    )


def test_features_can_be_an_object_of_the_record(write: Any) -> None:
    path = write("{fields: {id: /id}, features: /f}")
    assert decode(path, {"id": "a", "f": {"x": 1, "y": None}}).features == {"x": 1, "y": None}
    assert refusal(path, {"id": "a"}).field == "/f"
    wrongs: list[Any] = [[1], 7, {"x": {}}, {"x": [1]}]
    for wrong in wrongs:
        rejected = refusal(path, {"id": "a", "f": wrong})
        assert (rejected.error_class, rejected.field) == (ErrorClass.MAPPING, "/f")


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"b": {}, "t": "x"}, "/b"),
        ({"b": True, "t": "x"}, "/b"),
        ({"b": 1, "t": {}}, "/t"),
        ({"b": 1, "v": [[]]}, "/v"),
        ({"b": 1, "t": "x", "s": "soon"}, "/s"),
        ({"b": 1, "t": "x", "s": 1e300}, "/s"),
        ({"b": 1, "t": "x", "s": True}, "/s"),
        ({"b": 1, "t": "x", "n": []}, "/n"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_naming_its_pointer(write: Any, document: Any, field: str) -> None:
    rejected = refusal(write(FULL), document)
    assert (rejected.error_class, rejected.field) == (ErrorClass.MAPPING, field)


def test_a_text_by_one_pointer_must_be_text(write: Any) -> None:
    rejected = refusal(write("fields: {text: /t}"), {"t": 7})
    assert (rejected.error_class, rejected.field) == (ErrorClass.MAPPING, "/t")


def test_an_empty_id_is_refused(write: Any) -> None:
    assert refusal(write("fields: {id: /i, text: /t}"), {"i": "", "t": "x"}).error_class is ErrorClass.EMPTY_ID


def test_foreign_records_are_checked_as_any_json() -> None:
    assert refusal("ecs", b'{"message":"x","y":{"k":1,"k":1}}').error_class is ErrorClass.DUPLICATE_KEY
    assert refusal("ecs", b'{"message":"x","y":NaN}').error_class is ErrorClass.INVALID_JSON
    assert refusal("ecs", b'{"message":"x","y":1e999}').error_class is ErrorClass.WRONG_TYPE
    assert refusal("ecs", b'{"message":"x","y":"\xff"}').error_class is ErrorClass.INVALID_UTF8
    assert refusal("ecs", b'{"message":' + b"[" * 40).error_class is ErrorClass.TOO_DEEP
    assert refusal("ecs", {"message": "x" * 20_001}).error_class is ErrorClass.TEXT_TOO_LONG


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_mappings_are_valid(name: str) -> None:
    assert load_mapping(Path(name)).name == name


BAD_FILES = {
    "[1]": "must hold a mapping",
    "a: [": "cannot be read as YAML: line 1",
    "{fields: {text: /t, text: /u}}": "stands twice",
    "{}": "fields.text or features must be declared",
    "{feilds: {text: /t}}": "feilds: unknown key",
    "{format: xml, fields: {text: /t}}": "format: must be json or text, not 'xml'",
    "{fields: [text]}": "fields: must be a mapping",
    "{fields: {txt: /t}}": "fields.txt: unknown field, known are id, text, time",
    "{fields: {text: t}}": "fields.text: a JSON Pointer starts with '/', 't' does not",
    "{fields: {text: /t~2}}": "fields.text: in '/t~2' a '~' must be written '~0'",
    "{fields: {text: 7}}": "fields.text: a JSON Pointer is a text",
    "{fields: {text: []}}": "fields.text: the list of pointers is empty",
    "{fields: {text: {join: []}}}": "fields.text: join needs a list",
    "{fields: {text: {join: [/a], separator: 1}}}": "fields.text: separator must be text",
    "{fields: {text: {constant: a, separator: ' '}}}": "fields.text: separator goes with join only",
    "{fields: {text: {}}}": "fields.text: no source",
    "{fields: {text: /t, lang: {constant: 1}}}": "fields.lang: a constant must be a text",
    "{fields: {text: /t, lang: {epoch_ms: /l}}}": "fields.lang: no source: epoch_ms",
    "{fields: {text: /t, id: [position, /i]}}": "fields.id: a JSON Pointer starts with '/'",
    "{fields: {text: /t}, features: [1]}": "features: must be a pointer to an object",
    "{fields: {text: /t}, features: x}": "features: a JSON Pointer starts with '/'",
    "{fields: {text: /t}, features: {n: {join: [/a]}}}": "features.n: must be a pointer, a list of them or a constant",
    "{format: text, fields: {text: /t}}": "fields.text: the whole record is the text",
    "{format: text, fields: {lang: /l}}": "fields.lang: a text record has no pointers",
    "{format: text, features: /f}": "features: a text record has none",
}


@pytest.mark.parametrize(("text", "complaint"), BAD_FILES.items(), ids=BAD_FILES)
def test_a_faulty_mapping_file_is_refused_naming_file_and_field(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_mapping(text, "my.yaml")
    assert "mapping file my.yaml" in caught.value.message
    assert complaint in caught.value.message


def test_all_faults_of_a_mapping_file_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_mapping("{fields: {txt: /t, text: t}, other: 1}", "my.yaml")
    assert all(fault in caught.value.message for fault in ("other:", "fields.txt:", "fields.text:"))
    assert "JSON Pointer" in caught.value.hint


def test_a_missing_mapping_file_is_refused_before_anything_starts() -> None:
    with pytest.raises(SettingsError, match=r"cannot read mapping file no/such\.yaml"):
        Decoder(EventsSettings.model_validate({"mapping": "no/such.yaml"}))


# RFC 6901, section 5.
RFC_DOCUMENT = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", RFC_DOCUMENT),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_the_examples_of_rfc_6901(pointer: str, value: Any) -> None:
    assert JsonPointer(pointer).read(RFC_DOCUMENT) == value


@pytest.mark.parametrize("pointer", ["/foo/2", "/foo/-", "/foo/01", "/foo/bar", "/foo/0/0", "/nope", "/foo/\u0661"])
def test_a_pointer_to_nothing_is_absent(pointer: str) -> None:
    assert JsonPointer(pointer).read(RFC_DOCUMENT) is ABSENT


@given(st.dictionaries(st.text(max_size=4), st.integers(), min_size=1))
def test_every_name_can_be_pointed_at(document: dict[str, int]) -> None:
    for name, value in document.items():
        pointer = "/" + name.replace("~", "~0").replace("/", "~1")
        assert JsonPointer(pointer).read(document) == value
