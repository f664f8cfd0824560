"""Labelled documents of one's own, from JSON lines or CSV.

A JSON line is ``{"text": …, "labels": ["spam"]}``: what is not listed is *no*. With a mapping,
``{"text": …, "labels": {"spam": 1, "insult": null}}``, null and what is missing are *unknown*. Beside these: what else
a content event has (``features``, ``lang``, ``channel``, ``tenant``, …), ``source``, and ``group`` for documents that
belong together (a thread, an author). ``{"event": …, "labels": …}`` holds a record as the stream has it, and is read as
the stream reads it.

In CSV each label has a column with 1, 0 or nothing for unknown; a feature has a column ``features.NAME``.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamtag.errors import NotFoundError, RefusedError
from streamtag.events.decoder import Decoder
from streamtag.model.contracts.preprocessor import FeatureRow
from streamtag.model.evaluation.labelled_rows import FIELDS, Row, csv_documents, json_documents, read_row
from streamtag.settings import EventsSettings

__all__ = ["Labelled", "read_labelled"]

SHOWN_PROBLEMS = 50
"""A file of the wrong form has a problem a line: the first ones say it, the rest is counted."""


@dataclass(frozen=True)
class Labelled:
    """Documents and what is known of them.

    Attributes:
        labels: columns of ``targets``.
        texts: n documents; empty where one has none.
        targets: int8 [n, labels]: 1 yes, 0 no, -1 unknown.
        fields: each of `FIELDS` → n values, empty where a document has none.
        group: intp [n]: number of the group; equal documents are of one group where the file names none.
        features: n documents; None where one has none.
        without_text: documents that have none at all.
        places: n documents: where each stands in the file.
        sha256: of the file.
    """

    labels: tuple[str, ...]
    texts: tuple[str, ...]
    targets: NDArray[np.int8]
    fields: Mapping[str, tuple[str, ...]]
    group: NDArray[np.intp]
    features: tuple[FeatureRow | None, ...]
    without_text: tuple[int, ...] = ()
    places: tuple[str, ...] = ()
    sha256: str = ""


def read_labelled(path: Path, labels: Sequence[str], events: EventsSettings) -> Labelled:
    """Reads ``path``; a name that ends in ``.csv`` is CSV, any other JSON lines.

    Args:
        path: a file of the form above, UTF-8.
        labels: what the bundle scores.
        events: what the stream would take, and how it reads a record.

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
    is_csv = path.suffix.lower() == ".csv"
    documents = csv_documents(text, labels, found) if is_csv else json_documents(text, found)
    decoder = Decoder(events)
    rows = [row for where, document in documents if (row := read_row(where, document, labels, decoder, found))]
    if not rows and not found:
        found.append("the file holds no document")
    if found:
        more = [f"… and {len(found) - SHOWN_PROBLEMS} more"] if len(found) > SHOWN_PROBLEMS else []
        raise RefusedError(
            f"{path} is not a file of labelled documents",
            problems=[*found[:SHOWN_PROBLEMS], *more],
            hint="See docs/howto-evaluate.md for the form.",
        )
    return _columns(rows, labels, hashlib.sha256(content).hexdigest())


def _columns(rows: Sequence[Row], labels: Sequence[str], sha256: str) -> Labelled:
    fields = {name: tuple(row.fields[i] for row in rows) for i, name in enumerate(FIELDS)}
    numbers: dict[object, int] = {}
    group = [
        numbers.setdefault(("group", name) if name else _content(row), len(numbers))
        for name, row in zip(fields["group"], rows, strict=True)
    ]
    return Labelled(
        labels=tuple(labels),
        texts=tuple(row.text or "" for row in rows),
        targets=np.array([row.targets for row in rows], dtype=np.int8).reshape(len(rows), len(labels)),
        fields=fields,
        group=np.array(group, dtype=np.intp),
        features=tuple(row.features for row in rows),
        without_text=tuple(i for i, row in enumerate(rows) if row.text is None),
        places=tuple(row.where for row in rows),
        sha256=sha256,
    )


def _content(row: Row) -> object:
    """What makes two documents the same."""
    features = frozenset((row.features or {}).items())
    return "content", None if row.text is None else " ".join(row.text.casefold().split()), features
