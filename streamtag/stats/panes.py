"""A pane while it is being added up."""

from collections.abc import Iterable

from streamtag.events.panes import VERSION, Pane
from streamtag.events.summary import CommitSummary
from streamtag.stats.cells import CellSums, Columns, Identity, add_to


class OpenPane:
    """Sums of one pane of one shard.

    Args:
        shard: partition of the stats topic.
        start_ms, pane_ms: the span ``[start_ms, start_ms + pane_ms)``.
    """

    def __init__(self, shard: int, start_ms: int, pane_ms: int) -> None:
        self._shard = shard
        self._start_ms = start_ms
        self._pane_ms = pane_ms
        self._cells: dict[Identity, CellSums] = {}
        self._positions: dict[str, tuple[int, int]] = {}
        self._exact = True
        self._n = 0
        self._published = 0  # the n that was published last
        self._waits_since_ms: int | None = None  # wall clock: seen unpublished
        self.end_ms = start_ms + pane_ms
        self.oldest: int | None = None
        """Offset of the first summary that is needed to add it up again."""

    def add(self, offset: int, summary: CommitSummary, cells: Iterable[Columns]) -> None:
        """Adds those cells of the summary at ``offset`` that are of this pane."""
        add_to(self._cells, cells, offset)
        source = f"{summary.topic}/{summary.partition}"
        start, end = self._positions.get(source, (summary.from_offset, summary.to_offset))
        self._positions[source] = min(start, summary.from_offset), max(end, summary.to_offset)
        self._needs(offset)
        self._n = offset + 1

    def doubt(self, offset: int, before: int) -> None:
        """It is not exact: the summaries at ``before`` and ``offset`` do not touch."""
        self._exact = False
        self._needs(before)
        self._n = offset + 1

    def unpublished(self) -> bool:
        """Whether anything has changed since it was published."""
        return self._n > self._published

    def waiting_ms(self, now_ms: int) -> int:
        """For how long it has been seen unpublished, by the wall clock of whoever asks."""
        if self._waits_since_ms is None:
            self._waits_since_ms = now_ms
        return now_ms - self._waits_since_ms

    def publish(self) -> Pane:
        """The revision to publish now."""
        self._published, self._waits_since_ms = self._n, None
        return self._record(addendum=False)

    def as_addendum(self) -> Pane:
        """The same counts as something to be added to a pane that is final."""
        return self._record(addendum=True)

    def _needs(self, offset: int) -> None:
        self.oldest = offset if self.oldest is None else min(self.oldest, offset)

    def _record(self, *, addendum: bool) -> Pane:
        return Pane(
            version=VERSION,
            shard=self._shard,
            start_ms=self._start_ms,
            pane_ms=self._pane_ms,
            n=self._n,
            addendum=addendum,
            exact=self._exact,
            positions=dict(sorted(self._positions.items())),
            cells=[sums.cell() for _, sums in sorted(self._cells.items(), key=lambda item: item[0])],
        )
