"""Parquet: row groups, and stretches of rows in them, read in batches of bounded size."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streamtag.batch.places import Source, open_source
from streamtag.errors import RefusedError, StreamtagError
from streamtag.events.rejection import ErrorClass, Rejected

__all__ = ["RowGroup", "groups_of", "read_rows"]

_BATCH_BYTES = 4 << 20
_MAX_ROWS = 2_048


@dataclass(frozen=True)
class RowGroup:
    """One row group: ``rows``, and uncompressed ``size`` in bytes of the columns that are read."""

    rows: int
    size: int


def groups_of(source: Source, columns: Mapping[str, str]) -> tuple[list[str], list[RowGroup]]:
    """Names of the columns of a file, and its row groups in order.

    Args:
        source: the file.
        columns: field to name of its column.

    Raises:
        RefusedError: a column has a type that cannot be its field, or there are two of its name.
        StreamtagError: not a Parquet file.
    """
    with _opened(source) as file:
        schema = file.schema_arrow
        found = [
            problem
            for field, column in columns.items()
            if (problem := _problem(field, column, [each.type for each in schema if each.name == column]))
        ]
        if found:
            raise RefusedError(f"{source.url} does not fit", problems=found)
        read = set(columns.values())
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        return schema.names, [RowGroup(group.num_rows, _size(group, read)) for group in groups]


def read_rows(
    source: Source, group: int, start: int, end: int, columns: Mapping[str, str]
) -> Iterator[tuple[int, list[dict[str, Any] | Rejected]]]:
    """Rows ``start`` to ``end`` of a row group, in lists that begin at a row of it.

    A row is field to value, for those of ``columns`` that the file has, or why it cannot be read.
    """
    with _opened(source) as file:
        present = {field: column for field, column in columns.items() if column in file.schema_arrow.names}
        metadata = file.metadata.row_group(group)
        per_row = _size(metadata, set(present.values())) / max(1, metadata.num_rows)
        rows = int(min(_MAX_ROWS, max(16, _BATCH_BYTES / max(1.0, per_row))))
        at = 0
        for batch in file.iter_batches(
            rows, row_groups=[group], columns=list(dict.fromkeys(present.values())), use_threads=False
        ):
            first, last = max(at, start), min(at + batch.num_rows, end)
            if first < last:
                part = batch.slice(first - at, last - first)
                yield first, _rows({field: _values(part.column(column)) for field, column in present.items()})
            at += batch.num_rows
            if at >= end:
                return


@contextmanager
def _opened(source: Source) -> Iterator[pq.ParquetFile]:
    with open_source(source) as stream:
        try:
            # A buffer makes it stream; without one, a column of a row group is read as a whole.
            yield pq.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False)
        except pa.ArrowException as error:
            raise StreamtagError(f"{source.url} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _size(group: Any, columns: set[str]) -> int:
    chunks = [group.column(i) for i in range(group.num_columns)]
    return sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] in columns)


_WANTED = dict.fromkeys(("text", "lang", "channel", "tenant"), "text")
_WANTED |= {"id": "text or a whole number", "features": "a struct or a map"}


def _problem(field: str, column: str, kinds: Sequence[pa.DataType]) -> str | None:
    """Why the columns of this name, none or several, cannot be the field."""
    if len(kinds) > 1:
        return f"column {column!r} is there more than once"
    wrong = [kind for kind in kinds if not _fits(field, kind)]
    return f"column {column!r} is {wrong[0]}: {field} must be {_WANTED[field]}" if wrong else None


def _fits(field: str, kind: pa.DataType) -> bool:
    if field == "features":
        return bool(pa.types.is_struct(kind) or pa.types.is_map(kind) or pa.types.is_null(kind))
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return bool(is_text or pa.types.is_null(kind) or (field == "id" and pa.types.is_integer(kind)))


def _values(column: pa.Array) -> list[Any]:
    """Python values; text that is not UTF-8 becomes a refusal of its row."""
    try:
        return [_id_as_text(value) for value in column.to_pylist()]
    except UnicodeDecodeError:
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return _id_as_text(scalar.as_py())
    except UnicodeDecodeError as error:
        return Rejected(ErrorClass.INVALID_UTF8, stage="decode", message=f"not UTF-8 at byte {error.start}")


def _id_as_text(value: Any) -> Any:
    """The value; of all columns those of ids alone may be of whole numbers."""
    return str(value) if type(value) is int else value


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any] | Rejected]:
    rows: list[dict[str, Any] | Rejected] = []
    for values in zip(*columns.values(), strict=True):
        bad = next((value for value in values if isinstance(value, Rejected)), None)
        rows.append(bad or dict(zip(columns, values, strict=True)))
    return rows
