"""Sets that come as comma- or tab-separated files, compressed, zipped or plain."""

import csv
import gzip
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from streamtag.errors import NotFoundError, RefusedError

_SHOWN = 5
Record = dict[str, str]


def read_delimited(
    file: Path, wanted: Sequence[str], *, member: str | None = None, header: Sequence[str] | None = None
) -> list[Record]:
    """Lines of a file as objects of text.

    Args:
        file: ``.csv``, ``.tsv`` (tabs, no quotes), either with ``.gz`` behind; or ``.zip``, with ``member``.
        wanted: columns that it must have.
        member: file within the zip.
        header: names of the columns, where the file has no line of them.

    Raises:
        NotFoundError: no such file.
        RefusedError: unreadable, or names the columns and lines that are wrong.
    """
    text = _text(file, member)
    tabs = file.name.removesuffix(".gz").endswith(".tsv")
    lines = io.StringIO(text, newline="")
    reader = csv.DictReader(lines, fieldnames=header, dialect="excel-tab" if tabs else "excel")
    if tabs:
        reader.reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [name for name in wanted if name not in (reader.fieldnames or ())]
    if missing:
        raise RefusedError(f"{file} has no column {', '.join(missing)}")
    found, problems = [], []
    try:
        for record in reader:
            if any(record[name] is None for name in wanted):
                problems.append(f"line {reader.line_num}: fewer columns than the first line names")
            found.append(record)
    except csv.Error as error:
        problems.append(f"line {reader.line_num}: {error}")
    _refuse(file, problems)
    return found


def numbers(file: Path, records: Sequence[Record], column: str) -> list[float]:
    """One column as numbers; empty cells are NaN.

    Raises:
        RefusedError: names the records that have something else there.
    """
    return _converted(file, records, column, lambda cell: float(cell) if cell else float("nan"))


def _converted(file: Path, records: Sequence[Record], column: str, convert: Callable[[str], float]) -> list[float]:
    found, problems = [], []
    for number, record in enumerate(records, start=1):
        try:
            found.append(convert(record[column].strip()))
        except ValueError:
            problems.append(f"record {number}, {column}: not a number")
    _refuse(file, problems)
    return found


def _refuse(file: Path, problems: Sequence[str]) -> None:
    if problems:
        rest = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise RefusedError(f"{file} cannot be used", problems=[*problems[:_SHOWN], *rest])


def _text(file: Path, member: str | None) -> str:
    try:
        raw = file.read_bytes()
        if member is not None:
            with zipfile.ZipFile(io.BytesIO(raw)) as archive:
                raw = archive.read(member)
        elif file.suffix == ".gz":
            raw = gzip.decompress(raw)
        return raw.decode("utf-8-sig")
    except FileNotFoundError:
        raise NotFoundError(
            f"no data file {file}", hint="docs/howto-train.md says which files a set consists of."
        ) from None
    except (OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise RefusedError(f"{file} cannot be read: {error}", hint="Fetch the file again.") from None
    except UnicodeDecodeError as error:
        raise RefusedError(f"{file} is not UTF-8 at byte {error.start}") from None
