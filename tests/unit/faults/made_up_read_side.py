"""Tag events, and what a right read side makes of them, by the product's own code: to be spoilt."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from confluent_kafka import Message
from faults.archive import Events, Outcomes
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

from streamtag.control.experiment_documents import ExperimentDocument, ExperimentId, Phase
from streamtag.control.experiment_log import Experiment
from streamtag.control.verdict_documents import VerdictDocument
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
_LATE = slice(20, 40)
"""Of every third summary, the events that a candidate with a bundle of its own did not score in time."""
_SOURCE = ("content", 0)
_BUNDLE = BundleRef("tiny", "1", "b" * 64)
_CONTROL = ReleaseRef(1, "a" * 64, _BUNDLE, 1, "c" * 64)
_SALT = "0" * 32
_OTHER = BundleRef("tiny", "2", "9" * 64)
_CUTOFFS = {"spam": 0.5, "greeting": 0.25}
_CHALLENGER = ThresholdSet({"spam": 0.65, "greeting": 0.25})


class ReadSide:
    """What was decided, and everything that was made of it.

    Args:
        mode: of the experiment.
        own_bundle: the candidate has one that scores otherwise, and is late now and then.

    Attributes:
        events: all tag events.
        summaries, panes, windows, verdict: as a read side would have them.
        known: experiments by id.
    """

    def __init__(self, mode: Literal["shadow", "split"] = "shadow", *, own_bundle: bool = False) -> None:
        self._mode = mode
        self._candidate = ReleaseRef(2, "d" * 64, _OTHER if own_bundle else _BUNDLE, 2, "e" * 64)
        document = ExperimentDocument(
            number=1,
            control=_CONTROL,
            candidate=self._candidate,
            unit="event",
            salt=_SALT,
            plan=ExperimentPlan(mode, {"spam": LabelPolicy(), "greeting": LabelPolicy(muted=True)}),
            base_rates={},
            author="anna",
            reason="why",
            at=datetime.fromtimestamp(NOW / 1_000, UTC),
        )
        self.experiment = Experiment(
            ExperimentId(1, "f" * 64), document, tuple(Phase(share, document.at) for share in _SHARES)
        )
        self.known = {str(self.experiment.id): Subject(self.experiment, _CHALLENGER)}
        self.events = _events()
        self._micro = {_BUNDLE.sha256: _scores(seed=0), _OTHER.sha256: _scores(seed=1)}
        self._units = unit_hashes((str(n).encode() for n in self.events.ordinal.tolist()), _SALT)
        self._phase = (self.events.offset >= _SECOND).astype(np.int64)
        self._chosen = np.where(self._phase == 0, below(self._units, _SHARES[0]), below(self._units, _SHARES[1]))
        self._late = np.zeros(_N, np.bool_)
        if own_bundle:
            self._late.reshape(-1, _PER_SUMMARY)[1::3, _LATE] = True
        # What the candidate makes of every event, whether it was asked or not.
        micro = self._micro[self._candidate.bundle.sha256][self.events.ordinal]
        self._challenger = replace(self.events, micro=micro, tagged=micro >= _micro(_CHALLENGER.labels))
        if mode == "split":
            self.events = self._divided()
        self.summaries = [self._summary(start) for start in range(0, _N, _PER_SUMMARY)]
        self.panes = self._panes()
        self.windows, self.verdict = self.followed()

    def findings(self) -> dict[str, int]:
        """What the recount finds."""
        found = Findings()
        logs = self.logs()
        rows = [
            Row(ref.sha256, ref.bundle.sha256, ref.revision_sha256, cutoffs)
            for ref, cutoffs in ((_CONTROL, _CUTOFFS), (self._candidate, dict(_CHALLENGER.labels)))
        ]
        check_panes(logs, found)
        splits = [str(self.experiment.id)] if self._mode == "split" else []
        outcomes = Outcomes(self.events, rows, splits, lambda sha, ordinals: self._micro[sha][ordinals])
        counted = Counted(outcomes, self.known, logs, found)
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

    def _divided(self) -> Events:
        """Each event has its arm, and those for which the candidate was late have none."""
        theirs, events, other = self._chosen & ~self._late, self.events, self._challenger
        return replace(
            events,
            row=theirs.astype(np.int64),
            split=np.where(self._late, -1, 0),
            candidate=theirs,
            micro=np.where(theirs[:, None], other.micro, events.micro),
            tagged=np.where(theirs[:, None], other.tagged, events.tagged),
        )

    def _summary(self, start: int) -> CommitSummary:
        counts = Counts(PANE_MS, {"lang": ["de", "en"]}, "w", "exactly_once")
        here = np.arange(start, start + _PER_SUMMARY)
        theirs = here[self.events.candidate[here]]
        for mine, ref, arm in (
            (np.setdiff1d(here, theirs), _CONTROL, "control"),
            (theirs, self._candidate, "candidate"),
        ):
            self._count(counts, self.events, mine, ref, arm)
        for phase in range(len(_SHARES)):
            taking = here[self._phase[here] == phase]
            if self._mode == "shadow":
                taking = taking[self._chosen[taking]]
                self._count(
                    counts, self._challenger, taking[~self._late[taking]], self._candidate, "candidate", shadow=True
                )
                self._take_part(counts, taking, phase, (_CONTROL, "control", False), self._late[taking])
            else:
                for of, ref, arm in (
                    (~self._chosen & ~self._late, _CONTROL, "control"),
                    (self._chosen & self._late, _CONTROL, "control"),
                    (self._chosen & ~self._late, self._candidate, "candidate"),
                ):
                    mine = taking[of[taking]]
                    self._take_part(counts, mine, phase, (ref, arm, False), self._late[mine])
        [found] = counts.summaries({_SOURCE: Range(start, start + _PER_SUMMARY)}, NOW + 100 * start)
        return found

    def _count(
        self,
        counts: Counts,
        events: Events,
        mine: NDArray[np.int64],
        ref: ReleaseRef,
        arm: Any,
        *,
        shadow: bool = False,
    ) -> None:
        of = events.take(mine)
        segments = [(LANGS[code], None, None) for code in of.lang.tolist()]
        partitions = counts.number([_SOURCE] * len(of))
        if len(of):
            counts.add(
                ScoredBatch(
                    ref, LABELS, partitions, of.start_ms, of.by_arrival, of.micro, of.tagged, segments, arm, shadow
                )
            )

    def _take_part(
        self, counts: Counts, mine: NDArray[np.int64], phase: int, cell: Any, late: NDArray[np.bool_]
    ) -> None:
        if not len(mine):
            return
        nothing = np.zeros((len(mine), len(LABELS)), np.bool_)
        control, candidate = self.events.tagged[mine], self._challenger.tagged[mine]
        if self._mode == "split":
            control, candidate = (control, nothing) if cell[1] == "control" else (nothing, candidate)
        counts.add_rows(
            TrialRows(
                str(self.experiment.id), phase, self._mode, LABELS, cell, counts.number([_SOURCE] * len(mine)),
                self.events.start_ms[mine], UnitColumns(self._units[mine], control, candidate), late,
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

    def followed(self, start: int = 0) -> tuple[list[WindowDocument], VerdictDocument]:
        """What comes of the panes from a position on."""
        revisions, windows, fold = Revisions(), Windows(lambda *_: None), ExperimentFold(self.experiment, start)
        for position, pane in enumerate(self.panes[start:], start):
            step = revisions.apply(position, pane)
            if step is not None:
                windows.apply(position, step)
                fold.take(position, step)
        return windows.changed(), fold.document()


def _events() -> Events:
    choose = np.random.default_rng(7)
    micro = _scores(seed=0)
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
        split=np.full(_N, -1),
        candidate=np.zeros(_N, np.bool_),
        by_arrival=choose.random(_N) < 0.02,
        micro=micro[ordinal],
        tagged=micro[ordinal] >= _micro(_CUTOFFS),
    )


def _scores(seed: int) -> NDArray[np.int64]:
    """Of each ordinal, millionths."""
    return np.random.default_rng([7, seed]).integers(0, 1_000_001, (_N, len(LABELS)))


def _micro(cutoffs: Mapping[str, float]) -> NDArray[np.int64]:
    return np.array([round(cutoffs[label] * 1_000_000) for label in LABELS])


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
