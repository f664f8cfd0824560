"""What the open transaction decided, in integers: the commit summaries, counted over columns when it closes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streamtag.events.summary import (
    VERSION,
    CommitSummary,
    ExperimentRows,
    PaneCounts,
)
from streamtag.events.unit_rows import UnitColumns, pack
from streamtag.stream.processor import Partition, Range
from streamtag.tagger.columns import Cell, ScoredBatch, TrialRows
from streamtag.tagger.pane_counts import Dimension, pane_counts

# What an event holds beside its scores, measured: places, and the values of its segments.
_EVENT_BYTES = 256
_SCORE_BYTES = 9  # a score in millionths, and whether it is tagged


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
    segments: Mapping[Dimension, Sequence[str]]
    writer: str
    delivery: str
    _batches: list[ScoredBatch] = field(default_factory=list)
    _rows: list[TrialRows] = field(default_factory=list)
    _totals: dict[Partition, Totals] = field(default_factory=dict)
    _numbers: dict[Partition, int] = field(default_factory=dict)
    _panes: set[tuple[Cell, int, int]] = field(default_factory=set)
    _cells: int = 0
    _held: int = 0

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
        self.expect(*batch.micro.shape)
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

    def expect(self, events: int, labels: int) -> None:
        """Makes room for so many: those that are added now, or for a shadow that has answered when it closes."""
        self._held += (_SCORE_BYTES * labels + _EVENT_BYTES) * events

    def add_rows(self, rows: TrialRows) -> None:
        """Notes events that took part in an experiment; their batch is added besides."""
        self._rows.append(rows)

    def cells(self) -> int:
        """Labels times panes that the summaries will hold."""
        return self._cells

    def held(self) -> int:
        """About how many bytes its events take until they are counted: `_SCORE_BYTES` a label, and `_EVENT_BYTES`."""
        return self._held

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
        self._cells = self._held = 0

    def summaries(self, covered: Mapping[Partition, Range], now_ms: int) -> list[CommitSummary]:
        """One summary per covered partition; ``in`` adds up by construction and is checked by readers."""
        panes: dict[Partition, list[PaneCounts]] = {partition: [] for partition in covered}
        rows, partitions = self._packed_rows(), list(self._numbers)
        for batch in _merged(self._batches):
            for partition, pane in pane_counts(batch, partitions, self.segments):
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

    def _packed_rows(self) -> dict[tuple[Partition, int, Cell], list[ExperimentRows]]:
        """Source partition, pane and cell to the rows that stand there, an entry for each experiment and phase."""
        partitions = list(self._numbers)
        gathered: dict[
            tuple[Partition, int, Cell], dict[tuple[str, int], list[tuple[TrialRows, NDArray[np.intp]]]]
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


def _merged(batches: Sequence[ScoredBatch]) -> list[ScoredBatch]:
    """Batches of one release and arm joined: a transaction has many batches and nearly always one release."""
    by_cell: dict[Cell, list[ScoredBatch]] = {}
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
