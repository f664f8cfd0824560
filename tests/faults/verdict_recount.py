"""Verdicts counted again, in the order of the panes topic, from tag events: each unit once, at its first row."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streamtag.control.verdict_documents import VerdictDocument
from streamtag.domain.experiment import ExperimentPlan
from streamtag.domain.verdict import Peaks, PhaseCounts, State, decide
from streamtag.events.panes import Pane

from .rows_recount import Part, Place, Subject

_MS_PER_HOUR = 3_600_000


@dataclass
class Count:
    """Units of an experiment, each counted where it came first."""

    plan: ExperimentPlan
    shares: Sequence[float]
    units: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Unit to the phase and arm that it counts in."""
    conflicts: set[int] = field(default_factory=set)
    """Units that came in the other arm of that phase, too."""
    phases: dict[int, tuple[Counter[str], NDArray[np.int64]]] = field(default_factory=dict)
    """Phase to its units by arm and, per label, counts of tags [labels, 2 or 3], see `PhaseCounts`."""
    shed: int = 0

    def add(self, part: Part) -> None:
        """More rows, in order."""
        kept, here = [], (part.phase, part.arm)
        for row, unit in enumerate(part.units.tolist()):
            if unit in self.units:
                phase, arm = self.units[unit]
                if phase == part.phase and arm != part.arm:
                    self.conflicts.add(unit)
            else:
                self.units[unit] = here
                kept.append(row)
        control, candidate = part.control[kept], part.candidate[kept]
        tagged = [control, candidate]  # of the arm that did not decide there is nothing
        if part.arm == "both":
            tagged = [candidate & ~control, control & ~candidate, control & candidate]
        found = np.stack([one.sum(axis=0) for one in tagged], axis=1)
        units, counts = self.phases.get(part.phase, (Counter(), np.zeros_like(found)))
        units[part.arm] += len(kept)
        self.phases[part.phase] = units, counts + found
        self.shed += part.shed

    def counts(self) -> list[PhaseCounts]:
        """As a verdict has them."""
        return [
            PhaseCounts(
                self.shares[phase],
                units["both"] + units["control"],
                units["both"] + units["candidate"],
                {label: tuple(row) for label, row in zip(self.plan.labels, counts.tolist(), strict=True)},
            )
            for phase, (units, counts) in sorted(self.phases.items())
        ]


def problems(
    said: VerdictDocument, subject: Subject, log: Sequence[Pane], parts: Mapping[Place, Sequence[Part]], started_ms: int
) -> Iterator[str]:
    """What is wrong with a verdict, or with evidence that is none yet.

    Args:
        said: to check.
        subject: the experiment.
        log: all records of the panes topic, by offset.
        parts: who took part in it.
        started_ms: when the experiment began, Unix milliseconds.
    """
    plan = subject.experiment.document.plan
    count = Count(plan, [phase.share for phase in subject.experiment.phases])
    verdict = decide(plan, [], Peaks(), hours=0.0)
    placed = _by_pane(parts)
    shards: dict[int, int] = {}
    ended_ms, end = 0, said.panes_from
    if (missed := next(_looks(log, placed, 0, said.panes_from), None)) is not None:
        yield f"its evidence begins at position {said.panes_from}, and rows of it stand at {missed[0]}"
        return
    for position, pane, found in _looks(log, placed, said.panes_from, said.panes_to):
        if verdict.state.final:
            yield f"it was {verdict.state} before position {end} already"
            return
        for part in found:
            count.add(part)
        shards[pane.shard] = max(pane.n, shards.get(pane.shard, 0))
        ended_ms = max(ended_ms, pane.start_ms + pane.pane_ms)
        hours = max(0, ended_ms - started_ms) / _MS_PER_HOUR
        verdict = decide(plan, count.counts(), verdict.peaks, hours=hours, conflicts=len(count.conflicts))
        end = position + 1
    wanted = {
        "state": (said.state, verdict.state),
        # To an INVALID streamtag may add, in words, what it can also come of.
        "reasons": (tuple(said.reasons[: 1 if verdict.state is State.INVALID else None]), tuple(verdict.reasons)),
        "units": (said.units, len(count.units)),
        "phases": (list(said.phases), count.counts()),
        "shards": (said.shards, dict(sorted(shards.items()))),
        "peaks": (said.peaks.to_peaks(), verdict.peaks),
        "conflicts": (said.conflicts, len(count.conflicts)),
        "shed": (said.shed, count.shed),
        "decided at": (said.decided_at.timestamp() * 1000, max(ended_ms, started_ms)),
    }
    if said.state is not State.COLLECTING:
        wanted["end"] = (said.panes_to, end)
    for name, (theirs, ours) in wanted.items():
        if theirs != ours:
            yield f"{name}: {theirs} instead of {ours}"


def _by_pane(parts: Mapping[Place, Sequence[Part]]) -> dict[tuple[int, int], list[tuple[int, Part]]]:
    """Partition of the stats topic and start of the pane to what its summaries hold, by their offset."""
    found: dict[tuple[int, int], list[tuple[int, Part]]] = {}
    for (shard, offset, start_ms), here in sorted(parts.items(), key=lambda item: item[0]):
        found.setdefault((shard, start_ms), []).extend((offset, part) for part in here)
    return found


def _looks(
    log: Sequence[Pane], placed: Mapping[tuple[int, int], Sequence[tuple[int, Part]]], start: int, end: int
) -> Iterator[tuple[int, Pane, list[Part]]]:
    """Positions that bring rows, with their pane and what is new of them."""
    for position, pane, first in _news(log, start, end):
        found = [part for offset, part in placed.get((pane.shard, pane.start_ms), ()) if first <= offset < pane.n]
        if found:
            yield position, pane, found


def _news(log: Sequence[Pane], start: int, end: int) -> Iterator[tuple[int, Pane, int]]:
    """Positions that say something new: of their pane, summaries from which offset on."""
    newest: dict[tuple[int, int], int] = {}
    addenda: set[tuple[int, int, int]] = set()
    for position, pane in enumerate(log[start:end], start):
        place = pane.shard, pane.start_ms
        if pane.addendum:
            if (*place, pane.n) not in addenda:
                addenda.add((*place, pane.n))
                yield position, pane, pane.n - 1
        elif pane.n > newest.get(place, 0):
            yield position, pane, newest.get(place, 0)
            newest[place] = pane.n
