"""The checker of a campaign: `tests/checker.py` in columns, verifying while the workers run, in bounded memory.

Fed with what a reader of committed records finds, in any interleaving of topics. A commit summary is verified once
its inputs and their outcomes are all there: exactly one outcome a position, counts equal to a recount.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from streamtag.events.summary import CommitSummary

from .corpus import BAD, EVENT, HOLE, TOMBSTONE, Corpus, checksum
from .decisions import Decisions
from .findings import Findings
from .ordering import Order
from .recount import recount
from .releases import Releases
from .repeats import Repeats
from .staleness import ANYBODY, Blur, Staleness
from .tag_columns import Columns, Places, Row, Table
from .window import Window

_KINDS = {"tags": EVENT, "dead": BAD, "tombstones": TOMBSTONE}
"""Of positions that have outcomes of each sort."""
_SETTLED = 100_000
"""At least once: with so many positions more of its partition, whatever repeats a range has come."""


@dataclass
class _Pending:
    summary: CommitSummary
    since: float


class Checker:
    """Not thread-safe: one reader feeds it.

    Args:
        partitions: of the input topic, and of the tags topic.
        corpus: what was written.
        scores: sha256 of each sound bundle to the scores of `Corpus.texts` in millionths, int64 [texts, labels].
        releases: what may decide.
        findings: where violations go.
        exactly_once: otherwise positions may have several outcomes and ranges may overlap, within the window.
        batch: records a worker takes at once.
        patience_s: longest wait for the outcomes of a committed range.
        clock: monotonic seconds.
        pane_ms: width of panes.
        archive: is given all tag events, too.
    """

    def __init__(
        self,
        partitions: int,
        corpus: Corpus,
        scores: Mapping[str, NDArray[np.int64]],
        releases: Releases,
        findings: Findings,
        *,
        exactly_once: bool = True,
        batch: int = 512,
        patience_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        pane_ms: int = 10_000,
        archive: Callable[[Columns], None] | None = None,
    ) -> None:
        self._pane_ms = pane_ms
        self._archive = archive
        self._corpus, self._releases, self._findings = corpus, releases, findings
        self._exactly_once = exactly_once
        self._patience_s = patience_s
        self._clock = clock
        self._windows = [Window(margin=0 if exactly_once else 200_000) for _ in range(partitions)]
        self._table = Table(corpus)
        self._pending: list[deque[_Pending]] = [deque() for _ in range(partitions)]
        self._covered = [0] * partitions
        self._unsettled: list[deque[CommitSummary]] = [deque() for _ in range(partitions)]
        self._decisions = Decisions(corpus, scores, releases, self._table, findings)
        self._order = Order(partitions, findings)
        self._staleness = Staleness()
        self.repeats = Repeats(batch, findings)
        """Of at_least_once."""
        self.events = 0
        self.records = 0
        self.holes = 0
        self.summaries = 0

    @property
    def rows(self) -> Sequence[Row]:
        """What the ``row`` of archived tag events points to."""
        return self._table.rows

    @property
    def splits(self) -> Sequence[str]:
        """What the ``split`` of archived tag events points to: ids of experiments."""
        return self._table.splits

    def scored(self, bundle_sha256: str, ordinals: NDArray[np.int64]) -> NDArray[np.int64]:
        """What a sound bundle must say of events, in millionths, int64 [n, labels]."""
        return self._decisions.scored(bundle_sha256, ordinals)

    # -- what the reader finds ---------------------------------------------------------------------------------------

    def inputs(self, partition: int, offsets: Sequence[int], ordinals: Sequence[int], stamps: Sequence[int]) -> None:
        """Input records, in order; an ordinal is enough to know all of it."""
        window = self._windows[partition]
        index, numbers = window.at(np.array(offsets)), np.array(ordinals)
        cells = window.cells
        cells["ordinal"][index] = numbers
        cells["stamp"][index] = stamps
        cells["kind"][index] = self._corpus.facts(numbers).kind
        window.read_to = max(window.read_to, offsets[-1] + 1)
        self.records += len(offsets)

    def outcomes(self, messages: Sequence[Message]) -> None:
        """Tag events and tombstones, in order per partition of their topic."""
        columns = Columns(self._table, [message for message in messages if message.value() is not None])
        places = Places(self._table, messages, columns)
        self.events += len(columns.offset)
        if self._archive is not None:
            self._archive(columns)
        self._decisions.check(columns)
        self._order.partitions(places)
        if self._exactly_once:
            self._order.check(places, np.ones(len(places.offset), dtype=np.bool_))
        else:
            self._order.check(places, self._firsts(places))
            self.repeats.outcomes(places)
        for partition in np.unique(places.partition).tolist():
            passed = np.flatnonzero((places.partition == partition) & ~places.event)
            passed = passed[self._outcomes(partition, places.offset[passed], "tombstones")]
            index = self._windows[partition].at(places.offset[passed])
            self._windows[partition].cells["content"][index] = places.content[passed]
            of = np.flatnonzero(columns.partition == partition)
            of = of[self._outcomes(partition, columns.offset[of], "tags")]
            self._keep(partition, columns, of)

    def dead(self, partition: int, offsets: Sequence[int], stamps: Sequence[int], contents: Sequence[int]) -> None:
        """Dead letters: where they come from, since when, and the checksum of what they hold."""
        places, window = np.array(offsets), self._windows[partition]
        fresh = self._outcomes(partition, places, "dead")
        index = window.at(places[fresh])
        window.cells["claimed_stamp"][index] = np.array(stamps)[fresh]
        window.cells["content"][index] = np.array(contents)[fresh]

    def summary(self, summary: CommitSummary) -> None:
        """A commit summary, in order per source partition."""
        p, covered = summary.partition, self._covered[summary.partition]
        what = f"partition {p} goes from {covered} to {summary.from_offset}"
        if summary.from_offset > covered:
            self._findings.add("gap", what, summary.from_offset - covered)
        elif summary.from_offset < covered:
            self._findings.add("overlap", what, covered - summary.from_offset)
        self._covered[p] = max(covered, summary.to_offset)
        self._pending[p].append(_Pending(summary, self._clock()))
        self.summaries += 1
        if not self._exactly_once:
            self.repeats.summary(summary)
            self._span(summary)["summaries"] += 1

    # -- progress ----------------------------------------------------------------------------------------------------

    def backlog(self) -> int:
        """Input positions no summary covers yet."""
        return sum(max(0, w.read_to - c) for w, c in zip(self._windows, self._covered, strict=True))

    def verified_to(self) -> list[int]:
        """Of each partition: all positions below are verified."""
        return [window.verified_to for window in self._windows]

    def verify(self, *, patience_s: float | None = None) -> None:
        """Verifies what is complete; what stays incomplete for too long is lost."""
        patience = self._patience_s if patience_s is None else patience_s
        for partition, queue in enumerate(self._pending):
            while queue:
                one = queue[0]
                if not self._complete(partition, one.summary) and self._clock() - one.since < patience:
                    break
                queue.popleft()
                self._verify(partition, one.summary)
            self._settle(partition, _SETTLED)

    def finish(self, blurs: Sequence[Blur], *, bound_ms: int) -> None:
        """After the last record was read: what is missing now is lost.

        Args:
            blurs: when, and where, a release could not be followed.
            bound_ms: how long a superseded release may go on deciding.
        """
        self.verify(patience_s=0)
        for partition, window in enumerate(self._windows):
            self._settle(partition, 0)
            start = max(self._covered[partition], window.base)
            missing = int((window.span(start, max(start, window.read_to))["kind"] != HOLE).sum())
            if missing:
                self._findings.add("uncovered", f"partition {partition}, {missing} records from {start}", missing)
        self._decisions.finish()
        self._staleness.check(self._table.rows, self._releases, blurs, bound_ms, self._findings)
        self.repeats.finish()

    # -- outcomes ----------------------------------------------------------------------------------------------------

    def _outcomes(self, partition: int, offsets: NDArray[np.int64], column: str) -> NDArray[np.bool_]:
        """Counts outcomes; returns which of them lie in the window."""
        window = self._windows[partition]
        late = offsets < window.verified_to
        if late.any():
            what = f"{column} of {partition}/{offsets[late][0]}, verified before"
            self._findings.add("doubled", what, int(late.sum()))
        known = offsets[offsets >= window.base]
        index = window.at(known)
        np.add.at(window.cells[column], index, 1)
        wrong = (known < window.verified_to) & (window.cells["kind"][index] != _KINDS[column])
        if wrong.any():
            what = f"{column} of {partition}/{known[wrong][0]}, verified before as something else"
            self._findings.add("outcome", what, int(wrong.sum()))
        return ~late

    def _firsts(self, places: Places) -> NDArray[np.bool_]:
        """Which outcomes are the first of their position."""
        found = np.zeros(len(places.offset), dtype=np.bool_)
        for partition in np.unique(places.partition).tolist():
            window = self._windows[partition]
            of = np.flatnonzero((places.partition == partition) & (places.offset >= window.verified_to))
            of = of[np.unique(places.offset[of], return_index=True)[1]]
            index = window.at(places.offset[of])
            found[of] = window.cells["tags"][index] + window.cells["tombstones"][index] == 0
        return found

    def _keep(self, partition: int, columns: Columns, of: NDArray[np.int64]) -> None:
        window = self._windows[partition]
        index = window.at(columns.offset[of])
        cells = window.cells
        cells["claimed"][index] = columns.ordinal[of]
        cells["claimed_stamp"][index] = columns.stamp[of]
        cells["release"][index] = columns.row[of]
        cells["candidate"][index] = columns.candidate[of]
        cells["micro"][index] = columns.micro[of]
        cells["tagged"][index] = columns.tagged[of]
        cells["by_arrival"][index] = columns.by_arrival[of]
        placed = np.where(columns.by_arrival[of], columns.processed_ms[of], columns.stamp[of])
        cells["pane"][index] = placed // self._pane_ms * self._pane_ms
        cells["decided"][index] = columns.decided_ms[of]

    # -- summaries ---------------------------------------------------------------------------------------------------

    def _complete(self, partition: int, summary: CommitSummary) -> bool:
        window = self._windows[partition]
        if window.read_to < summary.to_offset:
            return False
        cells = window.span(max(summary.from_offset, window.base), summary.to_offset)
        return bool(((cells["kind"] == HOLE) | (cells["tags"] + cells["dead"] + cells["tombstones"] > 0)).all())

    def _verify(self, partition: int, summary: CommitSummary) -> None:
        window = self._windows[partition]
        start, cells = max(summary.from_offset, window.base), self._span(summary)
        where = f"{partition}[{summary.from_offset}, {summary.to_offset})"
        fresh = max(start, window.verified_to)  # with at_least_once ranges overlap: count each position once
        self._positions(cells[fresh - start :], where, fresh)
        kinds = np.bincount(cells["kind"], minlength=4)
        said = (summary.tagged + summary.clean, summary.dead, summary.skipped)
        whole = start == summary.from_offset
        if whole and (said != tuple(kinds[[EVENT, BAD, TOMBSTONE]].tolist()) or summary.in_ != sum(said)):
            self._findings.add("counts", f"{where} holds {kinds[1:].tolist()}, its summary says {said}")
        self.holes += int((cells["kind"][fresh - start :] == HOLE).sum())
        if not self._exactly_once:
            self._unsettled[partition].append(summary)
        elif whole and (cells["tags"] <= 1).all():
            self._recount(cells, summary)
        once = cells[fresh - start :][cells["tags"][fresh - start :] == 1]
        self._staleness.note(once, summary.writer if self._exactly_once else ANYBODY)
        window.verified(summary.to_offset)

    def _settle(self, partition: int, more: int) -> None:
        """At least once: recounts ranges of which nothing was repeated, once nothing of them can come any more."""
        queue, window = self._unsettled[partition], self._windows[partition]
        while queue and queue[0].to_offset + more <= window.verified_to:
            summary = queue.popleft()
            cells = self._span(summary)
            alone = len(cells) == summary.to_offset - summary.from_offset and (cells["summaries"] == 1).all()
            if alone and (cells["tags"] <= 1).all():
                self._recount(cells, summary)

    def _span(self, summary: CommitSummary) -> NDArray[np.void]:
        """Cells of a range, as far as they are kept."""
        window = self._windows[summary.partition]
        start = max(summary.from_offset, window.base)
        return window.span(start, max(start, summary.to_offset))

    def _recount(self, cells: NDArray[np.void], summary: CommitSummary) -> None:
        recount(cells[cells["tags"] == 1], summary, self._table.rows, self._corpus, self._findings)

    def _positions(self, cells: NDArray[np.void], where: str, start: int) -> None:
        kind = cells["kind"]
        seen = np.stack([cells["tags"], cells["dead"], cells["tombstones"]], axis=1).astype(np.int64)
        wanted = np.stack([kind == EVENT, kind == BAD, kind == TOMBSTONE], axis=1).astype(np.int64)
        total = seen.sum(axis=1)
        problems = {
            "lost": (kind != HOLE) & (total == 0),
            "doubled": (kind != HOLE) & (total > 1),
            "invented": (kind == HOLE) & (total > 0),
            "outcome": (total > 0) & (kind != HOLE) & ((seen > 0) != (wanted > 0)).any(axis=1),
            "changed": ((cells["tags"] > 0) & (cells["ordinal"] != cells["claimed"]))
            | ((cells["tags"] + cells["dead"] > 0) & (cells["stamp"] != cells["claimed_stamp"]))
            | self._altered(cells),
        }
        for name, at in problems.items():
            if at.any():
                self._findings.add(name, f"{where}: offset {start + int(np.flatnonzero(at)[0])}", int(at.sum()))

    def _altered(self, cells: NDArray[np.void]) -> NDArray[np.bool_]:
        """Dead letters and tombstones that are not what was written."""
        found = np.zeros(len(cells), dtype=np.bool_)
        passed = np.flatnonzero(cells["dead"] + cells["tombstones"] > 0)
        if len(passed):
            written = self._corpus.records(cells["ordinal"][passed])
            found[passed] = cells["content"][passed] != [checksum(*record) for record in written]
        return found
