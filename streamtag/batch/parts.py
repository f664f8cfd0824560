"""Parts of the output: a file of decisions in one of three forms, written as they come."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from streamtag.batch.places import FileFormat
from streamtag.batch.scoring import Scored
from streamtag.events.tags import SegmentValues, Tag

__all__ = ["Identity", "PartWriter", "open_part"]

_GROUP_ROWS = 65_536


class Identity(msgspec.Struct, frozen=True, omit_defaults=True):
    """What decided; the same for every row of a job.

    Attributes:
        bundle: ``name@version``.
        bundle_sha256: of its manifest.
        thresholds: where the cut-offs come from: ``bundle``, the name of a file, or ``revision <number>``.
        thresholds_sha256: of the revision; elsewhere of the set as JSON.
        release: number of the release, where one decided.
    """

    bundle: str
    bundle_sha256: str
    thresholds: str
    thresholds_sha256: str
    release: int | None = None


class PartWriter(Protocol):
    """Writes the rows of one part."""

    def write(self, scored: Scored) -> None:
        """Adds decisions."""

    def close(self) -> None:
        """Finishes the file; the stream stays open."""


def open_part(
    file_format: FileFormat,
    stream: BinaryIO,
    labels: Sequence[str],
    identity: Identity,
    *,
    two_stages: bool = False,
    breakers: bool = False,
) -> PartWriter:
    """A writer of the form wanted.

    Args:
        file_format: that form.
        stream: to write to.
        labels: in their order.
        identity: what decides.
        two_stages: every row says which one scored it, and why.
        breakers: every row says which of its tags ask for review only.
    """
    return _WRITERS[file_format](stream, labels, identity, two_stages, breakers)


def schema_of(labels: Sequence[str], *, two_stages: bool = False, breakers: bool = False) -> pa.Schema:
    """Columns of a Parquet part."""
    stages = [("stage", pa.string()), ("stage2", pa.string())] if two_stages else []
    review = [("review", pa.list_(pa.string())), ("breakers", pa.int64())] if breakers else []
    return pa.schema(
        [
            ("id", pa.string()),
            ("tags", pa.list_(pa.string())),
            *((f"score_{label}", pa.float64()) for label in labels),
            ("bundle", pa.string()),
            ("bundle_sha256", pa.string()),
            ("thresholds", pa.string()),
            ("thresholds_sha256", pa.string()),
            ("release", pa.int64()),
            *stages,
            *review,
        ]
    )


class _ParquetPart:
    def __init__(
        self, stream: BinaryIO, labels: Sequence[str], identity: Identity, two_stages: bool, breakers: bool
    ) -> None:
        self._labels = list(labels)
        self._identity = msgspec.structs.asdict(identity)
        self._two_stages, self._breakers = two_stages, breakers
        self._schema = schema_of(labels, two_stages=two_stages, breakers=breakers)
        # Ids and scores are worth no dictionary.
        repeated = ["tags.list.element", *self._identity, *(("stage", "stage2") if two_stages else ())]
        repeated += ["review.list.element", "breakers"] if breakers else []
        self._writer = pq.ParquetWriter(
            pa.PythonFile(stream, mode="w"), self._schema, compression="zstd", use_dictionary=repeated
        )
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, scored: Scored) -> None:
        n = len(scored.events)
        columns: list[pa.Array] = [pa.array([event.id for event in scored.events], pa.string())]
        columns.append(self._lists(scored.tagged))
        columns += [pa.array(scored.scores[:, j]) for j in range(len(self._labels))]
        for name, value in self._identity.items():
            columns.append(pa.repeat(pa.scalar(value, self._schema.field(name).type), n))
        if self._two_stages:
            columns += [pa.array(column, pa.string()) for column in _stage_columns(scored)]
        if self._breakers:
            columns.append(self._lists(scored.review(self._labels)))
            columns.append(pa.repeat(pa.scalar(scored.breakers.told, pa.int64()), n))
        self._waiting.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._rows += n
        if self._rows >= _GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _lists(self, chosen: NDArray[np.bool_]) -> pa.ListArray:
        """The labels chosen in each row."""
        offsets = np.zeros(len(chosen) + 1, dtype=np.int32)
        chosen.sum(axis=1).cumsum(out=offsets[1:])
        labels = pa.array(self._labels, pa.string()).take(pa.array(chosen.nonzero()[1]))
        return pa.ListArray.from_arrays(pa.array(offsets), labels)

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_batches(self._waiting, self._schema)
            self._writer.write_table(table, row_group_size=self._rows)
        self._waiting, self._rows = [], 0


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row as JSON: a line of `streamtag score`, with what decided."""

    id: str
    tags: list[Tag]
    scores: dict[str, float]
    segment: SegmentValues | None
    release: msgspec.Raw
    breakers: int | None = None
    stage: str = "1"
    stage2: str | None = None
    stage1_scores: dict[str, float] | None = None


class _JsonPart:
    """Tags have their action beside them, and rows the number of the breakers, in the form of tag events."""

    def __init__(
        self, stream: BinaryIO, labels: Sequence[str], identity: Identity, _two_stages: bool, _breakers: bool
    ) -> None:
        self._stream = stream
        self._labels = labels
        self._release = msgspec.Raw(msgspec.json.encode(identity))
        self._encode = msgspec.json.Encoder().encode_lines

    def write(self, scored: Scored) -> None:
        self._stream.write(
            self._encode(
                [
                    _Line(
                        event.id,
                        scored.tags(row, self._labels),
                        dict(zip(self._labels, scored.scores[row].tolist(), strict=True)),
                        _segment(event.lang, event.channel, event.tenant),
                        self._release,
                        scored.breakers.told,
                        **scored.staged(row, self._labels)._asdict(),
                    )
                    for row, event in enumerate(scored.events)
                ]
            )
        )

    def close(self) -> None:
        pass


def _segment(lang: str | None, channel: str | None, tenant: str | None) -> SegmentValues | None:
    return None if lang is channel is tenant is None else SegmentValues(lang, channel, tenant)


class _CsvPart:
    """Tags are separated by spaces; what is not there is empty."""

    def __init__(
        self, stream: BinaryIO, labels: Sequence[str], identity: Identity, two_stages: bool, breakers: bool
    ) -> None:
        self._labels = labels
        self._stream = stream
        self._two_stages, self._breakers = two_stages, breakers
        self._constant = list(msgspec.structs.asdict(identity).values())
        self._write([schema_of(labels, two_stages=two_stages, breakers=breakers).names])

    def write(self, scored: Scored) -> None:
        review = scored.review(self._labels)
        self._write(
            [
                event.id,
                self._names(scored.tagged[row]),
                *map(_decimal, scored.scores[row].tolist()),
                *self._constant,
                *(scored.staged(row, self._labels)[:2] if self._two_stages else ()),
                *((self._names(review[row]), scored.breakers.told) if self._breakers else ()),
            ]
            for row, event in enumerate(scored.events)
        )

    def close(self) -> None:
        pass

    def _names(self, chosen: NDArray[np.bool_]) -> str:
        return " ".join(self._labels[j] for j in chosen.nonzero()[0].tolist())

    def _write(self, rows: Any) -> None:
        text = io.StringIO(newline="")
        plain = csv.writer(text, lineterminator="\n")
        quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
        for row in rows:
            # Python's writer leaves a carriage return bare, at which readers end a row: an id could forge another's.
            (quoted if any(isinstance(value, str) and "\r" in value for value in row) else plain).writerow(row)
        self._stream.write(text.getvalue().encode())


def _stage_columns(scored: Scored) -> tuple[list[str | None], ...]:
    rows = [scored.staged(row, ()) for row in range(len(scored.events))]
    return [one.stage for one in rows], [one.stage2 for one in rows]


def _decimal(score: float) -> str:
    return f"{score:.6f}"


_WRITERS: Mapping[FileFormat, Callable[[BinaryIO, Sequence[str], Identity, bool, bool], PartWriter]] = {
    FileFormat.PARQUET: _ParquetPart,
    FileFormat.JSONL: _JsonPart,
    FileFormat.CSV: _CsvPart,
}
