"""CloudEvents 1.0 in both modes of its Kafka binding: the attributes in headers, or all in one JSON document.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
Header names are compared as the binding writes them: ``content-type``, ``ce_`` and lower case.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from streamtag.events.json_checks import check_keys, check_utf8, explain, refuse
from streamtag.events.rejection import ErrorClass

CONTENT_TYPE = "content-type"
PREFIX = "ce_"
SPECVERSION = PREFIX + "specversion"

_FAMILY = "application/cloudevents"
_STRUCTURED = "application/cloudevents+json"
_LONGEST_TYPE = 1_024  # bytes; a header may have as many as a batch unpacks to, and the pattern looks at each
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^\s";]+)', re.IGNORECASE)


@dataclass(frozen=True)
class CloudEvent:
    """What a content event needs of a CloudEvent.

    Attributes:
        id: its id, for data that has none.
        time: its time, as written.
        key: its ``partitionkey``.
        data: the payload, bytes.
        is_text: the payload is plain text, not JSON.
        pointer: where the payload stands in the record: ``""`` or ``/data``.
    """

    id: str
    time: str | None
    key: str | None
    data: bytes
    is_text: bool
    pointer: str


class _Envelope(msgspec.Struct):
    specversion: str
    id: str
    source: str
    type: str
    time: str | None = None
    partitionkey: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    data_base64: str | None = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_string = msgspec.json.Decoder(str).decode


def recognise(
    value: bytes, headers: Sequence[tuple[str, bytes | None]], check_structure: Callable[[bytes], None]
) -> CloudEvent | None:
    """The CloudEvent in a record, or None where its headers do not say that there is one.

    Args:
        value: of the record.
        headers: all of them.
        check_structure: refuses JSON that is too deep or too wide to be read.

    Raises:
        Rejected: it says so, and is none of version 1.0 in a form that is read here.
    """
    for name, _ in headers:
        if name in (CONTENT_TYPE, SPECVERSION):
            break
    else:
        return None
    attributes = _attributes(headers)
    content_type = attributes.get(CONTENT_TYPE)
    media = "" if content_type is None else _media(content_type)
    if media.startswith(_FAMILY):
        if media != _STRUCTURED:
            refuse(
                ErrorClass.UNSUPPORTED_CLOUDEVENT,
                "only single events in JSON are read in structured mode, no batches or other formats",
                field=CONTENT_TYPE,
            )
        return _structured(value, check_structure)
    if SPECVERSION in attributes:
        return _binary(value, attributes)
    return None


def _attributes(headers: Sequence[tuple[str, bytes | None]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, content in headers:
        if name != CONTENT_TYPE and not name.startswith(PREFIX):
            continue
        # The name of a header is the producer's, so only well-known ones are repeated in messages.
        field = name if name in _NAMED else PREFIX
        if name in found:
            refuse(ErrorClass.UNSUPPORTED_CLOUDEVENT, "the header stands twice", field=field)
        if content is None:
            refuse(ErrorClass.WRONG_TYPE, "the header has no value", field=field)
        if name == CONTENT_TYPE and len(content) > _LONGEST_TYPE:
            message = f"{len(content)} bytes, the limit is {_LONGEST_TYPE}"
            refuse(ErrorClass.FIELD_TOO_LONG, message, field=field)
        found[name] = check_utf8(content, field=field)
    return found


_NAMED = {CONTENT_TYPE, *(PREFIX + name for name in _Envelope.__struct_fields__)}


def _binary(value: bytes, attributes: Mapping[str, str]) -> CloudEvent:
    for name in ("specversion", "id", "source", "type"):
        if PREFIX + name not in attributes:
            refuse(ErrorClass.MISSING_FIELD, f"header {PREFIX}{name} is missing", field=PREFIX + name)
    _check_version(attributes[SPECVERSION], field=SPECVERSION)
    for name in ("id", "source", "type"):
        _check_filled(attributes[PREFIX + name], name, field=PREFIX + name)
    return CloudEvent(
        id=attributes[PREFIX + "id"],
        time=attributes.get(PREFIX + "time"),
        key=attributes.get(PREFIX + "partitionkey"),
        data=value,
        is_text=_is_text(attributes.get(CONTENT_TYPE), field=CONTENT_TYPE),
        pointer="",
    )


def _structured(value: bytes, check_structure: Callable[[bytes], None]) -> CloudEvent:
    check_utf8(value)
    check_structure(value)
    try:
        envelope = _decode_envelope(value)
    except (msgspec.DecodeError, RecursionError) as error:
        explain(value, error)
    check_keys(value)
    _check_version(envelope.specversion, field="/specversion")
    for name in ("id", "source", "type"):
        _check_filled(getattr(envelope, name), name, field=f"/{name}")
    is_text = _is_text(envelope.datacontenttype, field="/datacontenttype")
    data, pointer = _payload(envelope, is_text)
    return CloudEvent(
        id=envelope.id, time=envelope.time, key=envelope.partitionkey, data=data, is_text=is_text, pointer=pointer
    )


def _payload(envelope: _Envelope, is_text: bool) -> tuple[bytes, str]:
    inline = bytes(envelope.data)
    if envelope.data_base64 is not None:
        if inline:
            refuse(ErrorClass.UNSUPPORTED_CLOUDEVENT, "data and data_base64 exclude each other", field="/data_base64")
        try:
            return base64.b64decode(envelope.data_base64, validate=True), "/data_base64"
        except (binascii.Error, ValueError):
            refuse(ErrorClass.WRONG_TYPE, "not base64", field="/data_base64")
    if inline in (b"", b"null"):
        refuse(ErrorClass.MISSING_FIELD, "the event has no data", field="/data")
    if not is_text:
        return inline, "/data"
    try:
        return _decode_string(inline).encode(), "/data"
    except msgspec.DecodeError:
        refuse(ErrorClass.WRONG_TYPE, "datacontenttype is text, but data is not a string", field="/data")


def _check_version(version: str, *, field: str) -> None:
    if version != "1.0":
        refuse(ErrorClass.UNSUPPORTED_CLOUDEVENT, "only specversion 1.0 is read", field=field)


def _check_filled(content: str, name: str, *, field: str) -> None:
    if not content:
        error_class = ErrorClass.EMPTY_ID if name == "id" else ErrorClass.MISSING_FIELD
        refuse(error_class, f"CloudEvent attribute {name} is empty", field=field)


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _is_text(content_type: str | None, *, field: str) -> bool:
    """False for JSON, which is implied where no type is given; True for other text."""
    if content_type is None:
        return False
    charset = _CHARSET.search(content_type)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        refuse(ErrorClass.UNSUPPORTED_CLOUDEVENT, "only UTF-8 data is read", field=field)
    media = _media(content_type)
    if media in ("application/json", "text/json") or media.endswith("+json"):
        return False
    if not media.startswith("text/"):
        refuse(ErrorClass.UNSUPPORTED_CLOUDEVENT, "only JSON and text data are read", field=field)
    return True
