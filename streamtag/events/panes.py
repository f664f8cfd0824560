"""Panes: all counts of one span of record time, as one shard of the stats topic knows it. See `topics/panes.yaml`.

A shard is a partition of the stats topic; add the shards. A pane comes again with every revision: of the records of
one (shard, start_ms, pane_ms) the one with the largest ``n`` counts, and those with ``addendum`` are added to it, each
``n`` once. The same ``n`` always comes with the same bytes, so a record that was written twice does no harm.
"""

import msgspec
from msgspec import UNSET, UnsetType

from streamtag.events.summary import ExperimentRows, LabelCounts, Pairs, SegmentCounts

VERSION = 1


class PlacedRows(ExperimentRows, gc=False, frozen=True, kw_only=True):
    """Rows of an experiment out of one summary.

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


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Pane).decode


def key(pane: Pane) -> bytes:
    """``shard/start_ms`` of a pane; an addendum adds ``/a`` and the offset of its summary."""
    where = f"{pane.shard}/{pane.start_ms}"
    return (f"{where}/a{pane.n - 1}" if pane.addendum else where).encode()
