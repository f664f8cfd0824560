"""The lines of a file of labelled documents, one by one: what is read of each, and all that is wrong with it."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from streamtag.events.content import ContentEvent, FeatureValue
from streamtag.events.decoder import Decoder
from streamtag.events.rejection import Rejected
from streamtag.model.contracts.preprocessor import FeatureRow

__all__ = ["FIELDS", "Row", "csv_documents", "json_documents", "read_row"]

FIELDS = ("lang", "channel", "tenant", "source", "group")
"""What the documents are cut by."""
UNKNOWN = -1
_FEATURE = "features."
_OF_EVENT = ContentEvent.__struct_fields__
_OWN = ("labels", "source", "group")


@dataclass(frozen=True)
class Row:
    """One document.

    Attributes:
        where: in the file.
        text, features: what is scored.
        targets: per label 1, 0 or -1.
        fields: in the order of `FIELDS`; empty where it has none.
    """

    where: str
    text: str | None
    features: FeatureRow | None
    targets: Sequence[int]
    fields: tuple[str, ...]


def json_documents(text: str, found: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each document stands, and the object; problems go to ``found``."""
    decoder = msgspec.json.Decoder()
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines() also splits at U+2028, valid in JSON
        if not line.strip():
            continue
        try:
            document = decoder.decode(line)
        except (msgspec.DecodeError, RecursionError):
            found.append(f"line {number}: not JSON")
            continue
        if isinstance(document, dict):
            yield f"line {number}", document
        else:
            found.append(f"line {number}: must be an object")


def csv_documents(text: str, labels: Sequence[str], found: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same of CSV."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        found += [f"column {name}: twice" for name in sorted({n for n in header if header.count(n) > 1})]
        known = {*_OF_EVENT, *FIELDS, *labels} - {"features"}
        unknown = [name for name in header if name not in known and not name.startswith(_FEATURE)]
        found += [f"column {name or '(no name)'}: neither a field nor a label of the bundle" for name in unknown]
        if not set(header) & set(labels):
            found.append(f"no column for any label; the bundle scores {', '.join(labels)}")
        if found:
            return
        for cells in reader:
            where = f"line {reader.line_num}"
            if len(cells) != len(header):
                found.append(f"{where}: {len(cells)} cells, the header has {len(header)}")
                continue
            cell = dict(zip(header, cells, strict=True))
            marks = {label: _mark(cell.pop(label)) for label in labels if label in cell}
            features = {name[len(_FEATURE) :]: _feature(cell.pop(name)) for name in header if name.startswith(_FEATURE)}
            given = {name: value for name, value in cell.items() if value or name == "text"}
            yield where, {**given, **({"features": features} if features else {}), "labels": marks}
    except csv.Error as error:
        found.append(f"line {reader.line_num}: {error}")


def read_row(
    where: str, document: dict[str, Any], labels: Sequence[str], decoder: Decoder, found: list[str]
) -> Row | None:
    """The document; None, and why in ``found``, when something is wrong with it."""
    before = len(found)
    whole = "event" in document
    known = {"event", *_OWN} if whole else {*_OF_EVENT, *_OWN}
    found += [
        f"{where}, {name}: unknown; known are {', '.join(sorted(known))}" for name in document if name not in known
    ]
    found += [
        f"{where}, {name}: must be text"
        for name in ("source", "group")
        if not isinstance(document.get(name), str | None)
    ]
    targets = _targets(where, document.get("labels"), labels, found)
    event = _event(where, document["event"] if whole else document, whole, decoder, found)
    if event is None or len(found) > before:
        return None
    fields = (event.lang, event.channel, event.tenant, document.get("source"), document.get("group"))
    return Row(where, event.text, event.features, targets, tuple(value or "" for value in fields))


def _event(where: str, given: Any, whole: bool, decoder: Decoder, found: list[str]) -> ContentEvent | None:
    """As the stream would read it; an event that is spread over the line needs no id."""
    inside = ", event" if whole else ""
    if not whole:
        given = {"id": where, **{name: given[name] for name in _OF_EVENT if name in given}}
    try:
        if whole:
            return decoder.decode(msgspec.json.encode(given), key=None, headers=None, position=(where, 0, 0))
        return decoder.checked(msgspec.convert(given, ContentEvent))
    except msgspec.ValidationError as error:
        said, _, at = str(error).partition(" - at `$")
        found.append(f"{where}{inside}{at.strip('`').replace('.', ', ', 1)}: {said}")
    except Rejected as rejected:
        field = rejected.field.removeprefix("/").replace("/", ".")
        found.append(f"{where}{inside}{', ' + field if field else ''}: {rejected.message}")
    return None


def _targets(where: str, said: Any, labels: Sequence[str], found: list[str]) -> list[int]:
    if isinstance(said, list):
        marks: Mapping[Any, Any] = dict.fromkeys(labels, 0)
        wrong = [label for label in said if not isinstance(label, str)]
        found += [f"{where}, labels: {type(label).__name__} in the list; a label is text" for label in wrong]
        marks = {**marks, **dict.fromkeys((label for label in said if isinstance(label, str)), 1)}
    elif isinstance(said, dict):
        marks = said
    else:
        found.append(f"{where}, labels: missing, or neither a list nor a mapping")
        return []
    for label, mark in marks.items():
        if label not in labels:
            found.append(f"{where}, labels.{label}: the bundle does not score this label")
        elif mark not in (0, 1, None):
            found.append(f"{where}, labels.{label}: must be 0, 1 or empty for unknown")
    return [UNKNOWN if marks.get(label) is None else int(marks[label] == 1) for label in labels]


def _mark(cell: str) -> Any:
    return {"": None, "0": 0, "1": 1}.get(cell.strip(), cell)


def _feature(cell: str) -> FeatureValue:
    """A number where it is one, nothing where there is nothing, else a word."""
    if not cell.strip():
        return None
    try:
        return float(cell)
    except ValueError:
        return cell
