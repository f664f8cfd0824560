"""Evidence of one experiment, folded from the rows of its units in the order of the log; a unit counts once.

Events of one author or thread, and copies of one event, are no independent evidence: counted each, they make any test
of a harmless candidate fail sooner or later. So a unit of correlation counts by its first row, over the whole
experiment, however often it comes again. Nothing that was counted is ever taken back: what happens to a unit later
must not decide whether its outcome counts.

A pane (or an addendum to one) is one look. The same rows in the same order give the same bytes. A look counts whole,
beyond ``max_units``, too: a summary has all rows of its control before those of its candidate, so a cut would leave out
one arm's more than the other's, and a sound split would be called broken.
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from streamtag.domain.experiment import ExperimentPlan
from streamtag.domain.verdict import Peaks, PhaseCounts, Verdict, decide

__all__ = ["Evidence", "Rows", "judge"]

_ARMS: Mapping[str, int] = {"control": 0, "candidate": 1, "both": 0}
_MS_PER_HOUR = 3_600_000


@dataclass(frozen=True)
class Rows:
    """Events of one phase and arm that took part in an experiment, one row each, in log order.

    Attributes:
        phase: number of the phase.
        share: of units that the candidate has in it.
        arm: whose rows they are; ``both`` in shadow mode.
        units: hash of each row's unit, uint64 [n]. Two units share a hash with a chance of n² / 2^65 (3e-6 for ten
            million).
        control: what the control tagged, bool [n, labels of the plan]; all false in rows of the candidate.
        candidate: what the candidate tagged, likewise.
        shed: further events that should have taken part, but for want of time did not.
        places: where each row stands in the log among those of all blocks folded with it, int64 [n], ascending; the
            place may be that of a group of rows, which keep their order. None: one block after the other.
    """

    phase: int
    share: float
    arm: Literal["control", "candidate", "both"]
    units: NDArray[np.uint64]
    control: NDArray[np.bool_]
    candidate: NDArray[np.bool_]
    shed: int = 0
    places: NDArray[np.int64] | None = None


@dataclass
class _Phase:
    """Running counts: units per arm [2] and, per label, the counts of `PhaseCounts` [2 or 3, labels]."""

    share: float
    units: list[int]
    counts: NDArray[np.int64]


@dataclass
class Evidence:
    """All that a verdict rests on. Memory: 10 bytes a unit, of at most ``plan.max_units`` and one look more.

    Attributes:
        plan: what the experiment asks.
        started_ms: when it started, Unix milliseconds of pane time.
        ended_ms: end of the newest pane folded.
        peaks: largest evidence seen.
        rows, shed: events folded, and events that took no part.
    """

    plan: ExperimentPlan
    started_ms: int
    ended_ms: int = 0
    peaks: Peaks = field(default_factory=Peaks)
    rows: int = 0
    shed: int = 0
    _phases: dict[int, _Phase] = field(default_factory=dict)
    _units: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))  # counted, ascending
    _places: NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, np.uint16))  # of each: 2 * phase + arm
    _conflicts: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))  # ascending

    @property
    def units(self) -> int:
        """Units counted."""
        return len(self._units)

    @property
    def repeats(self) -> int:
        """Rows that counted nothing, as their unit had counted already."""
        return self.rows - self.units

    @property
    def conflicts(self) -> int:
        """Units that came in both arms of one phase. They count where they came first; many make it INVALID.

        A unit that a ramp hands from one arm to the other is none: it counted in the phase in which it came first.
        """
        return len(self._conflicts)

    def phases(self) -> list[PhaseCounts]:
        """Cumulative counts, in order of phase."""
        return [
            PhaseCounts(
                phase.share,
                phase.units[0],
                phase.units[0 if self.plan.mode == "shadow" else 1],
                dict(zip(self.plan.labels, map(tuple, phase.counts.T.tolist()), strict=True)),
            )
            for _, phase in sorted(self._phases.items())
        ]

    def units_in(self, phase: int) -> int:
        """Units counted in one phase, of both arms together."""
        return sum(self._phases[phase].units) if phase in self._phases else 0

    def fold(self, rows: Sequence[Rows], end_ms: int) -> Verdict:
        """Count one pane, or one addendum, and look.

        Args:
            rows: in the order (shard, offset in the stats topic, row). Panes come in order of their start; addenda
                after the panes folded before them, in the order in which they arrived.
            end_ms: end of the pane, Unix milliseconds.

        Returns:
            The verdict at this look. Once it is final the experiment is over; nothing more should be folded.

        Raises:
            ValueError: rows do not fit the plan, or a phase has changed its share. Nothing was counted.
        """
        shares = {number: phase.share for number, phase in self._phases.items()}
        for block in rows:
            self._check(block)
            if shares.setdefault(block.phase, block.share) != block.share:
                raise ValueError(f"phase {block.phase} has a share of {shares[block.phase]:g}, not {block.share:g}")
        if rows:
            self._count(rows)
        self.ended_ms = max(self.ended_ms, end_ms)
        hours = max(0, self.ended_ms - self.started_ms) / _MS_PER_HOUR
        verdict = decide(self.plan, self.phases(), self.peaks, hours=hours, conflicts=self.conflicts)
        self.peaks = verdict.peaks
        return verdict

    def _check(self, rows: Rows) -> None:
        shape = (len(rows.units), len(self.plan.labels))
        if rows.control.shape != shape or rows.candidate.shape != shape:
            raise ValueError(
                f"phase {rows.phase}: tags of {rows.control.shape} and {rows.candidate.shape} where {shape} are due"
            )
        if rows.places is not None and rows.places.shape != rows.units.shape:
            raise ValueError(f"phase {rows.phase}: {len(rows.units)} rows with {len(rows.places)} places in the log")
        if (rows.arm == "both") != (self.plan.mode == "shadow"):
            raise ValueError(f"phase {rows.phase}: rows of arm {rows.arm} in a {self.plan.mode} experiment")

    def _count(self, rows: Sequence[Rows]) -> None:
        units = np.concatenate([block.units for block in rows])
        places = np.concatenate(
            [np.full(len(block.units), 2 * block.phase + _ARMS[block.arm], np.uint16) for block in rows]
        )
        first = self._first(units, _log_order(rows))
        self._remember(units[first], places[first])
        self._find_conflicts(units, places)
        counts = np.zeros(len(units), np.bool_)
        counts[first] = True
        at = 0
        for block in rows:
            self._add(block, counts[at : at + len(block.units)])
            at += len(block.units)

    def _first(self, units: NDArray[np.uint64], order: NDArray[np.intp] | None) -> NDArray[np.intp]:
        """Rows that count: the first of each unit not seen before."""
        each, first = np.unique(units if order is None else units[order], return_index=True)
        new = np.sort(first[~self._known(each)])
        return new if order is None else order[new]

    def _known(self, units: NDArray[np.uint64]) -> NDArray[np.bool_]:
        at = np.searchsorted(self._units, units)
        known = at < self.units
        known[known] = self._units[at[known]] == units[known]
        return known

    def _remember(self, units: NDArray[np.uint64], places: NDArray[np.uint16]) -> None:
        order = np.argsort(units)
        at = np.searchsorted(self._units, units[order])
        self._units = np.insert(self._units, at, units[order])
        self._places = np.insert(self._places, at, places[order])

    def _find_conflicts(self, units: NDArray[np.uint64], places: NDArray[np.uint16]) -> None:
        known = self._known(units)
        counted = self._places[np.searchsorted(self._units, units[known])]
        conflict = (counted ^ places[known]) == 1  # the same phase, the other arm
        if conflict.any():
            self._conflicts = np.union1d(self._conflicts, units[known][conflict])

    def _add(self, rows: Rows, counts: NDArray[np.bool_]) -> None:
        kinds = 3 if self.plan.mode == "shadow" else 2
        empty = _Phase(rows.share, [0, 0], np.zeros((kinds, len(self.plan.labels)), np.int64))
        phase = self._phases.setdefault(rows.phase, empty)
        control, candidate = rows.control[counts], rows.candidate[counts]
        phase.units[_ARMS[rows.arm]] += len(control)
        if self.plan.mode == "shadow":
            phase.counts += [(candidate & ~control).sum(0), (control & ~candidate).sum(0), (control & candidate).sum(0)]
        else:
            arm = _ARMS[rows.arm]
            phase.counts[arm] += (control, candidate)[arm].sum(0)
        self.rows += len(rows.units)
        self.shed += rows.shed

    def snapshot(self) -> bytes:
        """All of it but the plan, as JSON."""
        document = {
            "started_ms": self.started_ms,
            "ended_ms": self.ended_ms,
            "rows": self.rows,
            "shed": self.shed,
            "peaks": {"worse": dict(self.peaks.worse), "assignment": self.peaks.assignment},
            "labels": list(self.plan.labels),
            "phases": [
                {"phase": number, "share": phase.share, "units": phase.units, "counts": phase.counts.tolist()}
                for number, phase in sorted(self._phases.items())
            ],
            "units": _packed(self._units, "<u8"),
            "places": _packed(self._places, "<u2"),
            "conflicts": _packed(self._conflicts, "<u8"),
        }
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def restore(cls, plan: ExperimentPlan, snapshot: bytes) -> "Evidence":
        """The inverse of `snapshot`.

        Raises:
            ValueError: it is of an experiment with other labels.
        """
        document: dict[str, Any] = json.loads(snapshot)
        if document["labels"] != list(plan.labels):
            raise ValueError(f"the snapshot counts {document['labels']}, the plan asks for {list(plan.labels)}")
        return cls(
            plan,
            document["started_ms"],
            document["ended_ms"],
            Peaks(**document["peaks"]),
            document["rows"],
            document["shed"],
            {
                one["phase"]: _Phase(one["share"], one["units"], np.array(one["counts"], np.int64))
                for one in document["phases"]
            },
            _unpacked(document["units"], "<u8").astype(np.uint64),
            _unpacked(document["places"], "<u2").astype(np.uint16),
            _unpacked(document["conflicts"], "<u8").astype(np.uint64),
        )


def judge(
    plan: ExperimentPlan, started_ms: int, panes: Iterable[tuple[int, Sequence[Rows]]]
) -> tuple[Evidence, Verdict]:
    """Fold panes, each with its end, up to the first final verdict: what recomputing a stored verdict means."""
    evidence = Evidence(plan, started_ms)
    verdict = evidence.fold([], started_ms)
    for end_ms, rows in panes:
        if verdict.state.final:
            break
        verdict = evidence.fold(rows, end_ms)
    return evidence, verdict


def _log_order(rows: Sequence[Rows]) -> NDArray[np.intp] | None:
    """Indices that put the rows of all blocks into the order of the log; None where they stand in it."""
    places = [block.places for block in rows if block.places is not None]
    if not places:
        return None
    if len(places) < len(rows):
        raise ValueError("some blocks say where their rows stand in the log, others do not")
    return np.argsort(np.concatenate(places), kind="stable")


def _packed(values: NDArray[np.unsignedinteger[Any]], dtype: str) -> str:
    return base64.b64encode(values.astype(dtype).tobytes()).decode()


def _unpacked(text: str, dtype: str) -> NDArray[np.unsignedinteger[Any]]:
    return np.frombuffer(base64.b64decode(text), dtype)
