"""Labelled documents of one's own, from JSON lines or CSV.

A JSON line is ``{"text": …, "labels": ["spam"]}``: what is not listed is *no*. With a mapping,
``{"text": …, "labels": {"spam": 1, "insult": null}}``, null and what is missing are *unknown*. In CSV each label has a
column with 1, 0 or nothing for unknown. Beside these: ``lang``, ``channel``, ``tenant``, ``source``, and ``group`` for
documents that belong together (a thread, an author).
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.errors import NotFoundError, RefusedError

__all__ = ["FIELDS", "Labelled", "read_labelled"]

FIELDS = ("lang", "channel", "tenant", "source", "group")
UNKNOWN = -1
SHOWN_PROBLEMS = 50
"""A file of the wrong form has a problem a line: the first ones say it, the rest is counted."""


@dataclass(frozen=True)
class Labelled:
    """Documents and what is known of them.

    Attributes:
        labels: columns of ``targets``.
        texts: n documents.
        targets: int8 [n, labels]: 1 yes, 0 no, -1 unknown.
        fields: each of `FIELDS` → n values, empty where a document has none.
        group: intp [n]: number of the group; equal texts are of one group where the file names none.
    """

    labels: tuple[str, ...]
    texts: tuple[str, ...]
    targets: NDArray[np.int8]
    fields: Mapping[str, tuple[str, ...]]
    group: NDArray[np.intp]


def read_labelled(path: Path, labels: Sequence[str], *, max_chars: int) -> Labelled:
    """Reads ``path``; a name that ends in ``.csv`` is CSV, any other JSON lines.

    Args:
        path: a file of the form above, UTF-8.
        labels: what the bundle scores.
        max_chars: longest text that the stream would score.

    Raises:
        NotFoundError: there is no such file, or it cannot be read.
        RefusedError: names every line and field that is wrong.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise RefusedError(f"{path} is not UTF-8", problems=[f"line {line}: byte {error.start}"]) from None
    found: list[str] = []
    documents = _csv(text, labels, found) if path.suffix.lower() == ".csv" else _json_lines(text, found)
    rows = [row for where, document in documents if (row := _row(where, document, labels, max_chars, found))]
    if not rows and not found:
        found.append("the file holds no document")
    if found:
        more = [f"… and {len(found) - SHOWN_PROBLEMS} more"] if len(found) > SHOWN_PROBLEMS else []
        raise RefusedError(
            f"{path} is not a file of labelled documents",
            problems=[*found[:SHOWN_PROBLEMS], *more],
            hint="See docs/howto-evaluate.md for the form.",
        )
    return _columns(rows, labels)


@dataclass(frozen=True)
class _Row:
    text: str
    targets: list[int]
    fields: tuple[str, ...]


def _json_lines(text: str, found: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
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


def _csv(text: str, labels: Sequence[str], found: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        found += [f"column {name}: twice" for name in sorted({n for n in header if header.count(n) > 1})]
        known = {"text", *FIELDS, *labels}
        unknown = [name for name in header if name not in known]
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
            yield where, {**cell, "labels": marks}
    except csv.Error as error:
        found.append(f"line {reader.line_num}: {error}")


def _mark(cell: str) -> Any:
    return {"": None, "0": 0, "1": 1}.get(cell.strip(), cell)


def _row(where: str, document: dict[str, Any], labels: Sequence[str], max_chars: int, found: list[str]) -> _Row | None:
    before = len(found)
    text = document.get("text")
    if not isinstance(text, str):
        found.append(f"{where}, text: missing, or not text")
    elif len(text) > max_chars:
        found.append(f"{where}, text: {len(text)} characters, the limit is {max_chars} (events.max_text_chars)")
    known = {"text", "labels", *FIELDS}
    found += [
        f"{where}, {name}: unknown; known are {', '.join(sorted(known))}" for name in document if name not in known
    ]
    fields = [document.get(name) for name in FIELDS]
    for name, value in zip(FIELDS, fields, strict=True):
        if value is not None and not isinstance(value, str):
            found.append(f"{where}, {name}: must be text")
    targets = _targets(where, document.get("labels"), labels, found)
    if len(found) > before or not isinstance(text, str):
        return None
    return _Row(text, targets, tuple(value or "" for value in fields))


def _targets(where: str, said: Any, labels: Sequence[str], found: list[str]) -> list[int]:
    if isinstance(said, list):
        marks: dict[Any, Any] = dict.fromkeys(labels, 0)
        for label in said:
            if not isinstance(label, str):
                found.append(f"{where}, labels: {type(label).__name__} in the list; a label is text")
            else:
                marks[label] = 1
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


def _columns(rows: Sequence[_Row], labels: Sequence[str]) -> Labelled:
    fields = {name: tuple(row.fields[i] for row in rows) for i, name in enumerate(FIELDS)}
    numbers: dict[tuple[str, str], int] = {}
    group = [
        numbers.setdefault(("group", name) if name else ("text", " ".join(row.text.casefold().split())), len(numbers))
        for name, row in zip(fields["group"], rows, strict=True)
    ]
    return Labelled(
        labels=tuple(labels),
        texts=tuple(row.text for row in rows),
        targets=np.array([row.targets for row in rows], dtype=np.int8).reshape(len(rows), len(labels)),
        fields=fields,
        group=np.array(group, dtype=np.intp),
    )
