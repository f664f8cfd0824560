"""Adding up cells, the counts under one release and arm: histograms of all labels as one array of integers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from streamtag.domain.scores import BINS, MICRO
from streamtag.events.panes import Cell, PlacedRows
from streamtag.events.summary import LabelCounts, PaneCounts, SegmentCounts


class InvalidCellError(ValueError):
    """The counts of a cell contradict each other; the message says how."""


class Identity(NamedTuple):
    """What decided the events of a cell. Sorts by number first."""

    release: int
    release_sha256: str
    bundle: str
    bundle_sha256: str
    revision: int
    revision_sha256: str
    arm: str


@dataclass(frozen=True, slots=True)
class Columns:
    """One cell, taken apart and checked; the columns are int64.

    Attributes:
        identity: what decided its events.
        cell: as it came.
        labels: ids, n of them.
        alerts, sum_micro: per label [n].
        places: filled bins of the labels' histograms, ``label * BINS + bin`` [m], ascending.
        counts: events in each [m].
    """

    identity: Identity
    cell: PaneCounts | Cell
    labels: tuple[str, ...]
    alerts: NDArray[np.int64]
    sum_micro: NDArray[np.int64]
    places: NDArray[np.int64]
    counts: NDArray[np.int64]


def columns(cell: PaneCounts | Cell) -> Columns:
    """Takes a cell apart.

    Raises:
        InvalidCellError: its counts contradict each other. Nothing may be added up before that is known.
    """
    every = list(cell.labels.values())
    widths = [len(one.bins) for one in every]
    if widths != [len(one.counts) for one in every]:
        raise InvalidCellError("a histogram has not as many counts as bins")
    try:
        bins = np.array([b for one in every for b in one.bins], dtype=np.int64)
        counts = np.array([n for one in every for n in one.counts], dtype=np.int64)
        alerts = np.array([one.alerts for one in every], dtype=np.int64)
        sum_micro = np.array([one.sum_micro for one in every], dtype=np.int64)
    except OverflowError:
        raise InvalidCellError("a number is beyond 63 bits") from None
    if not 0 <= cell.by_arrival <= cell.events:
        raise InvalidCellError(f"{cell.by_arrival} of {cell.events} events were placed by arrival")
    places = bins + np.repeat(np.arange(0, len(widths) * BINS, BINS), widths)
    if every:
        _check_histograms(cell.events, widths, bins, places, counts)
        if alerts.min() < 0 or alerts.max() > cell.events or sum_micro.min() < 0:
            raise InvalidCellError(f"a label has more alerts than {cell.events} events, or negative numbers")
        if int(sum_micro.max()) > cell.events * MICRO:
            raise InvalidCellError(f"a label's scores add up to more than {cell.events} events can have")
    return Columns(_identity(cell), cell, tuple(cell.labels), alerts, sum_micro, places, counts)


def _check_histograms(
    events: int, widths: list[int], bins: NDArray[np.int64], places: NDArray[np.int64], counts: NDArray[np.int64]
) -> None:
    """Every label's bins ascend, and hold each event of the cell once."""
    if not events and not len(bins):
        return
    if min(widths) < 1 or counts.min() < 1 or bins.min() < 0 or bins.max() >= BINS:
        raise InvalidCellError("a histogram is empty, or has a bin that is empty or none of a histogram's")
    if len(places) > 1 and (places[1:] <= places[:-1]).any():
        raise InvalidCellError("the bins of a histogram do not ascend")
    starts = np.cumsum([0, *widths[:-1]])
    if (np.add.reduceat(counts, starts) != events).any():
        raise InvalidCellError(f"a histogram does not hold the {events} events of its cell")


class CellSums:
    """Adds up cells of one identity."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._events = 0
        self._by_arrival = 0
        self._labels: tuple[str, ...] = ()
        self._alerts = np.zeros(0, np.int64)
        self._sum_micro = np.zeros(0, np.int64)
        self._histograms = np.zeros(0, np.int64)  # [labels * BINS]
        self._segments: dict[str, dict[str, SegmentCounts]] = {}
        self._rows: list[PlacedRows] = []

    def add(self, one: Columns, offset: int) -> None:
        """Adds a cell of the summary at ``offset``."""
        self._events += one.cell.events
        self._by_arrival += one.cell.by_arrival
        if one.labels == self._labels:
            self._alerts += one.alerts
            self._sum_micro += one.sum_micro
            self._histograms[one.places] += one.counts  # no place comes twice
        else:
            self._add_by_name(one)
        _add_segments(self._segments, one.cell.segments)
        self._rows += _placed(one.cell, offset)

    def cell(self) -> Cell:
        """The sums; the same sums always make the same cell."""
        experiments = self._rows or UNSET
        return Cell(
            *self._identity,
            events=self._events,
            by_arrival=self._by_arrival,
            labels=self._label_counts(),
            segments=_sorted_segments(self._segments),
            experiments=experiments,
        )

    def _add_by_name(self, one: Columns) -> None:
        """Adds a cell that has other labels, or the same in another order."""
        known = set(self._labels)
        new = [label for label in one.labels if label not in known]
        self._labels += tuple(new)
        self._alerts = np.append(self._alerts, np.zeros(len(new), np.int64))
        self._sum_micro = np.append(self._sum_micro, np.zeros(len(new), np.int64))
        self._histograms = np.append(self._histograms, np.zeros(len(new) * BINS, np.int64))
        index = {label: row for row, label in enumerate(self._labels)}
        rows = np.array([index[label] for label in one.labels], dtype=np.int64)
        self._alerts[rows] += one.alerts
        self._sum_micro[rows] += one.sum_micro
        self._histograms[rows[one.places // BINS] * BINS + one.places % BINS] += one.counts

    def _label_counts(self) -> dict[str, LabelCounts]:
        filled = np.flatnonzero(self._histograms)
        bins, counts = (filled % BINS).tolist(), self._histograms[filled].tolist()
        ends = filled.searchsorted(np.arange(len(self._labels) + 1) * BINS).tolist()
        alerts, sums = self._alerts.tolist(), self._sum_micro.tolist()
        return {
            label: LabelCounts(
                alerts[row], sums[row], bins[ends[row] : ends[row + 1]], counts[ends[row] : ends[row + 1]]
            )
            for label, row in sorted((label, row) for row, label in enumerate(self._labels))
        }


def add_to(sums: dict[Identity, CellSums], cells: Iterable[Columns], offset: int) -> None:
    """Adds the cells of the summary at ``offset`` to ``sums``."""
    for one in cells:
        into = sums.get(one.identity)
        if into is None:
            into = sums[one.identity] = CellSums(one.identity)
        into.add(one, offset)


def _identity(cell: PaneCounts | Cell) -> Identity:
    return Identity(
        cell.release,
        cell.release_sha256,
        cell.bundle,
        cell.bundle_sha256,
        cell.revision,
        cell.revision_sha256,
        cell.arm,
    )


def _placed(cell: PaneCounts | Cell, offset: int) -> list[PlacedRows]:
    if cell.experiments is UNSET:
        return []
    return [
        rows
        if isinstance(rows, PlacedRows)
        else PlacedRows(rows.id, rows.phase, rows.mode, rows.labels, rows.units, rows.shed, offset=offset)
        for rows in cell.experiments
    ]


def _add_segments(
    sums: dict[str, dict[str, SegmentCounts]], segments: Mapping[str, Mapping[str, SegmentCounts]]
) -> None:
    for dimension, values in segments.items():
        into = sums.setdefault(dimension, {})
        for value, counts in values.items():
            known = into.get(value)
            if known is None:
                into[value] = SegmentCounts(counts.events, dict(counts.alerts))
                continue
            known.events += counts.events
            alerts = known.alerts
            for label, n in counts.alerts.items():
                alerts[label] = alerts.get(label, 0) + n


def _sorted_segments(segments: Mapping[str, Mapping[str, SegmentCounts]]) -> dict[str, dict[str, SegmentCounts]]:
    return {
        dimension: {
            value: SegmentCounts(counts.events, dict(sorted(counts.alerts.items())))
            for value, counts in sorted(values.items())
        }
        for dimension, values in sorted(segments.items())
    }
