"""At least once: what an interruption repeats of a partition, against the documented window.

Positions of a partition are committed after each transaction, so whoever goes on begins where a transaction began,
and repeats no more than what one transaction held. A worker that was given up and wakes publishes no more than that,
either. A *run* is what was repeated in one go: source offsets that grow, all of them below what was reached before.

Where a transaction begins, the one before it has been committed. A worker that wakes may publish a range from before
such a place, once; one that goes on from there has committed a position that goes back.
"""

from bisect import bisect_right, insort
from dataclasses import dataclass

import numpy as np

from streamtag.events.summary import CommitSummary

from .findings import Findings
from .tag_columns import Places


@dataclass
class _Track:
    """One sequence of source offsets, as appended."""

    reached: int = 0
    """End of the furthest so far."""
    start: int = 0
    end: int = -1
    """Of the run that is under way; -1: none."""

    def add(self, start: int, end: int) -> int:
        """A piece ``[start, end)``; returns how long the run is that it belongs to, 0 where nothing is repeated."""
        reached, self.reached = self.reached, max(self.reached, end)
        if start >= reached:
            self.end = -1
            return 0
        if start < self.end or self.end < 0:
            self.start = start
        self.end = min(end, reached)
        return self.end - self.start


class Repeats:
    """Watches the outcomes and the commit summaries.

    Args:
        batch: records a worker takes at once.
        findings: takes what goes beyond the window.
    """

    def __init__(self, batch: int, findings: Findings) -> None:
        self._batch = batch
        self._findings = findings
        self._outcomes: dict[tuple[int, int], _Track] = {}  # by partition of the tags topic and of the input
        self._ranges: dict[int, _Track] = {}
        self._begun: dict[int, list[int]] = {}
        """Of each partition, ascending: where transactions began."""
        self._ended: dict[int, set[int]] = {}
        self._set_back: dict[int, tuple[int, str]] = {}
        """End and writer of the last range, if it came from before what had been committed."""
        self._longest_where = ""
        self.longest = 0
        """Positions in the longest run."""
        self.transaction = 0
        """Positions of one partition in the longest transaction."""

    def outcomes(self, places: Places) -> None:
        """More outcomes, in the order of the tags topic."""
        for into in np.unique(places.into).tolist():
            for partition in np.unique(places.partition[places.into == into]).tolist():
                track = self._outcomes.setdefault((into, partition), _Track())
                where = (places.into == into) & (places.partition == partition)
                for offset in places.offset[where].tolist():
                    self._note(track.add(offset, offset + 1), track, f"outcomes of partition {partition}")

    def summary(self, one: CommitSummary) -> None:
        """The next commit summary of its partition."""
        p, start, end = one.partition, one.from_offset, one.to_offset
        begun, ended = self._begun.setdefault(p, [0]), self._ended.setdefault(p, set())
        track = self._ranges.setdefault(p, _Track())
        if start < track.reached and start not in ended and begun[bisect_right(begun, start) - 1] != start:
            self._findings.add("unbounded", f"partition {p} is repeated from {start}, where no transaction began")
        if self._set_back.pop(p, None) == (start, one.writer):
            self._findings.add("unbounded", f"partition {p} goes on at {start} behind what was committed before")
        following = bisect_right(begun, start)
        if following < len(begun) and begun[following] < end:
            self._set_back[p] = end, one.writer
        self._note(track.add(start, end), track, f"ranges of partition {p}")
        insort(begun, start)
        ended.add(end)
        self.transaction = max(self.transaction, one.to_offset - one.from_offset)

    def finish(self) -> None:
        """After the last record: no run is longer than the longest transaction and a batch."""
        if self.longest > self.transaction + self._batch:
            what = f"{self.longest} positions repeated ({self._longest_where}), {self.transaction} in a transaction"
            self._findings.add("unbounded", what)

    def _note(self, length: int, track: _Track, what: str) -> None:
        if length > self.longest:
            self.longest, self._longest_where = length, f"{what} from {track.start}"
