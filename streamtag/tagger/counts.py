"""What the open transaction decided, in integers: the commit summaries, counted over columns when it closes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from streamtag.domain.release import ReleaseRef
from streamtag.domain.scores import BINS, bin_of
from streamtag.domain.thresholds import DIMENSIONS, Segment
from streamtag.events.summary import VERSION, CommitSummary, LabelCounts, PaneCounts, SegmentCounts
from streamtag.stream.processor import Partition, Range

OTHER = "other"


@dataclass(frozen=True)
class ScoredBatch:
    """Events of one batch under one release, as columns of the same length n.

    Attributes:
        ref: the release.
        labels: its label ids, in column order.
        partitions: source partition of each event.
        panes: start of its pane, int64 [n], Unix milliseconds.
        by_arrival: bool [n].
        micro: scores in millionths, int64 [n, labels].
        tagged: bool [n, labels].
        segments: (lang, channel, tenant) of each event.
    """

    ref: ReleaseRef
    labels: tuple[str, ...]
    partitions: Sequence[Partition]
    panes: NDArray[np.int64]
    by_arrival: NDArray[np.bool_]
    micro: NDArray[np.int64]
    tagged: NDArray[np.bool_]
    segments: Sequence[Segment]


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
    _totals: dict[Partition, Totals] = field(default_factory=dict)
    _panes: set[tuple[ReleaseRef, Partition, int]] = field(default_factory=set)
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

    def add(self, batch: ScoredBatch) -> None:
        """Counts a batch of scored events."""
        self._batches.append(batch)
        before = len(self._panes)
        self._panes.update(
            (batch.ref, p, start) for p, start in set(zip(batch.partitions, batch.panes.tolist(), strict=True))
        )
        self._cells += (len(self._panes) - before) * len(batch.labels)
        any_tag: list[bool] = batch.tagged.any(axis=1).tolist()  # type: ignore[assignment]
        for partition, tagged in zip(batch.partitions, any_tag, strict=True):
            totals = self.totals(partition)
            if tagged:
                totals.tagged += 1
            else:
                totals.clean += 1

    def cells(self) -> int:
        """Labels times panes that the summaries will hold."""
        return self._cells

    def alerts(self) -> dict[str, int]:
        """Label to events tagged with it."""
        found: dict[str, int] = {}
        for batch in self._batches:
            for label, n in zip(batch.labels, batch.tagged.sum(axis=0).tolist(), strict=True):
                found[label] = found.get(label, 0) + n
        return found

    def by_arrival(self) -> int:
        """Events placed by arrival."""
        return sum(int(batch.by_arrival.sum()) for batch in self._batches)

    def clear(self) -> None:
        """The transaction is over."""
        self._batches.clear()
        self._totals.clear()
        self._panes.clear()
        self._cells = 0

    def summaries(self, covered: Mapping[Partition, Range], now_ms: int) -> list[CommitSummary]:
        """One summary per covered partition; ``in`` adds up by construction and is checked by readers."""
        panes: dict[Partition, list[PaneCounts]] = {partition: [] for partition in covered}
        for batch in _merged(self._batches):
            for partition, pane in self._count(batch):
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
            panes=sorted(panes, key=lambda pane: (pane.start_ms, pane.release)),
        )

    def _count(self, batch: ScoredBatch) -> list[tuple[Partition, PaneCounts]]:
        """Counts one release's events by (partition, pane): one `bincount` over all labels and bins."""
        width = len(batch.labels)
        keys: dict[tuple[Partition, int], int] = {}
        pairs = zip(batch.partitions, batch.panes.tolist(), strict=True)
        group = np.fromiter((keys.setdefault(pair, len(keys)) for pair in pairs), np.int64, len(batch.partitions))
        cells = (group[:, None] * width + np.arange(width)) * BINS + bin_of(batch.micro)
        histograms = np.bincount(cells.ravel(), minlength=len(keys) * width * BINS).reshape(len(keys), width, BINS)
        events = np.bincount(group, minlength=len(keys)).tolist()
        by_arrival = np.bincount(group[batch.by_arrival], minlength=len(keys)).tolist()
        alerts = _sums(group, batch.tagged.astype(np.int64), len(keys)).tolist()
        sums = _sums(group, batch.micro, len(keys)).tolist()
        segments = self._count_segments(batch, group, len(keys))
        found = []
        for (partition, start_ms), g in keys.items():
            labels = {
                label: _label_counts(alerts[g][j], sums[g][j], histograms[g, j]) for j, label in enumerate(batch.labels)
            }
            pane = PaneCounts(
                start_ms=start_ms,
                **_identity(batch.ref),
                arm="control",
                events=events[g],
                by_arrival=by_arrival[g],
                labels=labels,
                segments=segments[g],
            )
            found.append((partition, pane))
        return found

    def _count_segments(
        self, batch: ScoredBatch, group: NDArray[np.int64], groups: int
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
            alerts = _sums(cell, batch.tagged.astype(np.int64), groups * len(values)).tolist()
            for g in range(groups):
                found[g][dimension] = {
                    value: SegmentCounts(
                        events[g][i],
                        {b: n for b, n in zip(batch.labels, alerts[g * len(values) + i], strict=True) if n},
                    )
                    for i, value in enumerate(values)
                    if events[g][i]
                }
        return found


def _merged(batches: Sequence[ScoredBatch]) -> list[ScoredBatch]:
    """Batches of one release joined: a transaction has many batches and nearly always one release."""
    by_release: dict[ReleaseRef, list[ScoredBatch]] = {}
    for batch in batches:
        by_release.setdefault(batch.ref, []).append(batch)
    return [
        ScoredBatch(
            ref,
            parts[0].labels,
            [p for part in parts for p in part.partitions],
            np.concatenate([part.panes for part in parts]),
            np.concatenate([part.by_arrival for part in parts]),
            np.concatenate([part.micro for part in parts]),
            np.concatenate([part.tagged for part in parts]),
            [s for part in parts for s in part.segments],
        )
        for ref, parts in by_release.items()
    ]


def _sums(group: NDArray[np.int64], values: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """Sum of the rows of ``values`` [n, k] per group, int64 [groups, k]; exact, unlike weighted bincount."""
    out = np.zeros((groups, values.shape[1]), dtype=np.int64)
    np.add.at(out, group, values)
    return out


def _label_counts(alerts: int, sum_micro: int, histogram: NDArray[np.int64]) -> LabelCounts:
    bins = np.flatnonzero(histogram)
    return LabelCounts(alerts, sum_micro, bins.tolist(), histogram[bins].tolist())


def _identity(ref: ReleaseRef) -> dict[str, Any]:
    return {
        "release": ref.number,
        "release_sha256": ref.sha256,
        "bundle": str(ref.bundle),
        "bundle_sha256": ref.bundle.sha256,
        "revision": ref.revision,
        "revision_sha256": ref.revision_sha256,
    }
