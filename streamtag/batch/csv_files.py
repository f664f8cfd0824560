"""CSV as RFC 4180 has it: a header, then records; quotes are doubled inside quotes, and stand nowhere else."""

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamtag.batch.lines import BLOCK, BOM, stretches
from streamtag.batch.places import Source, open_source
from streamtag.batch.rows import TEXT_FIELDS
from streamtag.errors import RefusedError
from streamtag.events.rejection import ErrorClass, Rejected

__all__ = ["Header", "fields_of", "header_of", "is_sound", "parse"]


@dataclass(frozen=True)
class Header:
    """Names of the columns; records begin at byte ``end``, on ``line``."""

    names: tuple[str, ...]
    end: int
    line: int


def parse(content: bytes, delimiter: str) -> list[str]:
    """The fields of one record.

    Raises:
        Rejected: not UTF-8, or quotes where none may stand.
    """
    csv.field_size_limit(sys.maxsize)  # a record was bounded by events.max_bytes before it came here
    try:
        (fields,) = csv.reader([content.decode("utf-8")], delimiter=delimiter, strict=True)
    except UnicodeDecodeError as error:
        raise Rejected(ErrorClass.INVALID_UTF8, stage="decode", message=f"not UTF-8 at byte {error.start}") from None
    except (csv.Error, ValueError):  # ValueError: a carriage return outside quotes makes two records of one
        message = "not CSV: quotes must enclose a whole field, and be doubled inside"
        raise Rejected(ErrorClass.INVALID_CSV, stage="decode", message=message) from None
    return fields


def is_sound(content: bytes, delimiter: str, whole: bool) -> bool:
    """Whether quotes stand where they may, in a record or (``whole`` False) in what one begins with."""
    plain = content.decode("latin-1").encode()  # what is not UTF-8, or is cut off within a character, is no matter here
    return any(_parses(plain + end, delimiter) for end in ((b"",) if whole else (b"", b'"')))


def _parses(content: bytes, delimiter: str) -> bool:
    try:
        parse(content, delimiter)
    except Rejected:
        return False
    return True


def fields_of(content: bytes, delimiter: str, header: Sequence[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Field to value of one record, for the text fields whose columns the file has; what else it has is passed by.

    Raises:
        Rejected: not CSV, or not as many fields as the header.
    """
    values = parse(content, delimiter)
    if len(values) != len(header):
        lines = 1 + content.count(b"\n")
        message = f"{len(values)} fields, the header has {len(header)}" + (f" ({lines} lines)" if lines > 1 else "")
        raise Rejected(ErrorClass.INVALID_CSV, stage="decode", message=message)
    named = dict(zip(header, values, strict=True))
    return {field: named[columns[field]] for field in TEXT_FIELDS if columns[field] in named}


def header_of(source: Source) -> Header:
    """Names of the columns, and where the records begin.

    Raises:
        RefusedError: no header, one that is not CSV, or one with a name twice.
    """
    with open_source(source) as stream:
        head = stream.read(BLOCK)
    first = next(stretches([head], 1, quoted=True), None)
    if first is None:
        raise RefusedError(f"{source.url} is empty: it has no header")
    try:
        names = parse(head[: first.end].removeprefix(BOM).removesuffix(b"\n").removesuffix(b"\r"), source.delimiter)
    except Rejected as rejected:
        raise RefusedError(f"{source.url}: the header is {rejected.message}") from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RefusedError(f"{source.url}: the header has {', '.join(map(repr, twice))} more than once")
    return Header(tuple(names), first.end, 1 + head.count(b"\n", 0, first.end))
