"""Panes: all counts of one span of record time, as one shard of the stats topic knows it. See `topics/panes.yaml`.

A shard is a partition of the stats topic; add the shards. A pane comes again with every revision: of the records of
one (shard, start_ms, pane_ms) the one with the largest ``n`` counts, and those with ``addendum`` are added to it, each
``n`` once. The same ``n`` always comes with the same bytes, so a record that was written twice does no harm.
"""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import UNSET, UnsetType

from streamtag.events.summary import ExperimentRows, LabelCounts, Pairs, SegmentCounts

VERSION = 1


class PlacedRows(ExperimentRows, gc=False, frozen=True, kw_only=True):
    """Rows of an experiment out of one summary.

    On the wire, ``labels`` are empty where they are those of the rows before them of the same experiment and phase: a
    pane holds hundreds of summaries, and names would be most of it.

    Attributes:
        offset: of the summary in its shard. Units count once, in the order of pane, shard, offset and row.
    """

    offset: int


class Cell(msgspec.Struct, gc=False):
    """Counts under one release and arm; the fields are those of `summary.PaneCounts`."""

    release: int
    release_sha256: str
    bundle: str
    bundle_sha256: str
    revision: int
    revision_sha256: str
    arm: str
    events: int
    by_arrival: int
    labels: dict[str, LabelCounts]
    segments: dict[str, dict[str, SegmentCounts]]
    experiments: list[PlacedRows] | UnsetType = UNSET
    pairs: Pairs | UnsetType = UNSET
    shadow: bool | UnsetType = UNSET


class Pane(msgspec.Struct, gc=False):
    """One revision of a pane, or an addendum to it.

    Attributes:
        version: of this schema.
        shard: partition of the stats topic.
        start_ms, pane_ms: the pane is ``[start_ms, start_ms + pane_ms)``, Unix milliseconds of record timestamp.
        n: offset of the last summary in it + 1.
        addendum: one summary's counts that came after the pane was final; add it.
        exact: no source range in it was counted twice, or is known to be missing.
        positions: ``topic/partition`` of the source to the range of positions that its summaries span.
        cells: one per release and arm.
    """

    version: int
    shard: int
    start_ms: int
    pane_ms: int
    n: int
    addendum: bool
    exact: bool
    positions: dict[str, tuple[int, int]]
    cells: list[Cell]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Pane).decode


def encode(pane: Pane) -> bytes:
    """The wire form; equal panes have equal bytes."""
    cells = [
        cell if cell.experiments is UNSET else msgspec.structs.replace(cell, experiments=list(_short(cell.experiments)))
        for cell in pane.cells
    ]
    return _encode(msgspec.structs.replace(pane, cells=cells))


def decode(value: bytes) -> Pane:
    """The inverse of `encode`; raises `msgspec.DecodeError`."""
    pane = _decode(value)
    for cell in pane.cells:
        if cell.experiments is not UNSET:
            cell.experiments = list(_full(cell.experiments))
    return pane


def _short(found: Iterable[PlacedRows]) -> Iterator[PlacedRows]:
    """Without the labels that are known from the rows before."""
    known: dict[tuple[str, int], list[str]] = {}
    for rows in found:
        if known.get((rows.id, rows.phase)) == rows.labels:
            yield msgspec.structs.replace(rows, labels=[])
        else:
            known[rows.id, rows.phase] = rows.labels
            yield rows


def _full(found: Iterable[PlacedRows]) -> Iterator[PlacedRows]:
    known: dict[tuple[str, int], list[str]] = {}
    for rows in found:
        if rows.labels:
            known[rows.id, rows.phase] = rows.labels
            yield rows
        elif (rows.id, rows.phase) in known:
            yield msgspec.structs.replace(rows, labels=known[rows.id, rows.phase])
        else:
            raise msgspec.ValidationError(f"the first rows of experiment {rows.id} name no labels")


def key(pane: Pane) -> bytes:
    """``shard/start_ms`` of a pane; an addendum adds ``/a`` and the offset of its summary."""
    where = f"{pane.shard}/{pane.start_ms}"
    return (f"{where}/a{pane.n - 1}" if pane.addendum else where).encode()
