"""Adding up cells, the counts under one release and arm: histograms of all labels as one array of integers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from struct import error as StructError  # noqa: N812 - it is a class
from struct import pack
from typing import NamedTuple

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from streamtag.domain.scores import BINS, MICRO
from streamtag.events.panes import Cell, PlacedRows
from streamtag.events.summary import ExperimentRows, LabelCounts, Pairs, PaneCounts, SegmentCounts


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
    shadow: bool


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
    [found] = all_columns([cell])
    return found


def all_columns(cells: Sequence[PaneCounts | Cell]) -> list[Columns]:
    """Takes cells apart, all of them at once: arrays are small, and what they cost goes by the call.

    Raises:
        InvalidCellError: as `columns`, of any of them.
    """
    alerts: list[int] = []
    sums: list[int] = []
    widths: list[int] = []
    bins: list[int] = []
    counts: list[int] = []
    for cell in cells:
        if not 0 <= cell.by_arrival <= cell.events:
            raise InvalidCellError(f"{cell.by_arrival} of {cell.events} events were placed by arrival")
        if cell.pairs is not UNSET:
            _check_pairs(cell, cell.pairs)
        for one in cell.labels.values():
            width = len(one.bins)
            if width != len(one.counts):
                raise InvalidCellError("a histogram has not as many counts as bins")
            alerts.append(one.alerts)
            sums.append(one.sum_micro)
            widths.append(width)
            bins += one.bins
            counts += one.counts
    labels = _int64([len(cell.labels) for cell in cells])
    every = _Labels(
        events=_int64([cell.events for cell in cells]).repeat(labels),
        alerts=_int64(alerts),
        sum_micro=_int64(sums),
        widths=_int64(widths),
        bins=_int64(bins),
        counts=_int64(counts),
    )
    ends = every.widths.cumsum()
    every.check(ends)
    label_ends = labels.cumsum()
    within = np.arange(len(widths)) - (label_ends - labels).repeat(labels)
    places = every.bins + (within * BINS).repeat(every.widths)
    found = []
    start, first = 0, 0  # of the cell's labels, and of their bins
    for cell, stop in zip(cells, label_ends.tolist(), strict=True):
        last = int(ends[stop - 1]) if stop else 0
        rows, filled = slice(start, stop), slice(first, last)
        found.append(
            Columns(
                _identity(cell),
                cell,
                tuple(cell.labels),
                every.alerts[rows],
                every.sum_micro[rows],
                places[filled],
                every.counts[filled],
            )
        )
        start, first = stop, last
    return found


def _int64(values: Sequence[int]) -> NDArray[np.int64]:
    try:
        # Four times as fast as `numpy.array`, which looks at the type of each.
        return np.frombuffer(pack(f"{len(values)}q", *values), np.int64)
    except StructError:
        raise InvalidCellError("a number is beyond 63 bits") from None


@dataclass(frozen=True, slots=True)
class _Labels:
    """Labels of several cells, one after the other; of each: events of its cell, columns, filled bins."""

    events: NDArray[np.int64]
    alerts: NDArray[np.int64]
    sum_micro: NDArray[np.int64]
    widths: NDArray[np.int64]
    bins: NDArray[np.int64]
    counts: NDArray[np.int64]

    def check(self, ends: NDArray[np.int64]) -> None:
        """Raises InvalidCellError where they contradict each other; ``ends`` of their bins [labels]."""
        if not len(self.widths):
            return
        if self.alerts.min() < 0 or self.sum_micro.min() < 0:
            raise InvalidCellError("a label has negative numbers")
        self._refuse(self.alerts > self.events, "a label has more alerts than {} events")
        # A score is at most 1.
        self._refuse(self.sum_micro > self.events * MICRO, "a label's scores add up to more than {} events can have")
        filled = self.widths > 0
        if self.events[~filled].any():
            raise InvalidCellError("a histogram is empty, and its cell is not")
        if not len(self.bins):
            return
        if self.counts.min() < 1 or self.bins.min() < 0 or self.bins.max() >= BINS:
            raise InvalidCellError("a histogram has a bin that is empty, or none of a histogram's")
        ends, starts = ends[filled], (ends - self.widths)[filled]
        ascends = self.bins[1:] > self.bins[:-1]
        ascends[ends[:-1] - 1] = True  # the next label begins
        if not ascends.all():
            raise InvalidCellError("the bins of a histogram do not ascend")
        held = np.zeros_like(self.events)
        held[filled] = np.add.reduceat(self.counts, starts)
        self._refuse(held != self.events, "a histogram does not hold the {} events of its cell")

    def _refuse(self, wrong: NDArray[np.bool_], why: str) -> None:
        if wrong.any():
            raise InvalidCellError(why.format(self.events[wrong.argmax()]))


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
        self._row_labels: dict[tuple[str, ...], list[str]] = {}  # one list for all rows that have the same
        self._pairs: Pairs = {}

    def add(self, one: Columns, offset: int) -> None:
        """Adds a cell of the summary at ``offset``."""
        self.count(one, 1)
        if one.cell.experiments is not UNSET:
            self._rows += [self._placed(rows, offset) for rows in one.cell.experiments]

    def count(self, one: Columns, times: int) -> None:
        """Adds a cell so many times; -1 takes it away. Rows of experiments are left out."""
        self._events += times * one.cell.events
        self._by_arrival += times * one.cell.by_arrival
        if one.labels == self._labels:
            self._alerts += times * one.alerts
            self._sum_micro += times * one.sum_micro
            self._histograms[one.places] += times * one.counts  # no place comes twice
        else:
            self._add_by_name(one, times)
        _add_segments(self._segments, one.cell.segments, times)
        if one.cell.pairs is not UNSET:
            _add_pairs(self._pairs, one.cell.pairs, times)

    def _placed(self, rows: ExperimentRows | PlacedRows, offset: int) -> PlacedRows:
        if isinstance(rows, PlacedRows):
            offset = rows.offset
        labels = self._row_labels.setdefault(tuple(rows.labels), rows.labels)
        return PlacedRows(rows.id, rows.phase, rows.mode, labels, rows.units, rows.shed, offset=offset)

    def cell(self) -> Cell:
        """The sums; the same sums always make the same cell."""
        experiments = self._rows or UNSET
        return Cell(
            *self._identity[:-1],
            shadow=self._identity.shadow or UNSET,
            events=self._events,
            by_arrival=self._by_arrival,
            labels=self._label_counts(),
            segments=_sorted_segments(self._segments),
            experiments=experiments,
            pairs={one: dict(sorted(others.items())) for one, others in sorted(self._pairs.items())} or UNSET,
        )

    def _add_by_name(self, one: Columns, times: int) -> None:
        """Adds a cell that has other labels, or the same in another order."""
        known = set(self._labels)
        new = [label for label in one.labels if label not in known]
        self._labels += tuple(new)
        self._alerts = np.append(self._alerts, np.zeros(len(new), np.int64))
        self._sum_micro = np.append(self._sum_micro, np.zeros(len(new), np.int64))
        self._histograms = np.append(self._histograms, np.zeros(len(new) * BINS, np.int64))
        index = {label: row for row, label in enumerate(self._labels)}
        rows = np.array([index[label] for label in one.labels], dtype=np.int64)
        self._alerts[rows] += times * one.alerts
        self._sum_micro[rows] += times * one.sum_micro
        self._histograms[rows[one.places // BINS] * BINS + one.places % BINS] += times * one.counts

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
        cell.shadow is True,
    )


def _check_pairs(cell: PaneCounts | Cell, pairs: Pairs) -> None:
    """Both labels are the cell's, in their order, and no more events have both than have either."""
    for one, others in pairs.items():
        for other, n in others.items():
            if not (one < other and one in cell.labels and other in cell.labels):
                raise InvalidCellError("a pair of labels is not of its cell, or not in their order")
            if not 0 < n <= min(cell.labels[one].alerts, cell.labels[other].alerts):
                raise InvalidCellError(f"{n} events have two labels at once, of which one has fewer")


def _add_pairs(sums: Pairs, pairs: Pairs, times: int) -> None:
    for one, others in pairs.items():
        into = sums.setdefault(one, {})
        for other, n in others.items():
            into[other] = into.get(other, 0) + times * n


def _add_segments(
    sums: dict[str, dict[str, SegmentCounts]], segments: Mapping[str, Mapping[str, SegmentCounts]], times: int
) -> None:
    for dimension, values in segments.items():
        into = sums.setdefault(dimension, {})
        for value, counts in values.items():
            known = into.get(value)
            if known is None:
                known = into[value] = SegmentCounts(0, {})
            known.events += times * counts.events
            alerts = known.alerts
            for label, n in counts.alerts.items():
                alerts[label] = alerts.get(label, 0) + times * n


def _sorted_segments(segments: Mapping[str, Mapping[str, SegmentCounts]]) -> dict[str, dict[str, SegmentCounts]]:
    return {
        dimension: {
            value: SegmentCounts(counts.events, dict(sorted(counts.alerts.items())))
            for value, counts in sorted(values.items())
        }
        for dimension, values in sorted(segments.items())
    }
