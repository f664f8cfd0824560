"""What the open transaction decided, in integers: the commit summaries, counted over columns when it closes."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from streamtag.domain.release import ReleaseRef
from streamtag.domain.scores import BINS, bin_of
from streamtag.domain.thresholds import DIMENSIONS, Segment
from streamtag.events.summary import (
    VERSION,
    CommitSummary,
    ExperimentRows,
    LabelCounts,
    Pairs,
    PaneCounts,
    SegmentCounts,
)
from streamtag.events.unit_rows import UnitColumns, pack
from streamtag.stream.processor import Partition, Range

OTHER = "other"
_TABLE = 1 << 18
"""Cells of a table of histograms, 2 MiB. One for everything could take hundreds, nearly all of it empty."""


@dataclass(frozen=True)
class ScoredBatch:
    """Events of one batch under one release, as columns of the same length n.

    Attributes:
        ref: the release.
        labels: its label ids, in column order.
        partitions: source partition of each event, as a number given by `Counts.number`; intp [n].
        panes: start of its pane, int64 [n], Unix milliseconds.
        by_arrival: bool [n].
        micro: scores in millionths, int64 [n, labels].
        tagged: bool [n, labels].
        segments: (lang, channel, tenant) of each event.
        arm: that decided.
        shadow: nothing was decided; see `streamtag.events.summary.PaneCounts`.
    """

    ref: ReleaseRef
    labels: tuple[str, ...]
    partitions: NDArray[np.intp]
    panes: NDArray[np.int64]
    by_arrival: NDArray[np.bool_]
    micro: NDArray[np.int64]
    tagged: NDArray[np.bool_]
    segments: Sequence[Segment]
    arm: Literal["control", "candidate"] = "control"
    shadow: bool = False

    @property
    def cell(self) -> "_Cell":
        """Which cell of a pane it is counted in."""
        return self.ref, self.arm, self.shadow

    def take(self, rows: NDArray[np.intp]) -> "ScoredBatch":
        """Some of its events."""
        return replace(
            self,
            partitions=self.partitions[rows],
            panes=self.panes[rows],
            by_arrival=self.by_arrival[rows],
            micro=self.micro[rows],
            tagged=self.tagged[rows],
            segments=[self.segments[row] for row in rows.tolist()],
        )


_Cell = tuple[ReleaseRef, str, bool]


@dataclass(frozen=True, eq=False)
class TrialRows:
    """Events of one batch that took part in an experiment, as columns of the same length n.

    Attributes:
        id, phase, mode, labels: of the experiment, see `streamtag.events.summary.ExperimentRows`.
        cell: that they stand in.
        partitions: source partition of each event, as in `ScoredBatch`; intp [n].
        panes: start of its pane, int64 [n].
        units: hashes and what either arm tagged, n rows.
        shed: the candidate did not score it: counted, and nothing else, bool [n].
    """

    id: str
    phase: int
    mode: Literal["shadow", "split"]
    labels: tuple[str, ...]
    cell: _Cell
    partitions: NDArray[np.intp]
    panes: NDArray[np.int64]
    units: UnitColumns
    shed: NDArray[np.bool_]


@dataclass
class Totals:
    """Outcomes of one source partition in the open transaction."""

    tagged: int = 0
    clean: int = 0
    dead: int = 0
    skipped: int = 0


@dataclass
class Counts:
    """Collects batches of one transaction; `summaries` turns them into records.

    Args:
        pane_ms: width of the panes.
        segments: declared values per dimension; others count as ``other``.
        writer: transactional.id of this worker.
        delivery: named in the summaries.
    """

    pane_ms: int
    segments: Mapping[Literal["lang", "channel", "tenant"], Sequence[str]]
    writer: str
    delivery: str
    _batches: list[ScoredBatch] = field(default_factory=list)
    _rows: list[TrialRows] = field(default_factory=list)
    _totals: dict[Partition, Totals] = field(default_factory=dict)
    _numbers: dict[Partition, int] = field(default_factory=dict)
    _panes: set[tuple[_Cell, int, int]] = field(default_factory=set)
    _cells: int = 0

    def totals(self, partition: Partition) -> Totals:
        """Of one partition, to be added to."""
        found = self._totals.get(partition)
        if found is None:
            found = self._totals[partition] = Totals()
        return found

    def all_totals(self) -> Totals:
        """Over all partitions."""
        every = self._totals.values()
        return Totals(
            sum(t.tagged for t in every),
            sum(t.clean for t in every),
            sum(t.dead for t in every),
            sum(t.skipped for t in every),
        )

    def number(self, partitions: Sequence[Partition]) -> NDArray[np.intp]:
        """A number for each partition, the same within a transaction; intp [n]."""
        numbers = self._numbers
        for partition in set(partitions).difference(numbers):
            numbers[partition] = len(numbers)
        return np.fromiter(map(numbers.__getitem__, partitions), dtype=np.intp, count=len(partitions))

    def add(self, batch: ScoredBatch) -> None:
        """Counts a batch of scored events."""
        self._batches.append(batch)
        before = len(self._panes)
        places = set(zip(batch.partitions.tolist(), batch.panes.tolist(), strict=True))
        self._panes.update((batch.cell, partition, start) for partition, start in places)
        self._cells += (len(self._panes) - before) * len(batch.labels)
        if batch.shadow:
            return
        events = np.bincount(batch.partitions, minlength=len(self._numbers)).tolist()
        tagged = np.bincount(batch.partitions[batch.tagged.any(axis=1)], minlength=len(self._numbers)).tolist()
        for partition, number in self._numbers.items():
            if events[number]:
                totals = self.totals(partition)
                totals.tagged += tagged[number]
                totals.clean += events[number] - tagged[number]

    def add_rows(self, rows: TrialRows) -> None:
        """Notes events that took part in an experiment; their batch is added besides."""
        self._rows.append(rows)

    def cells(self) -> int:
        """Labels times panes that the summaries will hold."""
        return self._cells

    def alerts(self) -> dict[str, int]:
        """Label to events tagged with it."""
        found: dict[str, int] = {}
        for batch in self._batches:
            if batch.shadow:
                continue
            for label, n in zip(batch.labels, batch.tagged.sum(axis=0).tolist(), strict=True):
                found[label] = found.get(label, 0) + n
        return found

    def by_arrival(self) -> int:
        """Events placed by arrival."""
        return sum(int(batch.by_arrival.sum()) for batch in self._batches if not batch.shadow)

    def clear(self) -> None:
        """The transaction is over."""
        self._batches.clear()
        self._rows.clear()
        self._totals.clear()
        self._numbers.clear()
        self._panes.clear()
        self._cells = 0

    def summaries(self, covered: Mapping[Partition, Range], now_ms: int) -> list[CommitSummary]:
        """One summary per covered partition; ``in`` adds up by construction and is checked by readers."""
        panes: dict[Partition, list[PaneCounts]] = {partition: [] for partition in covered}
        rows = self._packed_rows()
        for batch in _merged(self._batches):
            for partition, pane in self._count(batch):
                mine = rows.get((partition, pane.start_ms, batch.cell))
                if mine:
                    pane.experiments = mine
                panes[partition].append(pane)
        return [self._summary(partition, span, panes[partition], now_ms) for partition, span in covered.items()]

    def _summary(self, partition: Partition, span: Range, panes: list[PaneCounts], now_ms: int) -> CommitSummary:
        totals = self.totals(partition)
        return CommitSummary(
            version=VERSION,
            topic=partition[0],
            partition=partition[1],
            from_offset=span.start,
            to_offset=span.end,
            in_=totals.tagged + totals.clean + totals.dead + totals.skipped,
            tagged=totals.tagged,
            clean=totals.clean,
            dead=totals.dead,
            skipped=totals.skipped,
            pane_ms=self.pane_ms,
            writer=self.writer,
            delivery=self.delivery,
            committed_at_ms=now_ms,
            panes=sorted(
                panes, key=lambda pane: (pane.start_ms, pane.release, pane.arm != "control", pane.shadow is True)
            ),
        )

    def _count(self, batch: ScoredBatch) -> list[tuple[Partition, PaneCounts]]:
        """Counts one release's events by (partition, pane)."""
        starts, pane = np.unique(batch.panes, return_inverse=True)
        places, group = np.unique(batch.partitions * len(starts) + pane, return_inverse=True)
        groups = len(places)
        events = np.bincount(group).tolist()
        by_arrival = np.bincount(group[batch.by_arrival], minlength=groups).tolist()
        labels = _count_labels(batch, group, groups)
        segments = self._count_segments(batch, group, groups)
        pairs = _count_pairs(batch, group)
        partitions = list(self._numbers)
        return [
            (
                partitions[place // len(starts)],
                PaneCounts(
                    start_ms=int(starts[place % len(starts)]),
                    **_identity(batch.ref),
                    arm=batch.arm,
                    events=events[g],
                    by_arrival=by_arrival[g],
                    labels=labels[g],
                    segments=segments[g],
                    pairs=pairs.get(g, UNSET),
                    shadow=batch.shadow or UNSET,
                ),
            )
            for g, place in enumerate(places.tolist())
        ]

    def _packed_rows(self) -> dict[tuple[Partition, int, _Cell], list[ExperimentRows]]:
        """Source partition, pane and cell to the rows that stand there, an entry for each experiment and phase."""
        partitions = list(self._numbers)
        gathered: dict[
            tuple[Partition, int, _Cell], dict[tuple[str, int], list[tuple[TrialRows, NDArray[np.intp]]]]
        ] = {}
        for rows in self._rows:
            places = set(zip(rows.partitions.tolist(), rows.panes.tolist(), strict=True))
            for number, start in sorted(places):
                of = np.flatnonzero((rows.partitions == number) & (rows.panes == start))
                here = gathered.setdefault((partitions[number], start, rows.cell), {})
                here.setdefault((rows.id, rows.phase), []).append((rows, of))
        return {
            place: [_pack(parts) for _, parts in sorted(experiments.items())] for place, experiments in gathered.items()
        }

    def _count_segments(
        self, batch: ScoredBatch, group: NDArray[np.intp], groups: int
    ) -> list[dict[str, dict[str, SegmentCounts]]]:
        found: list[dict[str, dict[str, SegmentCounts]]] = [{} for _ in range(groups)]
        for dimension, declared in self.segments.items():
            column = DIMENSIONS.index(dimension)
            values = [*declared, OTHER]
            index = {value: i for i, value in enumerate(declared)}
            other = len(declared)
            code = np.fromiter((index.get(s[column] or "", other) for s in batch.segments), np.int64, len(group))
            cell = group * len(values) + code
            events = np.bincount(cell, minlength=groups * len(values)).reshape(groups, -1).tolist()
            alerts = [np.bincount(cell[tagged], minlength=groups * len(values)).tolist() for tagged in batch.tagged.T]
            for g in range(groups):
                found[g][dimension] = {
                    value: SegmentCounts(
                        events[g][i],
                        {
                            label: counts[g * len(values) + i]
                            for label, counts in zip(batch.labels, alerts, strict=True)
                            if counts[g * len(values) + i]
                        },
                    )
                    for i, value in enumerate(values)
                    if events[g][i]
                }
        return found


def _merged(batches: Sequence[ScoredBatch]) -> list[ScoredBatch]:
    """Batches of one release and arm joined: a transaction has many batches and nearly always one release."""
    by_cell: dict[_Cell, list[ScoredBatch]] = {}
    for batch in batches:
        by_cell.setdefault(batch.cell, []).append(batch)
    return [
        ScoredBatch(
            ref,
            parts[0].labels,
            np.concatenate([part.partitions for part in parts]),
            np.concatenate([part.panes for part in parts]),
            np.concatenate([part.by_arrival for part in parts]),
            np.concatenate([part.micro for part in parts]),
            np.concatenate([part.tagged for part in parts]),
            [s for part in parts for s in part.segments],
            parts[0].arm,
            shadow,
        )
        for (ref, _, shadow), parts in by_cell.items()
    ]


def _pack(parts: Sequence[tuple[TrialRows, NDArray[np.intp]]]) -> ExperimentRows:
    first = parts[0][0]
    kept = [(rows, of[~rows.shed[of]]) for rows, of in parts]
    units = UnitColumns(
        np.concatenate([rows.units.hashes[of] for rows, of in kept]),
        np.concatenate([rows.units.control[of] for rows, of in kept]),
        np.concatenate([rows.units.candidate[of] for rows, of in kept]),
    )
    shed = sum(int(rows.shed[of].sum()) for rows, of in parts)
    return ExperimentRows(first.id, first.phase, first.mode, list(first.labels), pack(units), shed)


def _count_labels(batch: ScoredBatch, group: NDArray[np.intp], groups: int) -> list[dict[str, LabelCounts]]:
    """Per group, the counts of each label. No group is empty."""
    order = group.argsort(kind="stable")
    starts = group[order].searchsorted(np.arange(groups))
    alerts = np.add.reduceat(batch.tagged[order], starts, axis=0, dtype=np.int64).tolist()
    sums = np.add.reduceat(batch.micro[order], starts, axis=0).tolist()
    found: list[dict[str, LabelCounts]] = [{} for _ in range(groups)]
    bins = bin_of(batch.micro)
    width = max(1, _TABLE // (groups * BINS))
    for first in range(0, len(batch.labels), width):
        labels = batch.labels[first : first + width]
        histograms = _histograms(bins[:, first : first + width], group, groups)
        for (column, label), g in itertools.product(enumerate(labels, first), range(groups)):
            found[g][label] = LabelCounts(alerts[g][column], sums[g][column], *next(histograms))
    return found


def _histograms(bins: NDArray[np.int64], group: NDArray[np.intp], groups: int) -> Iterator[tuple[list[int], list[int]]]:
    """Filled bins and their counts: of each column the groups, in turn."""
    cells = bins.shape[1] * groups
    of = np.arange(0, cells, groups) + group[:, None]
    table = np.bincount((of * BINS + bins).ravel(), minlength=cells * BINS)
    filled = np.flatnonzero(table != 0)  # five times as fast as on the counts themselves
    counts, places = table[filled].tolist(), (filled % BINS).tolist()
    ends = filled.searchsorted(np.arange(cells + 1) * BINS).tolist()
    return ((places[start:end], counts[start:end]) for start, end in itertools.pairwise(ends))


def _count_pairs(batch: ScoredBatch, group: NDArray[np.intp]) -> dict[int, Pairs]:
    """Group to its pairs of labels; groups without any are left out."""
    several = np.flatnonzero(batch.tagged.sum(axis=1) > 1)
    by_name = np.argsort(batch.labels)
    names = [batch.labels[column] for column in by_name.tolist()]
    found: dict[int, Pairs] = {}
    for g in np.unique(group[several]).tolist():
        # In floats, for BLAS multiplies no integers; exact, as a transaction has far fewer than 2**24 events.
        tagged = batch.tagged[several[group[several] == g]][:, by_name].astype(np.float32)
        both = np.triu(tagged.T @ tagged, k=1)
        one, other = both.nonzero()
        pairs: Pairs = {}
        for i, j, n in zip(one.tolist(), other.tolist(), both[one, other].astype(np.int64).tolist(), strict=True):
            pairs.setdefault(names[i], {})[names[j]] = n
        found[g] = pairs
    return found


def _identity(ref: ReleaseRef) -> dict[str, Any]:
    return {
        "release": ref.number,
        "release_sha256": ref.sha256,
        "bundle": str(ref.bundle),
        "bundle_sha256": ref.bundle.sha256,
        "revision": ref.revision,
        "revision_sha256": ref.revision_sha256,
    }
