"""Commit summaries: the integer counts of one (source partition, transaction). A contract, see `topics/stats.yaml`.

Published on the stats topic in the same transaction as the tag events they count, keyed by
``<topic>/<partition>`` of the source, so one partition's summaries keep their order. Ranges ``[from, to)`` of
consecutive summaries touch; offsets inside a range that hold no record (transaction markers, compaction) count
nowhere. ``in = tagged + clean + dead + skipped``. Every number can be added; a reader never needs the tags.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

VERSION = 1


class LabelCounts(msgspec.Struct, gc=False):
    """One label in one pane.

    Attributes:
        alerts: events tagged with it.
        sum_micro: sum of its scores, in millionths.
        bins: histogram bins (0 … 1023) that are not empty, ascending; see `streamtag.domain.scores.bin_of`.
        counts: events in each of ``bins``.
    """

    alerts: int
    sum_micro: int
    bins: list[int]
    counts: list[int]


class SegmentCounts(msgspec.Struct, gc=False):
    """Events and alerts of one declared segment value (or ``other``: every other value, and none)."""

    events: int
    alerts: dict[str, int]


class UnitRows(msgspec.Struct, gc=False, frozen=True, rename={"hashes": "hash"}):
    """Columns of the events that took part in an experiment; bytes are base64 in JSON. See `events/unit_rows.py`.

    Attributes:
        hashes: of each event's unit of correlation (JSON: ``hash``), uint64 little-endian [n].
        control: what the control tagged, bits [n, labels], each row padded to whole bytes, lowest bit first.
        candidate: what the candidate tagged, likewise.
    """

    hashes: bytes
    control: bytes
    candidate: bytes


class ExperimentRows(msgspec.Struct, gc=False, frozen=True):
    """What one experiment needs of a pane, to count each unit once over the whole experiment.

    A shadow's rows hold both arms and stand in the cell of the control; a split's stand in the cell of the arm that
    decided, and the bits of the other arm are zero.

    Attributes:
        id: of the experiment, as in tag events.
        phase: index into the experiment's phases, from 0.
        mode: shadow or split.
        labels: ids, in the order of the bits.
        units: one row per event that took part.
        shed: events that should have been scored by the candidate, too, and were not, as its budget was spent.
    """

    id: str
    phase: int
    mode: Literal["shadow", "split"]
    labels: list[str]
    units: UnitRows
    shed: int = 0


Pairs = dict[str, dict[str, int]]
"""Label to label to events tagged with both; the first stands before the second in the order of their names."""


class PaneCounts(msgspec.Struct, gc=False):
    """Counts of one pane under one release and arm.

    Attributes:
        start_ms: start of the pane, Unix milliseconds of record timestamp.
        release: release number; ``release_sha256`` makes it an identity.
        bundle: ``name@version`` and its hash.
        revision: threshold revision and its hash.
        arm: control or candidate.
        events: events scored in it.
        by_arrival: of these, how many were placed by arrival (timestamp not believed).
        labels: per label id.
        segments: dimension to value to counts.
        experiments: rows of the experiments that run; absent where none does.
        pairs: events that have two labels at once; absent where none has.
        shadow: true where a candidate scored events that the control has decided: no outcomes, and no traffic of their
            own; absent elsewhere.
    """

    start_ms: int
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
    segments: dict[str, dict[str, SegmentCounts]] = {}
    experiments: list[ExperimentRows] | UnsetType = UNSET
    pairs: Pairs | UnsetType = UNSET
    shadow: bool | UnsetType = UNSET


class CommitSummary(msgspec.Struct, gc=False, rename={"from_offset": "from", "to_offset": "to", "in_": "in"}):
    """All counts of one source partition in one transaction.

    Attributes:
        version: of this schema.
        topic, partition: the source.
        from_offset, to_offset: half-open range of positions covered (JSON: ``from``, ``to``).
        in_: records read in the range (JSON: ``in``) = tagged + clean + dead + skipped.
        tagged: events with at least one tag.
        clean: events without one.
        dead: dead letters.
        skipped: tombstones (null payload).
        pane_ms: width of the panes.
        writer: slot of the worker (its transactional.id).
        delivery: exactly_once or at_least_once; ranges of the latter can overlap.
        committed_at_ms: when the transaction was closed, Unix milliseconds.
        panes: counts per pane, release and arm.
    """

    version: int
    topic: str
    partition: int
    from_offset: int
    to_offset: int
    in_: int
    tagged: int
    clean: int
    dead: int
    skipped: int
    pane_ms: int
    writer: str
    delivery: str
    committed_at_ms: int
    panes: list[PaneCounts]


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(CommitSummary).decode


def key(topic: str, partition: int) -> bytes:
    """Key of the summaries of one source partition."""
    return f"{topic}/{partition}".encode()
