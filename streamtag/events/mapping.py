"""A declared mapping: where the fields of a content event stand in records of another shape.

Each field has a source: pointers (the first value present wins; null counts as absent), several values joined, a
time as a number, a part of the record as JSON, or a constant. Numbers become text where a field is text.
`mapping_file` reads mappings from YAML.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NoReturn, Protocol

import msgspec

from streamtag.events.json_checks import refuse
from streamtag.events.json_pointer import ABSENT, JsonPointer
from streamtag.events.rejection import ErrorClass

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_BITS = 1_024  # of a whole number that becomes text: 308 digits, as far as a double reaches


class Source(Protocol):
    """Where one value comes from."""

    @property
    def pointers(self) -> tuple[str, ...]:
        """All pointers looked at, for messages."""
        ...

    def read(self, document: Any, field: str) -> Any:
        """The value for ``field``, or ABSENT; raises `Rejected` (MAPPING) where it cannot be one."""
        ...


@dataclass(frozen=True)
class FirstOf:
    """The first value present."""

    candidates: tuple[JsonPointer, ...]

    @property
    def pointers(self) -> tuple[str, ...]:
        """All candidates."""
        return tuple(pointer.text for pointer in self.candidates)

    def read(self, document: Any, field: str) -> Any:
        """As it stands in the document; a number is turned into text except for the text itself."""
        for pointer in self.candidates:
            value = pointer.read(document)
            if value is ABSENT or value is None:
                continue
            if field != "text" and isinstance(value, int | float) and not isinstance(value, bool):
                return _number(value, pointer, field)
            if not isinstance(value, str):
                _unfit(value, pointer, field)
            return value
        return ABSENT


@dataclass(frozen=True)
class Join:
    """The values present, in order, with a separator; a list counts as its items."""

    parts: tuple[FirstOf, ...]
    separator: str

    @property
    def pointers(self) -> tuple[str, ...]:
        """All parts."""
        return tuple(text for part in self.parts for text in part.pointers)

    def read(self, document: Any, field: str) -> Any:
        """One text; ABSENT where no part is present."""
        found: list[str] = []
        for part in self.parts:
            for pointer in part.candidates:
                value = pointer.read(document)
                if value is ABSENT or value is None:
                    continue
                items = value if isinstance(value, list) else [value]
                found.extend(_scalar(item, pointer, field) for item in items if item is not None)
                break
        return self.separator.join(found) if found else ABSENT


@dataclass(frozen=True)
class Constant:
    """The same text for every record."""

    value: str

    @property
    def pointers(self) -> tuple[str, ...]:
        """None."""
        return ()

    def read(self, document: Any, field: str) -> Any:
        """The constant."""
        return self.value


@dataclass(frozen=True)
class Epoch:
    """A number of seconds or milliseconds since 1970, as an RFC 3339 time."""

    pointer: JsonPointer
    unit: Literal["epoch_s", "epoch_ms"]

    @property
    def pointers(self) -> tuple[str, ...]:
        """The one pointer."""
        return (self.pointer.text,)

    def read(self, document: Any, field: str) -> Any:
        """UTC, milliseconds."""
        value = self.pointer.read(document)
        if value is ABSENT or value is None:
            return ABSENT
        if isinstance(value, bool) or not isinstance(value, int | float):
            _unfit(value, self.pointer, field)
        try:
            step = timedelta(milliseconds=value) if self.unit == "epoch_ms" else timedelta(seconds=value)
            return (_EPOCH + step).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        except (OverflowError, ValueError):
            refuse(
                ErrorClass.MAPPING, f"{field}: the number at {self.pointer.text} is no time", field=self.pointer.text
            )


@dataclass(frozen=True)
class Json:
    """A part of the record as it is, or all of it: for bundles that read logs (contract ``rendered-log/2``)."""

    pointer: JsonPointer

    @property
    def pointers(self) -> tuple[str, ...]:
        """The one pointer."""
        return (self.pointer.text,)

    def read(self, document: Any, field: str) -> Any:
        """An object or an array as compact JSON, a text as it is, anything else ABSENT."""
        value = self.pointer.read(document)
        if isinstance(value, dict | list):
            return msgspec.json.encode(value).decode()
        return value if isinstance(value, str) else ABSENT


@dataclass(frozen=True)
class RecordMapping:
    """How records of one shape are read.

    Attributes:
        name: for messages: the shipped name or the file.
        format: ``json``, or ``text``: the whole record is the text.
        fields: source per field, without ``features``.
        features: one pointer to an object, or a source per feature; None where there are none.
        position_id: the id may fall back to the record's position.
    """

    name: str
    format: Literal["json", "text"]
    fields: Mapping[str, Source]
    features: JsonPointer | Mapping[str, FirstOf | Constant] | None = None
    position_id: bool = False

    def read(self, document: Any, *, position: str, fallback_id: str | None = None) -> Mapping[str, Any]:
        """The fields of a content event.

        Args:
            document: decoded JSON, or the text of the record for format ``text``.
            position: identity of a record that has none, where the mapping allows it.
            fallback_id: an id from outside the document (of a CloudEvent); wins over the position.

        Raises:
            Rejected: MISSING_FIELD (id, text) or MAPPING, naming the pointer.
        """
        found: dict[str, Any] = {"text": document} if self.format == "text" else {}
        for field, source in self.fields.items():
            value = source.read(document, field)
            if value is not ABSENT:
                found[field] = value
        if "id" not in found:
            if not (fallback_id or self.position_id):
                self._missing("id")
            found["id"] = fallback_id or position
        features = self._features(document)
        if features:
            found["features"] = features
        elif "text" not in found:
            self._missing("text" if "text" in self.fields else "features")
        return found

    def _missing(self, field: str) -> NoReturn:
        source = self.fields.get(field)
        if source is not None:
            pointers: Sequence[str] = source.pointers
        elif isinstance(self.features, JsonPointer):
            pointers = [self.features.text]
        else:
            pointers = [text for part in (self.features or {}).values() for text in part.pointers]
        refuse(
            ErrorClass.MISSING_FIELD,
            f"{field}: nothing at {', '.join(pointers) or 'any pointer'} (mapping {self.name})",
            field=pointers[0] if pointers else f"/{field}",
        )

    def _features(self, document: Any) -> dict[str, Any]:
        if self.features is None:
            return {}
        if isinstance(self.features, JsonPointer):
            value = self.features.read(document)
            if value is ABSENT or value is None:
                return {}
            if not isinstance(value, dict) or any(isinstance(item, dict | list) for item in value.values()):
                refuse(
                    ErrorClass.MAPPING,
                    f"features: {self.features.text} is not an object of numbers, texts and booleans",
                    field=self.features.text,
                )
            return value
        found = {}
        for name, source in self.features.items():
            value = source.value if isinstance(source, Constant) else _first_scalar(source, document, name)
            if value is not ABSENT:
                found[name] = value
        return found


def _first_scalar(source: FirstOf, document: Any, name: str) -> Any:
    for pointer in source.candidates:
        value = pointer.read(document)
        if value is ABSENT or value is None:
            continue
        if isinstance(value, dict | list):
            _unfit(value, pointer, f"features.{name}")
        return value
    return ABSENT


def _scalar(value: Any, pointer: JsonPointer, field: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, int | float):
        _unfit(value, pointer, field)
    return _number(value, pointer, field)


def _number(value: float, pointer: JsonPointer, field: str) -> str:
    # Writing a whole number takes quadratic time in its digits.
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        refuse(ErrorClass.MAPPING, f"{field}: the number at {pointer.text} is too long", field=pointer.text)
    return repr(value)


_JSON_TYPES = {dict: "an object", list: "an array", bool: "a boolean", int: "a number", float: "a number", str: "text"}


def _unfit(value: Any, pointer: JsonPointer, field: str) -> NoReturn:
    kind = _JSON_TYPES[type(value)]
    refuse(ErrorClass.MAPPING, f"{field}: the value at {pointer.text or 'the root'} is {kind}", field=pointer.text)
