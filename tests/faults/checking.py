"""The checker of a campaign: `tests/checker.py` in columns, verifying while the workers run, in bounded memory.

Fed with what a reader of committed records finds, in any interleaving of topics. A commit summary is verified once
its inputs and their outcomes are all there: exactly one outcome a position, counts equal to a recount.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamtag.domain.scores import BINS, bin_of
from streamtag.events.summary import CommitSummary, PaneCounts

from .corpus import BAD, EVENT, HOLE, LANGS, NO_KEY, TOMBSTONE, Corpus
from .findings import Findings
from .releases import Releases
from .tag_columns import Columns, Table
from .window import LABELS, Window

_BUCKET_MS = 100
_MAX_FUTURE_MS, _MAX_AGE_MS = 60_000, 604_800_000
_DECLARED = ("de", "en")


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
        exactly_once: otherwise positions may have several outcomes and ranges may overlap.
        patience_s: longest wait for the outcomes of a committed range.
        clock: monotonic seconds.
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
        patience_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._corpus, self._scores, self._releases, self._findings = corpus, scores, releases, findings
        self._exactly_once = exactly_once
        self._patience_s = patience_s
        self._clock = clock
        self._windows = [Window(margin=0 if exactly_once else 200_000) for _ in range(partitions)]
        self._table = Table(corpus)
        self._pending: list[deque[_Pending]] = [deque() for _ in range(partitions)]
        self._covered = [0] * partitions
        self._last = np.full((partitions, NO_KEY + 1), -1, dtype=np.int64)
        self._combinations: Counter[tuple[int, int]] = Counter()  # (row, lang)
        self._decided: Counter[tuple[str, int]] = Counter()  # (release, bucket of time)
        self.events = 0
        self.records = 0
        self.summaries = 0
        self.longest = 0

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

    def tags(self, messages: Sequence[object]) -> None:
        """Tag events, in order per partition of their topic."""
        if not messages:
            return
        columns = Columns(self._table, messages)  # type: ignore[arg-type]
        self.events += len(messages)
        self._decisions(columns)
        if self._exactly_once:
            self._order(columns)
        for partition in np.unique(columns.partition).tolist():
            of = np.flatnonzero(columns.partition == partition)
            of = of[self._outcomes(partition, columns.offset[of], "tags")]
            self._keep(partition, columns, of)

    def dead(self, partition: int, offsets: Sequence[int]) -> None:
        """Source positions of dead letters."""
        self._outcomes(partition, np.array(offsets), "dead")

    def tombstones(self, partition: int, offsets: Sequence[int]) -> None:
        """Source positions of tombstones in the tags topic."""
        self._outcomes(partition, np.array(offsets), "tombstones")

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
        self.longest = max(self.longest, summary.to_offset - summary.from_offset)

    # -- progress ----------------------------------------------------------------------------------------------------

    def backlog(self) -> int:
        """Input positions no summary covers yet."""
        return sum(max(0, w.read_to - c) for w, c in zip(self._windows, self._covered, strict=True))

    def verified(self) -> int:
        """Positions verified."""
        return sum(window.verified_to for window in self._windows)

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

    def finish(self, blurred: Sequence[tuple[int, int]], *, bound_ms: int) -> None:
        """After the last record was read: what is missing now is lost.

        Args:
            blurred: Unix ms intervals in which Redis or the way to it was hurt somewhere.
            bound_ms: how long a superseded release may go on deciding.
        """
        self.verify(patience_s=0)
        for partition, window in enumerate(self._windows):
            start = max(self._covered[partition], window.base)
            missing = int((window.span(start, max(start, window.read_to))["kind"] != HOLE).sum())
            if missing:
                self._findings.add("uncovered", f"partition {partition}, {missing} records from {start}", missing)
        self._check_combinations()
        self._check_staleness(blurred, bound_ms)

    # -- outcomes ----------------------------------------------------------------------------------------------------

    def _outcomes(self, partition: int, offsets: NDArray[np.int64], column: str) -> NDArray[np.bool_]:
        """Counts outcomes; returns which of them lie in the window."""
        window = self._windows[partition]
        late = offsets < window.verified_to
        if late.any():
            self._findings.add(
                "doubled", f"{column} of {partition}/{offsets[late][0]}, verified before", int(late.sum())
            )
        fresh = ~late
        index = window.at(offsets[fresh])
        np.add.at(window.cells[column], index, 1)
        return fresh

    def _keep(self, partition: int, columns: Columns, of: NDArray[np.int64]) -> None:
        window = self._windows[partition]
        index = window.at(columns.offset[of])
        cells = window.cells
        cells["claimed"][index] = columns.ordinal[of]
        cells["claimed_stamp"][index] = columns.stamp[of]
        cells["release"][index] = columns.row[of]
        cells["micro"][index] = columns.micro[of]
        cells["tagged"][index] = columns.tagged[of]
        cells["by_arrival"][index] = columns.by_arrival[of]
        placed = np.where(columns.by_arrival[of], columns.processed_ms[of], columns.stamp[of])
        cells["pane"][index] = placed // 10_000 * 10_000

    def _decisions(self, c: Columns) -> None:
        facts = self._corpus.facts(c.ordinal)
        self._wrong("changed", c, (facts.entity != c.entity) | (facts.lang != c.lang) | (facts.kind != EVENT))
        self._wrong("decision", c, ~c.sound)
        self._wrong("decision", c, (c.tagged != (c.micro >= self._table.cutoffs[c.row])).any(axis=1))
        rows = self._table.rows
        for row in np.unique(c.row).tolist():
            of = c.row == row
            expected = self._scores.get(rows[row].bundle_sha256)
            if expected is None:
                self._findings.add("release", f"{rows[row]} decided with a bundle that is not sound", int(of.sum()))
            else:
                self._wrong("score", c, of & (c.micro != expected[facts.text]).any(axis=1))
            for lang, n in enumerate(np.bincount(c.lang[of], minlength=len(LANGS)).tolist()):
                self._combinations[row, lang] += n
            for bucket, n in zip(*np.unique(c.appended_ms[of] // _BUCKET_MS, return_counts=True), strict=True):
                self._decided[rows[row].release_sha256, int(bucket) * _BUCKET_MS] += int(n)
        unbelieved = (c.stamp > c.processed_ms + _MAX_FUTURE_MS) | (c.stamp < c.processed_ms - _MAX_AGE_MS)
        self._wrong("placement", c, unbelieved != c.by_arrival)

    def _wrong(self, kind: str, columns: Columns, where: NDArray[np.bool_]) -> None:
        if where.any():
            i = int(np.flatnonzero(where)[0])
            self._findings.add(kind, f"{columns.partition[i]}/{columns.offset[i]}", int(where.sum()))

    def _order(self, c: Columns) -> None:
        """Of one key in one partition of the tags topic, source offsets only grow."""
        keyed = np.flatnonzero(c.entity < NO_KEY)
        group = c.into[keyed] * (NO_KEY + 1) + c.entity[keyed]
        order = np.argsort(group, kind="stable")
        group, offset = group[order], c.offset[keyed][order]
        last = self._last.reshape(-1)
        first = np.ones(len(group), dtype=np.bool_)
        first[1:] = group[1:] != group[:-1]
        before = np.where(first, last[group], np.concatenate([[-1], offset[:-1]]))
        back = offset <= before
        if back.any():
            i = int(np.flatnonzero(back)[0])
            self._findings.add("order", f"offset {offset[i]} after {before[i]} of one key", int(back.sum()))
        np.maximum.at(last, group, offset)

    # -- summaries ---------------------------------------------------------------------------------------------------

    def _complete(self, partition: int, summary: CommitSummary) -> bool:
        window = self._windows[partition]
        if window.read_to < summary.to_offset:
            return False
        cells = window.span(max(summary.from_offset, window.base), summary.to_offset)
        return bool(((cells["kind"] == HOLE) | (cells["tags"] + cells["dead"] + cells["tombstones"] > 0)).all())

    def _verify(self, partition: int, summary: CommitSummary) -> None:
        window = self._windows[partition]
        start = max(summary.from_offset, window.base)
        cells = window.span(start, max(start, summary.to_offset))
        where = f"{partition}[{summary.from_offset}, {summary.to_offset})"
        fresh = max(start, window.verified_to)  # with at_least_once ranges overlap: count each position once
        self._positions(cells[fresh - start :], where, fresh)
        kinds = np.bincount(cells["kind"], minlength=4)
        said = (summary.tagged + summary.clean, summary.dead, summary.skipped)
        whole = start == summary.from_offset
        if whole and (said != tuple(kinds[[EVENT, BAD, TOMBSTONE]].tolist()) or summary.in_ != sum(said)):
            self._findings.add("counts", f"{where} holds {kinds[1:].tolist()}, its summary says {said}")
        once = cells["tags"] <= 1
        if whole and self._exactly_once and once.all():
            self._recount(cells[cells["tags"] == 1], summary, where)
        window.verified(summary.to_offset)

    def _positions(self, cells: NDArray[np.void], where: str, start: int) -> None:
        kind = cells["kind"]
        seen = np.stack([cells["tags"], cells["dead"], cells["tombstones"]], axis=1).astype(np.int64)
        wanted = np.stack([kind == EVENT, kind == BAD, kind == TOMBSTONE], axis=1).astype(np.int64)
        total = seen.sum(axis=1)
        problems = {
            "lost": (kind != HOLE) & (total == 0),
            "doubled": (kind != HOLE) & (total > 1),
            "invented": (kind == HOLE) & (total > 0),
            "outcome": (total == 1) & (kind != HOLE) & (seen != wanted).any(axis=1),
            "changed": (cells["tags"] > 0)
            & ((cells["ordinal"] != cells["claimed"]) | (cells["stamp"] != cells["claimed_stamp"])),
        }
        for name, at in problems.items():
            if at.any():
                self._findings.add(name, f"{where}: offset {start + int(np.flatnonzero(at)[0])}", int(at.sum()))

    def _recount(self, cells: NDArray[np.void], summary: CommitSummary, where: str) -> None:
        found: dict[tuple[str, int], list[NDArray[np.void]]] = {}
        for row in np.unique(cells["release"]).tolist():
            of = cells[cells["release"] == row]
            release = self._table.rows[row].release_sha256
            for pane in np.unique(of["pane"]).tolist():
                found.setdefault((release, pane), []).append(of[of["pane"] == pane])
        said = {(pane.release_sha256, pane.start_ms): pane for pane in summary.panes}
        if said.keys() != found.keys():
            self._findings.add("recount", f"{where}: panes {sorted(said)} instead of {sorted(found)}")
            return
        for key, parts in found.items():
            if not self._pane_equals(said[key], np.concatenate(parts)):
                self._findings.add("recount", f"{where}: pane {key}")

    def _pane_equals(self, said: PaneCounts, cells: NDArray[np.void]) -> bool:
        if (said.events, said.by_arrival) != (len(cells), int(cells["by_arrival"].sum())):
            return False
        lang = self._corpus.facts(cells["ordinal"]).lang
        value = [LANGS[code] if LANGS[code] in _DECLARED else "other" for code in range(len(LANGS))]
        segments = Counter(value[code] for code in lang.tolist())
        if {name: counts.events for name, counts in said.segments.get("lang", {}).items()} != segments:
            return False
        for j, label in enumerate(LABELS):
            counts, micro = said.labels[label], cells["micro"][:, j].astype(np.int64)
            histogram = np.bincount(bin_of(micro), minlength=BINS)
            bins = np.flatnonzero(histogram)
            wanted = (int(cells["tagged"][:, j].sum()), int(micro.sum()), bins.tolist(), histogram[bins].tolist())
            if (counts.alerts, counts.sum_micro, counts.bins, counts.counts) != wanted:
                return False
        return True

    # -- releases ----------------------------------------------------------------------------------------------------

    def _check_combinations(self) -> None:
        for (index, lang), n in self._combinations.items():
            row = self._table.rows[index]
            known = self._releases.known(row.release_sha256)
            if n == 0:
                continue
            if known is None or known.revision_sha256 != row.revision_sha256 or not known.good:
                self._findings.add("release", f"{row.release_sha256[:12]} decided and was never active", n)
            elif self._releases.cutoffs(row.revision_sha256, (LANGS[lang], None, None)) != row.cutoffs:
                self._findings.add("threshold", f"release {known.number} in {LANGS[lang]}: {row.cutoffs}", n)

    def _check_staleness(self, blurred: Sequence[tuple[int, int]], bound_ms: int) -> None:
        superseded = self._releases.superseded_ms()
        for (sha, at_ms), n in self._decided.items():
            if sha not in superseded:
                continue
            since_ms, other_bundle = superseded[sha]
            bound = bound_ms * (2 if other_bundle else 1)  # it has to be loaded first
            hurt = any(start < at_ms and at_ms - bound < end for start, end in blurred)
            if at_ms > since_ms + bound and not hurt:
                self._findings.add("stale", f"{sha[:12]} decided {at_ms - since_ms} ms after it was superseded", n)
