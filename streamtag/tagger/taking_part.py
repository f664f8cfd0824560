"""What one batch, and one transaction, have to do with the experiments that run: decisions, cells and rows."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamtag.events.unit_rows import UnitColumns
from streamtag.tagger.columns import Cell, ScoredBatch, TrialRows
from streamtag.tagger.counts import Counts
from streamtag.tagger.decide import Deciding, Decisions, take
from streamtag.tagger.decode import Decoded
from streamtag.tagger.trials import Answer, Part, Trial, Trials

__all__ = ["Arm", "TakingPart"]

Arm = tuple[Deciding, Decisions, ScoredBatch, str | None, NDArray[np.intp] | None]
"""By which release, what, as counted, in which split, and on which rows of the batch (None: all of them)."""


@dataclass(frozen=True, eq=False)
class _Shadow:
    """A batch whose candidate is asked for its scores when the transaction closes; its texts are not kept for that."""

    trial: Trial
    part: Part
    batch: ScoredBatch


class TakingPart:
    """For the processing thread.

    Args:
        trials: experiments on this worker.
        counts: of the open transaction.
    """

    def __init__(self, trials: Trials, counts: Counts) -> None:
        self.trials = trials
        self._counts = counts
        self._parts: list[tuple[Trial, Part]] = []
        self._shadows: list[_Shadow] = []

    @property
    def any(self) -> bool:
        """Whether any experiment runs here."""
        return bool(self.trials.trials)

    def begin(self, decoded: Decoded) -> None:
        """A batch, before the champion scores it."""
        self._parts = [(trial, trial.part(decoded)) for trial in self.trials.trials]

    def refused(self, stay: list[int]) -> None:
        """Only these rows of the batch have scores; the others are dead letters."""
        kept = []
        for trial, part in self._parts:
            here = np.isin(part.rows, stay)
            if trial.mode == "split":
                self.trials.count(trial, "dead", int((part.chosen & ~here).sum()))
            rows = np.searchsorted(stay, part.rows[here])
            asked = here[part.chosen]
            kept.append(
                (trial, replace(part, rows=rows, hashes=part.hashes[here], chosen=part.chosen[here], asked=asked))
            )
        self._parts = kept

    def decide(self, deciding: Deciding, decisions: Decisions, batch: ScoredBatch) -> list[Arm]:
        """Who decides what of the batch; counts it."""
        parts, self._parts = self._parts, []
        split = next(((trial, part) for trial, part in parts if trial.mode == "split"), None)
        if split is not None:
            return self._split(*split, (deciding, decisions, batch, None, None))
        self._counts.add(batch)
        for trial, part in parts:
            if not len(part.rows):
                continue
            shadow = _Shadow(trial, part, batch)
            if trial.candidate is None:
                self._settle(shadow, self.trials.answer(trial, part, batch.micro, 0.0))
            else:
                self._shadows.append(shadow)
                self._counts.expect(len(part.rows), len(trial.deciding.labels))
        return [(deciding, decisions, batch, None, None)]

    def close(self) -> None:
        """The transaction ends: candidates that have not answered within the budget are left out."""
        if not self._shadows:
            return
        deadline = self.trials.deadline("shadow")
        shadows, self._shadows = self._shadows, []
        for shadow in shadows:
            self._settle(shadow, self.trials.answer(shadow.trial, shadow.part, shadow.batch.micro, deadline))

    def clear(self) -> None:
        """The transaction is over, or undone."""
        self._shadows.clear()
        self._parts = []
        self.trials.forget()

    # -- shadow ------------------------------------------------------------------------------------------------------

    def _settle(self, shadow: _Shadow, answer: Answer) -> None:
        """Counts what the candidate says beside what the control has decided."""
        trial, part, batch = shadow.trial, shadow.part, shadow.batch
        rows = part.rows
        found = trial.decide(batch.segments, rows, answer.micro)
        units = UnitColumns(part.hashes, trial.control_tags(batch.tagged[rows]), trial.candidate_tags(found.tagged))
        self._note(trial, batch, batch.cell, rows, units, shed=~answer.valid)
        if answer.valid.any():
            valid = np.flatnonzero(answer.valid)
            self._counts.add(replace(_batch(trial, batch.take(rows), answer, found), shadow=True).take(valid))

    # -- split -------------------------------------------------------------------------------------------------------

    def _split(self, trial: Trial, part: Part, control: Arm) -> list[Arm]:
        """Each unit has its arm; what the candidate cannot decide in time the control decides, and it takes no part.

        Nor does the rest of a batch for which the candidate was not there (it loads, hangs, was killed): counted alone,
        the units of the control would look like an assignment that is broken.
        """
        deciding, decisions, batch, _, _ = control
        answer = self.trials.answer(trial, part, batch.micro, self.trials.deadline("split"))
        kept = ~part.chosen & answer.there
        given, taking = part.rows[part.chosen], part.rows[kept]
        theirs, shed = given[answer.valid], given[~answer.valid]
        mine = np.setdiff1d(np.arange(len(batch.micro)), theirs)
        if len(mine):
            self._counts.add(batch.take(mine))
        tags = trial.control_tags(batch.tagged[taking])
        units = UnitColumns(part.hashes[kept], tags, np.zeros_like(tags))
        self._note(trial, batch, batch.cell, taking, units)
        # What the candidate should have decided and did not: in the control's cell, which it is in.
        none = np.zeros((len(shed), len(trial.labels)), dtype=np.bool_)
        self._note(trial, batch, batch.cell, shed, UnitColumns(np.zeros(len(shed), np.uint64), none, none), shed=True)
        # Nor do events take part that have no unit.
        takes_part = np.isin(mine, taking)
        arms: list[Arm] = [
            (deciding, take(decisions, rows), batch.take(rows), experiment, rows)
            for rows, experiment in ((mine[takes_part], trial.id), (mine[~takes_part], None))
            if len(rows)
        ]
        if len(theirs):
            arms.append(self._by_candidate(trial, part, (decisions, batch), answer))
        return arms

    def _by_candidate(self, trial: Trial, part: Part, by_control: tuple[Decisions, ScoredBatch], answer: Answer) -> Arm:
        """What the candidate of a split has decided."""
        control, batch = by_control
        rows, hashes = part.rows[part.chosen][answer.valid], part.hashes[part.chosen][answer.valid]
        scored = Answer(answer.micro[answer.valid], answer.valid[answer.valid])
        found = trial.decide(batch.segments, rows, scored.micro)
        if answer.stages is not None:
            found = replace(found, stages=answer.stages.take(np.flatnonzero(answer.valid)))
        elif trial.candidate is None and control.stages is not None:  # the same model, so the same stages
            found = replace(found, stages=control.stages.take(rows))
        counted = _batch(trial, batch.take(rows), scored, found)
        self._counts.add(counted)
        tags = trial.candidate_tags(found.tagged)
        self._note(trial, batch, counted.cell, rows, UnitColumns(hashes, np.zeros_like(tags), tags))
        return trial.deciding, found, counted, trial.id, rows

    # -- both --------------------------------------------------------------------------------------------------------

    def _note(
        self,
        trial: Trial,
        batch: ScoredBatch,
        cell: Cell,
        rows: NDArray[np.intp],
        units: UnitColumns,
        *,
        shed: bool | NDArray[np.bool_] = False,
    ) -> None:
        """Notes the units of some rows of a batch, in a cell of their panes."""
        if not len(rows):
            return
        self._counts.add_rows(
            TrialRows(
                id=trial.id,
                phase=trial.phase,
                mode=trial.mode,
                labels=trial.labels,
                cell=cell,
                partitions=batch.partitions[rows],
                panes=batch.panes[rows],
                units=units,
                shed=np.broadcast_to(shed, len(rows)),
            )
        )


def _batch(trial: Trial, base: ScoredBatch, answer: Answer, found: Decisions) -> ScoredBatch:
    """The same events as the candidate scores and decides them."""
    return replace(
        base,
        ref=trial.deciding.active.ref,
        labels=trial.deciding.labels,
        micro=answer.micro,
        tagged=found.tagged,
        arm="candidate",
    )
