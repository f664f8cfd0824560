"""Tag events, and what a right read side makes of them, by the product's own code: to be spoilt."""

from datetime import UTC, datetime

import numpy as np
from confluent_kafka import Message
from faults.archive import Events
from faults.corpus import LANGS
from faults.findings import Findings
from faults.rows_recount import Subject
from faults.statistics_recount import (
    Counted,
    Logs,
    check_against_events,
    check_panes,
    check_verdicts,
    check_windows,
)
from faults.tag_columns import Row
from faults.window import LABELS
from numpy.typing import NDArray
from pane_numbers import PaneReader

from streamtag.control.documents import ExperimentDocument, ExperimentId, Phase, VerdictDocument
from streamtag.control.experiment_log import Experiment
from streamtag.domain.assignment import below, unit_hashes
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.release import BundleRef, ReleaseRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.events import panes as wire
from streamtag.events.panes import Pane
from streamtag.events.summary import CommitSummary
from streamtag.events.unit_rows import UnitColumns
from streamtag.stats.experiment_fold import ExperimentFold
from streamtag.stats.revisions import Revisions
from streamtag.stats.shard import Shard, ShardOptions
from streamtag.stats.windows import WindowDocument, Windows
from streamtag.stream.processor import Commit, Range
from streamtag.tagger.columns import ScoredBatch, TrialRows
from streamtag.tagger.counts import Counts

PANE_MS = 2_000
NOW = 1_795_000_000_000 // 60_000 * 60_000
_SHARES = (0.75, 0.5)
"""Of the phases; the second begins in the middle of a summary."""
_N, _PER_SUMMARY, _SECOND = 1_500, 100, 450
_SOURCE = ("content", 0)
_BUNDLE = BundleRef("tiny", "1", "b" * 64)
_CONTROL = ReleaseRef(1, "a" * 64, _BUNDLE, 1, "c" * 64)
_CANDIDATE = ReleaseRef(2, "d" * 64, _BUNDLE, 2, "e" * 64)
_CUTOFFS = {"spam": 0.5, "greeting": 0.25}
_CHALLENGER = ThresholdSet({"spam": 0.65, "greeting": 0.25})


class ReadSide:
    """What was decided, and everything that was made of it.

    Attributes:
        events: all tag events.
        summaries, panes, windows, verdict: as a read side would have them.
        known: experiments by id.
    """

    def __init__(self) -> None:
        self.events = _events()
        document = ExperimentDocument(
            number=1,
            control=_CONTROL,
            candidate=_CANDIDATE,
            unit="event",
            salt="0" * 32,
            plan=ExperimentPlan("shadow", {"spam": LabelPolicy(), "greeting": LabelPolicy(muted=True)}),
            base_rates={},
            author="anna",
            reason="why",
            at=datetime.fromtimestamp(NOW / 1_000, UTC),
        )
        self.experiment = Experiment(
            ExperimentId(1, "f" * 64), document, tuple(Phase(share, document.at) for share in _SHARES)
        )
        self.known = {str(self.experiment.id): Subject(self.experiment, _CHALLENGER)}
        self.summaries = [self._summary(start) for start in range(0, _N, _PER_SUMMARY)]
        self.panes = self._panes()
        self.windows, self.verdict = self._followed()

    def findings(self) -> dict[str, int]:
        """What the recount finds."""
        found = Findings()
        logs = self.logs()
        rows = [Row(_CONTROL.sha256, _BUNDLE.sha256, _CONTROL.revision_sha256, _CUTOFFS)]
        check_panes(logs, found)
        counted = Counted(self.events, rows, self.known, logs, found)
        check_against_events(logs.reader.every(), counted, PANE_MS, found)
        check_windows(self.windows, counted, found)
        check_verdicts([self.verdict], self.known, counted, logs, found)
        return found.violations()

    def logs(self) -> Logs:
        """The topics."""
        reader = PaneReader()
        for offset, pane in enumerate(self.panes):
            reader.read(_record(offset, pane))
        return Logs([(0, offset, one) for offset, one in enumerate(self.summaries)], self.panes, reader)

    def _summary(self, start: int) -> CommitSummary:
        of = self.events.take(np.arange(start, start + _PER_SUMMARY))
        counts = Counts(PANE_MS, {"lang": ["de", "en"]}, "w", "exactly_once")
        partitions = counts.number([_SOURCE] * len(of))
        segments = [(LANGS[code], None, None) for code in of.lang.tolist()]
        control = ScoredBatch(_CONTROL, LABELS, partitions, of.start_ms, of.by_arrival, of.micro, of.tagged, segments)
        counts.add(control)
        units = unit_hashes((str(n).encode() for n in of.ordinal.tolist()), "0" * 32)
        for phase, share in enumerate(_SHARES):
            taking = np.flatnonzero(below(units, share) & ((of.offset >= _SECOND) == bool(phase)))
            self._take_part(counts, control.take(taking), units[taking], phase)
        [found] = counts.summaries({_SOURCE: Range(start, start + _PER_SUMMARY)}, NOW + 100 * start)
        return found

    def _take_part(self, counts: Counts, batch: ScoredBatch, units: NDArray[np.uint64], phase: int) -> None:
        if not len(units):
            return
        tagged = batch.micro >= np.array([_CHALLENGER.labels[label] for label in LABELS]) * 1_000_000
        counts.add(
            ScoredBatch(
                _CANDIDATE, LABELS, batch.partitions, batch.panes, batch.by_arrival, batch.micro, tagged,
                batch.segments, "candidate", shadow=True,
            )
        )  # fmt: skip
        counts.add_rows(
            TrialRows(
                str(self.experiment.id), phase, "shadow", LABELS, batch.cell, batch.partitions, batch.panes,
                UnitColumns(units, batch.tagged, tagged), np.zeros(len(units), np.bool_),
            )
        )  # fmt: skip

    def _panes(self) -> list[Pane]:
        shard = Shard(0, Commit(0, ""), ShardOptions(lateness_ms=4_000))
        found: list[Pane] = []
        for offset, one in enumerate(self.summaries):
            found += map(_written, [*shard.fold(offset, one), *shard.publish()])
        for now_ms in (10**15, 2 * 10**15):
            found += map(_written, shard.publish_idle(now_ms))
        return found

    def _followed(self) -> tuple[list[WindowDocument], VerdictDocument]:
        revisions, windows, fold = Revisions(), Windows(lambda *_: None), ExperimentFold(self.experiment, 0)
        for position, pane in enumerate(self.panes):
            step = revisions.apply(position, pane)
            if step is not None:
                windows.apply(position, step)
                fold.take(position, step)
        return windows.changed(), fold.document()


def _events() -> Events:
    choose = np.random.default_rng(7)
    micro = choose.integers(0, 1_000_001, (_N, len(LABELS)))
    ordinal = np.arange(_N)
    ordinal[choose.integers(0, _N, 80)] = choose.integers(0, _N, 80)  # some come twice
    late_ms = np.where(choose.random(_N) < 0.05, choose.integers(0, 30_000, _N), 0)
    return Events(
        partition=np.zeros(_N, np.int64),
        offset=np.arange(_N),
        ordinal=ordinal,
        start_ms=(NOW + 40_000 + np.arange(_N) * 10 - late_ms) // PANE_MS * PANE_MS,
        row=np.zeros(_N, np.int64),
        lang=choose.integers(0, len(LANGS), _N),
        by_arrival=choose.random(_N) < 0.02,
        micro=micro[ordinal],
        tagged=micro[ordinal] >= np.array([_CUTOFFS[label] for label in LABELS]) * 1_000_000,
    )


def _written(pane: Pane) -> Pane:
    """As it is on the wire: a shard goes on adding to what it has given."""
    return wire.decode(wire.encode(pane))


class _Record:
    def __init__(self, offset: int, pane: Pane) -> None:
        self._offset, self._pane = offset, pane

    def key(self) -> bytes:
        return wire.key(self._pane)

    def value(self) -> bytes:
        return wire.encode(self._pane)

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, NOW


def _record(offset: int, pane: Pane) -> Message:
    return _Record(offset, pane)  # type: ignore[return-value]  # as far as a reader of panes asks
