"""From the bytes of a record to a content event: native JSON, a declared mapping, CloudEvents.

Raises `Rejected` and nothing else. A record is refused for, in this order: size, encoding, depth, number of values,
JSON syntax, duplicate keys, types and missing fields, an empty id, the length of the text, that of the other fields.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from streamtag.events import cloudevents
from streamtag.events.content import ContentEvent, FeatureValue
from streamtag.events.json_checks import check_keys, check_structure, check_utf8, explain, refuse
from streamtag.events.mapping import RecordMapping
from streamtag.events.mapping_file import load_mapping
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.settings import EventsSettings

Headers = Sequence[tuple[str, bytes | None]]

_OBJECT, _ARRAY, _ESCAPE, _QUOTE = b'{[\\"'  # a byte is looked for faster as a number
_FIELDS = len(ContentEvent.__struct_fields__)
_COPIED = tuple(name for name in ContentEvent.__struct_fields__ if name not in ("text", "features"))
_astuple = msgspec.structs.astuple


class _Data(msgspec.Struct):
    """A native event as the data of a CloudEvent, which has an id of its own."""

    id: str | None = None
    text: str | None = None
    features: dict[str, FeatureValue] | None = None
    time: str | None = None
    lang: str | None = None
    author: str | None = None
    channel: str | None = None
    tenant: str | None = None
    key: str | None = None


class Decoder:
    """Decodes records one by one; keeps no state between them.

    Raises:
        SettingsError: the mapping file cannot be read or is not a mapping.
    """

    def __init__(self, settings: EventsSettings) -> None:
        self._max_bytes = settings.max_bytes
        self._max_depth = settings.max_depth
        self._max_values = settings.max_values
        self._max_text = settings.max_text_chars
        self._max_field = settings.max_field_chars
        self._max_key = 4 * settings.max_field_chars  # a character takes up to 4 bytes
        self._mapping = None if settings.mapping is None else load_mapping(settings.mapping)
        self._typed = msgspec.json.Decoder(ContentEvent).decode
        self._data = msgspec.json.Decoder(_Data).decode
        self._generic = msgspec.json.Decoder().decode

    def decode(
        self, value: bytes, *, key: bytes | None, headers: Headers | None, position: tuple[str, int, int]
    ) -> ContentEvent:
        """One record as a content event.

        Args:
            value: payload; a tombstone (no payload) is the caller's to pass by.
            key: key of the record; tag events carry it.
            headers: all headers, in order; CloudEvents are recognised by them.
            position: topic, partition and offset, the identity of a record that has none.

        Raises:
            Rejected: stage ``decode``.
        """
        if key is not None and len(key) > self._max_key:
            self.check_key(key)
        if len(value) > self._max_bytes:
            refuse(ErrorClass.TOO_LARGE, f"{len(value)} bytes, the limit is {self._max_bytes} (events.max_bytes)")
        if headers:
            event = cloudevents.recognise(value, headers, self._check_structure)
            if event is not None:
                return self._cloud_event(event, position)
        if self._mapping is not None:
            return self.checked(ContentEvent(**self._mapped(self._mapping, value, position, None)))
        return self._native(value)

    def check_key(self, key: bytes) -> None:
        """Refuses the key of a record that is too long; tombstones have keys, too."""
        if len(key) > self._max_key:
            message = f"{len(key)} bytes, the limit is {self._max_key} (4 x events.max_field_chars)"
            refuse(ErrorClass.FIELD_TOO_LONG, message, field="record key")

    def _native(self, value: bytes) -> ContentEvent:
        # The hot path: cheap screens in C settle almost every record, an exact check stands behind each.
        if not value.isascii():
            check_utf8(value)
        if _ARRAY in value or value.find(_OBJECT, 1) > 0 or len(value) > self._max_values:
            self._check_structure(value)
        try:
            event = self._typed(value)
        except (msgspec.DecodeError, RecursionError) as error:
            explain(value, error)
        if not _surely_unique(event, value):
            check_keys(value)
        return self.checked(event, longest=len(value))

    def checked(self, event: ContentEvent, *, longest: int | None = None) -> ContentEvent:
        """The event, if its content is in order; no field has more than ``longest`` characters, where that is known.

        Raises:
            Rejected: an empty id, nothing to score, or a text or field that is too long.
        """
        if not event.id:
            refuse(ErrorClass.EMPTY_ID, "id is empty", field="/id")
        text = event.text
        if text is None:
            if event.features is None:
                refuse(ErrorClass.MISSING_FIELD, "neither text nor features is present", field="/text")
        elif len(text) > self._max_text:
            refuse(
                ErrorClass.TEXT_TOO_LONG,
                f"{len(text)} code points, the limit is {self._max_text} (events.max_text_chars)",
                field="/text",
            )
        if longest is None or longest > self._max_field:
            self._check_lengths(event)
        return event

    def _check_lengths(self, event: ContentEvent) -> None:
        """What tag events and statistics carry must be short, or one record could outgrow what a broker takes."""
        for name in _COPIED:
            content = getattr(event, name)
            if content is not None and len(content) > self._max_field:
                message = f"{len(content)} code points, the limit is {self._max_field} (events.max_field_chars)"
                refuse(ErrorClass.FIELD_TOO_LONG, message, field=f"/{name}")

    def _check_structure(self, value: bytes) -> None:
        check_structure(value, max_depth=self._max_depth, max_values=self._max_values)

    def _json(self, value: bytes) -> Any:
        check_utf8(value)
        self._check_structure(value)
        try:
            document = self._generic(value)
        except (msgspec.DecodeError, RecursionError) as error:
            explain(value, error)
        check_keys(value)
        return document

    def _mapped(
        self, mapping: RecordMapping, value: bytes, position: tuple[str, int, int], fallback_id: str | None
    ) -> Mapping[str, Any]:
        document = check_utf8(value) if mapping.format == "text" else self._json(value)
        return mapping.read(document, position="/".join(map(str, position)), fallback_id=fallback_id)

    def _cloud_event(self, event: cloudevents.CloudEvent, position: tuple[str, int, int]) -> ContentEvent:
        try:
            fields = self._data_fields(event, position)
            fields["time"] = fields.get("time") or event.time
            fields["key"] = fields.get("key") or event.key
            return self.checked(ContentEvent(**fields))
        except Rejected as rejected:
            # Fields are named from the outside of the record: /data/text in structured mode.
            refuse(rejected.error_class, rejected.message, field=event.pointer + rejected.field)

    def _data_fields(self, event: cloudevents.CloudEvent, position: tuple[str, int, int]) -> dict[str, Any]:
        if event.is_text:
            return {"id": event.id, "text": check_utf8(event.data)}
        if self._mapping is not None:
            return dict(self._mapped(self._mapping, event.data, position, event.id))
        check_utf8(event.data)
        self._check_structure(event.data)
        try:
            data = self._data(event.data)
        except (msgspec.DecodeError, RecursionError) as error:
            explain(event.data, error)
        check_keys(event.data)
        fields = msgspec.structs.asdict(data)
        if data.id is None:
            fields["id"] = event.id
        return fields


def _surely_unique(event: ContentEvent, value: bytes) -> bool:
    r"""True where counting quotes proves that no key stands twice; False says nothing.

    Each pair kept is worth a known number of quotes: two for its key, two more where its value is a string. Escaped
    quotes add to that: those in the text are counted, given that none is written ``\u0022``. Any other pair (a
    duplicate, an unknown field, a null) adds at least the two quotes of its key, and nothing takes quotes away. So
    quotes >= quotes of the pairs kept + quotes in the text, and equality leaves no room for another pair.
    """
    expected = 4 * (_FIELDS - _astuple(event).count(None))
    if event.features is not None:
        # Counted as a string above. A feature that is null was kept, so its key counts.
        expected += 2 * len(event.features) - 2 + 2 * sum(type(item) is str for item in event.features.values())
    if _ESCAPE in value:
        if event.text is None or b"\\u0022" in value:
            return False
        expected += event.text.count('"')
    return value.count(_QUOTE) == expected
