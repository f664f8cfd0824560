"""What passes between reading and writing: slices of files, batches of events, rows that are none."""

from dataclasses import dataclass, field

import msgspec

from streamtag.events.content import ContentEvent
from streamtag.events.rejection import Rejected

__all__ = ["FIELDS", "TEXT_FIELDS", "Batch", "Reject", "Slice"]

TEXT_FIELDS = ("id", "text", "lang", "channel", "tenant")
"""What a column of CSV can be."""
FIELDS = (*TEXT_FIELDS, "features")
"""What a column of any table can be."""


class Slice(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of one file, read by one process.

    Attributes:
        source: index into the sources of the plan.
        start, end: bytes (JSON lines, CSV), or rows of the row group (Parquet); ``end`` -1: to the end of the file.
        first: line (JSON lines, CSV) or row (Parquet) of the file that it begins with, from 1.
        weight: bytes, to share the work by.
        group: row group (Parquet).
        header: names of the columns (CSV).
    """

    source: int
    start: int
    end: int
    first: int
    weight: int
    group: int = 0
    header: tuple[str, ...] = ()


class Reject(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row without a score, never with its content; ``number`` is its line, or its row in Parquet, from 1."""

    file: str
    number: int
    error_class: str
    message: str
    field: str = ""


@dataclass
class Batch:
    """Rows that were read together: ``events`` with their ``numbers``, and those that are none."""

    file: str
    numbers: list[int] = field(default_factory=list)
    events: list[ContentEvent] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def add(self, number: int, event: ContentEvent) -> None:
        """Takes a good row."""
        self.numbers.append(number)
        self.events.append(event)

    def refuse(self, number: int, rejected: Rejected) -> None:
        """Takes a row that is refused, and why."""
        self.rejects.append(Reject(self.file, number, str(rejected.error_class), rejected.message, rejected.field))
