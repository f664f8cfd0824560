"""Reader of the Jigsaw "Toxic Comment Classification" files: comments with six labels."""

import csv
import gzip
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamtag.errors import NotFoundError, StreamtagError

LABELS = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
FILE_NAMES = ("jigsaw.csv.gz", "jigsaw.csv", "train.csv.gz", "train.csv")
FOLDER = "jigsaw_toxic"
_TEXT, _ID, _NATURAL = "comment_text", "id", "in_random_draw"


@dataclass(frozen=True)
class Dataset:
    """Labelled comments.

    Attributes:
        file: where they were read from.
        sha256: of that file.
        ids: one per comment.
        texts: one per comment.
        targets: int8 [n, labels], 0 or 1.
        natural: bool [n], True where the row was drawn at random: those rows have the rates of real traffic, the
            others were picked for their labels.
    """

    file: Path
    sha256: str
    ids: list[str]
    texts: list[str]
    targets: NDArray[np.int8]
    natural: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)


def read_jigsaw(directory: Path) -> Dataset:
    """Reads the file in ``directory``, or in its folder ``jigsaw_toxic``.

    Columns: ``id``, ``comment_text``, one 0/1 column per label, and ``in_random_draw``; without the last, every row
    counts as drawn at random. Rows that are not labelled (-1 in the competition's test file) are left out.

    Raises:
        NotFoundError: no such file.
        StreamtagError: a column is missing, or a label is no number.
    """
    file = _find(directory)
    raw = file.read_bytes()
    text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in (_ID, _TEXT, *LABELS) if name not in (reader.fieldnames or ())]
    if missing:
        raise StreamtagError(f"{file} has no column {', '.join(missing)}")
    ids, texts, targets, natural = [], [], [], []
    for row in reader:
        try:
            values = [int(float(row[label])) for label in LABELS]
        except (TypeError, ValueError):
            raise StreamtagError(f"{file}, line {reader.line_num}: a label is no number") from None
        if min(values) < 0:
            continue
        ids.append(row[_ID])
        texts.append(row[_TEXT])
        targets.append(values)
        natural.append(row.get(_NATURAL, "1") == "1")
    return Dataset(
        file,
        hashlib.sha256(raw).hexdigest(),
        ids,
        texts,
        np.array(targets, dtype=np.int8).reshape(-1, len(LABELS)),
        np.array(natural, dtype=np.bool_),
    )


def _find(directory: Path) -> Path:
    for folder in (directory, directory / FOLDER):
        for name in FILE_NAMES:
            if (folder / name).is_file():
                return folder / name
    raise NotFoundError(
        f"no {' or '.join(FILE_NAMES)} in {directory} or its folder {FOLDER}",
        hint="docs/models.md says where the data come from.",
    )
