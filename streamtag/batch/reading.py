"""Slices of files to content events, a batch at a time, whatever the format."""

from collections.abc import Iterator, Mapping
from typing import Any

from streamtag.batch.csv_files import fields_of, is_sound
from streamtag.batch.lines import Record, blocks, records
from streamtag.batch.parquet_files import read_rows
from streamtag.batch.places import FileFormat, Source, open_source
from streamtag.batch.rows import Batch, Slice
from streamtag.batch.table_rows import row_event
from streamtag.events.content import ContentEvent
from streamtag.events.decoder import Decoder
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.settings import EventsSettings

__all__ = ["Reader"]

_MAX_EVENTS = 2_048


class Reader:
    """Reads slices.

    Args:
        limits: what one record may be, and the mapping of foreign JSON lines.
        columns: field to the name of its column, in tables.
    """

    def __init__(self, limits: EventsSettings, columns: Mapping[str, str]) -> None:
        self._limits = limits
        self._columns = columns
        self._decoder = Decoder(limits)

    def read(self, source: Source, part: Slice) -> Iterator[Batch]:
        """The rows of a slice in their order; a batch holds two thousand at most."""
        if source.format is FileFormat.PARQUET:
            yield from self._table(source, part)
        else:
            yield from self._lines(source, part)

    def _table(self, source: Source, part: Slice) -> Iterator[Batch]:
        for first, rows in read_rows(source, part.group, part.start, part.end, self._columns):
            batch = Batch(source.url)
            for number, row in enumerate(rows, part.first + first - part.start):
                try:
                    batch.add(number, row_event(_good(row), self._decoder, f"{source.url}:{number}"))
                except Rejected as rejected:
                    batch.refuse(number, rejected)
            yield batch

    def _lines(self, source: Source, part: Slice) -> Iterator[Batch]:
        quoted = source.format is FileFormat.CSV
        length = None if part.end < 0 else part.end - part.start
        with open_source(source, at=part.start) as stream:
            found = records(
                blocks(stream, length),
                self._limits.max_bytes,
                quoted=quoted,
                line=part.first,
                begins_file=part.start == 0,
                sound=lambda content, whole: is_sound(content, source.delimiter, whole),
            )
            for read in found:
                for at in range(0, len(read), _MAX_EVENTS):
                    batch = Batch(source.url)
                    for record in read[at : at + _MAX_EVENTS]:
                        self._take(batch, source, part, record)
                    yield batch

    def _take(self, batch: Batch, source: Source, part: Slice, record: Record) -> None:
        """Adds the event of a line, or why there is none; a blank line is passed by."""
        try:
            event = self._of_line(source, part, record)
        except Rejected as rejected:
            batch.refuse(record.line, rejected)
        else:
            if event is not None:
                batch.add(record.line, event)

    def _of_line(self, source: Source, part: Slice, record: Record) -> ContentEvent | None:
        if record.content is None:
            message = f"longer than {self._limits.max_bytes} bytes (events.max_bytes)" + (
                record.note and f"; {record.note}"
            )
            raise Rejected(ErrorClass.TOO_LARGE, stage="decode", message=message)
        # A tab is white space in JSON lines, and in TSV it makes a row of empty fields.
        if not record.content.strip(None if source.format is FileFormat.JSONL else b"\r\n"):
            return None
        if source.format is FileFormat.JSONL:
            position = (source.url, 0, record.line)
            return self._decoder.decode(record.content, key=None, headers=None, position=position)
        fields = fields_of(record.content, source.delimiter, part.header, self._columns)
        # A CSV file has no other way to say that there is none.
        filled = {name: value for name, value in fields.items() if value or name in {"id", "text"}}
        return row_event(filled, self._decoder, f"{source.url}:{record.line}")


def _good(row: dict[str, Any] | Rejected) -> dict[str, Any]:
    if isinstance(row, Rejected):
        raise row
    return row
