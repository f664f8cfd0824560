"""The evidence of one experiment as a fold over the log of panes: the same log always comes to the same verdict.

Every record of the log that brings new rows of the experiment is one look. So a verdict follows from the experiment and
a range of positions, and anybody can compute it again: every integer and the decision equal, evidence bit for bit on
one platform.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import numpy as np
from msgspec import UNSET

from streamtag.control.experiment_documents import Phase
from streamtag.control.experiment_log import Experiment
from streamtag.control.verdict_documents import HexPeaks, VerdictDocument
from streamtag.domain.evidence import Evidence, Rows
from streamtag.domain.looks import Look, Looks, look_of, with_look
from streamtag.domain.verdict import State, Verdict, decide
from streamtag.events.panes import Pane, PlacedRows
from streamtag.events.unit_rows import unpack_all
from streamtag.stats.revisions import Memory, Step

__all__ = ["ExperimentFold", "SavedFold", "UnknownPhaseError"]

_MS_PER_HOUR = 3_600_000
_MUCH_SHED = 0.01
_INEXACT = "positions of a source were counted twice or not at all in what this rests on"
_EXPIRED = "panes from its beginning have expired, and neither PASS nor FAIL can rest on the others"


class UnknownPhaseError(Exception):
    """Rows are of a phase that the fold has not been told of: it began after the experiment was looked up."""


class SavedFold(msgspec.Struct, frozen=True):
    """What an experiment has come to, for whoever goes on. Every verdict is computed from the panes all the same.

    Attributes:
        version: of this struct.
        start: first position of the log that was fed.
        position: all records of the log before this one are in it.
        memory: of the `Revisions` that fed it.
        shards, exact, expired: see `ExperimentFold`.
        evidence: a snapshot of `Evidence`.
        looks: those that are kept.
    """

    version: int
    start: int
    position: int
    memory: Memory
    shards: dict[int, int]
    exact: bool
    expired: bool
    evidence: bytes
    looks: Looks = Looks()


_VERSION = 3


class ExperimentFold:
    """What is known of one experiment after a range of the log.

    Args:
        experiment: its document and phases.
        start: first position of the log that is fed; nothing of the experiment may stand before it,
        expired: unless that has expired: then neither PASS nor FAIL can come of it.
    """

    def __init__(self, experiment: Experiment, start: int, *, expired: bool = False) -> None:
        self._experiment = experiment
        self._start = start
        self._expired = expired
        self._started_ms = round(experiment.document.at.timestamp() * 1000)
        self._evidence = Evidence(experiment.document.plan, self._started_ms)
        self._shards: dict[int, int] = {}
        self._exact = not expired
        self._looks = Looks()
        self._verdict = decide(experiment.document.plan, [], self._evidence.peaks, hours=0.0)
        self.end = start
        """Position behind the last record that was taken."""

    @classmethod
    def restore(cls, experiment: Experiment, saved: SavedFold) -> "ExperimentFold":
        """The inverse of `save`.

        Raises:
            ValueError: it is of another version, or of an experiment with other labels.
        """
        if saved.version != _VERSION:
            raise ValueError(f"it is of version {saved.version}, not {_VERSION}")
        fold = cls(experiment, saved.start, expired=saved.expired)
        fold._evidence = Evidence.restore(experiment.document.plan, saved.evidence)
        fold._shards, fold._exact, fold._looks = dict(saved.shards), saved.exact, saved.looks
        fold._look([], fold._evidence.ended_ms)  # the same counts and peaks: the same verdict
        fold.end = saved.position
        return fold

    def save(self, position: int, memory: Memory) -> SavedFold:
        """All of it but the experiment, when ``position`` comes next and the revisions before it left ``memory``."""
        evidence = self._evidence.snapshot()
        return SavedFold(
            version=_VERSION,
            start=self._start,
            position=position,
            memory=memory,
            shards=dict(self._shards),
            exact=self._exact,
            expired=self._expired,
            evidence=evidence,
            looks=self._looks,
        )

    @property
    def experiment(self) -> Experiment:
        """What it is about."""
        return self._experiment

    @property
    def start(self) -> int:
        """First position of the log that was fed."""
        return self._start

    @property
    def expired(self) -> bool:
        """Whether panes of it may have expired before ``start``."""
        return self._expired

    @property
    def evidence(self) -> Evidence:
        """The counts."""
        return self._evidence

    @property
    def looks(self) -> Looks:
        """Those that are kept for people. Another object after each look."""
        return self._looks

    @property
    def verdict(self) -> Verdict:
        """Of the last look. Once it is final, nothing changes any more."""
        return self._verdict

    def take_known(self, position: int, step: Step) -> None:
        """As `take`; rows of a phase that the experiment does not have make it invalid."""
        try:
            self.take(position, step)
        except UnknownPhaseError:
            self.end = position + 1
            self.refuse(f"workers counted in a phase that is none of its {len(self._experiment.phases)}")

    def know(self, phases: Sequence[Phase]) -> None:
        """The experiment has these phases by now."""
        self._experiment = replace(self._experiment, phases=tuple(phases))

    def take(self, position: int, step: Step) -> bool:
        """Takes the step at ``position``; returns whether there was a look. One that comes again changes nothing.

        Raises:
            UnknownPhaseError: nothing was taken.
        """
        if self._verdict.state.final or position < self.end:
            return False
        wanted = str(self._experiment.id)
        mine = [(arm, rows) for arm, rows in step.rows if rows.id == wanted]
        end_ms = step.pane.start_ms + step.pane.pane_ms
        over = end_ms - self._started_ms >= self._experiment.document.plan.max_hours * _MS_PER_HOUR
        if mine and max(rows.phase for _, rows in mine) >= len(self._experiment.phases):
            raise UnknownPhaseError
        self.end = position + 1
        if not step.pane.exact and (mine or self._may_hold_units(step.pane, end_ms)):
            self._exact = False
        if not (mine or over):
            return False
        self._shards[step.pane.shard] = max(step.pane.n, self._shards.get(step.pane.shard, 0))
        self._look(mine, end_ms)
        self._looks = with_look(self._looks, self._seen())
        return True

    def _may_hold_units(self, pane: Pane, end_ms: int) -> bool:
        """Whether what is missing in a pane may be of the experiment, also where it brings no row, or none that is new.

        Who reads a backlog takes part with events from before the start.
        """
        return end_ms > self._started_ms or any(
            rows.id == str(self._experiment.id)
            for cell in pane.cells
            for rows in (() if cell.experiments is UNSET else cell.experiments)
        )

    def _look(self, mine: Sequence[tuple[str, PlacedRows]], end_ms: int) -> None:
        try:
            found = self._evidence.fold(self._blocks(mine), end_ms)
        except ValueError as error:
            self.refuse(f"what workers counted does not fit the experiment: {error}")
            return
        if not self._exact and found.state in (State.PASS, State.FAIL):
            why = _EXPIRED if self._expired else _INEXACT
            reasons = (f"{why}; it would have been {found.state}", *found.reasons)
            found = replace(found, state=State.INCONCLUSIVE, reasons=reasons)
        found = replace(found, reasons=(*found.reasons, *self._shed_beside(found)))
        self._verdict = found

    def _shed_beside(self, found: Verdict) -> tuple[str, ...]:
        """Where arms are not as assigned, and much was shed: a cause that needs no event lost, doubled or misrouted.

        The candidate is late with the batches of which it was given many units, and these are left out as wholes.
        """
        plan, evidence = self._experiment.document.plan, self._evidence
        if found.state is not State.INVALID or found.peaks.assignment < math.log(1 / plan.alpha_assignment):
            return ()
        by_candidate = sum(phase.candidate_units for phase in evidence.phases()) / max(1, evidence.units)
        part = evidence.shed / max(1.0, evidence.shed + evidence.rows * by_candidate)
        if part < _MUCH_SHED:
            return ()
        reason = (
            f"or it comes of shedding: {evidence.shed:,} events, about {part:.0%} of those that the candidate was to "
            "decide, were shed, and a batch is shed the sooner the more of its units were assigned to the candidate"
        )
        return (reason,)

    def _seen(self) -> Look:
        evidence = self._evidence
        at_ms = max(evidence.ended_ms, self._started_ms)
        plan = self._experiment.document.plan
        return look_of(plan, evidence.phases(), self._verdict, at_ms=at_ms, units=evidence.units)

    def _blocks(self, mine: Sequence[tuple[str, PlacedRows]]) -> list[Rows]:
        """The rows of all summaries, as few blocks as there are phases and arms in them."""
        document = self._experiment.document
        wanted = list(document.plan.labels)
        alike: dict[tuple[int, str, tuple[str, ...]], list[int]] = {}
        for place, (arm, rows) in enumerate(mine):
            if rows.mode != document.plan.mode or (rows.labels != wanted and sorted(rows.labels) != sorted(wanted)):
                raise ValueError(f"its rows are of mode {rows.mode} and labels {', '.join(rows.labels)}")
            alike.setdefault((rows.phase, arm, tuple(rows.labels)), []).append(place)
        blocks = []
        for (phase, arm, labels), places in alike.items():
            columns, sizes = unpack_all([mine[place][1] for place in places])
            order = [labels.index(label) for label in wanted]
            blocks.append(
                Rows(
                    phase=phase,
                    share=self._experiment.phases[phase].share,
                    arm="both" if document.plan.mode == "shadow" else arm,  # type: ignore[arg-type]  # one of the two
                    units=columns.hashes,
                    control=columns.control[:, order],
                    candidate=columns.candidate[:, order],
                    shed=sum(mine[place][1].shed for place in places),
                    places=np.repeat(np.array(places, np.int64), sizes),
                )
            )
        return blocks

    def refuse(self, reason: str) -> None:
        """Nothing sound can come of what was counted."""
        self._verdict = replace(self._verdict, state=State.INVALID, reasons=(reason,))

    def give_up(self) -> None:
        """It ends here, as its beginning has expired: whatever else may come could show nothing."""
        found = self._verdict
        if found.state is not State.INVALID:
            told = any(reason.startswith(_EXPIRED) for reason in found.reasons)
            reasons = found.reasons if told else (_EXPIRED, *found.reasons)
            self._verdict = replace(found, state=State.INCONCLUSIVE, reasons=reasons)

    def doubt(self) -> None:
        """A record of the log could not be read: what stood in it is missing."""
        self._exact = False

    @property
    def hours(self) -> float:
        """From the start to the end of the newest pane that was looked at."""
        return max(0, self._evidence.ended_ms - self._started_ms) / _MS_PER_HOUR

    def document(self) -> VerdictDocument:
        """The verdict of the last look, as it is stored."""
        evidence = self._evidence
        return VerdictDocument(
            number=self._experiment.id.number,
            experiment_sha256=self._experiment.id.sha256,
            state=self._verdict.state,
            reasons=self._verdict.reasons,
            panes_from=self._start,
            panes_to=self.end,
            expired=self._expired,
            shards=dict(sorted(self._shards.items())),
            units=evidence.units,
            phases=tuple(evidence.phases()),
            conflicts=evidence.conflicts,
            shed=evidence.shed,
            peaks=HexPeaks.of(self._verdict.peaks),
            hours=self.hours,
            decided_at=datetime.fromtimestamp(max(evidence.ended_ms, self._started_ms) / 1000, UTC),
        )
