"""Who took part in experiments: the rows of commit summaries against the tag events that they are about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import groupby
from typing import Literal

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from streamtag.control.experiment_log import Experiment
from streamtag.domain.thresholds import ThresholdSet
from streamtag.events.summary import CommitSummary, ExperimentRows, PaneCounts

from .archive import Events, Outcomes
from .corpus import LANGS
from .findings import Findings
from .subsequence import narrowest
from .window import LABELS

Place = tuple[int, int, int]
"""Partition of the stats topic, offset of the summary in it, and start of the pane."""
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Part:
    """Events of one summary, pane and arm that took part in an experiment, in the order of its rows.

    Attributes:
        events: indices into all events [n].
        units: hashes, uint64 [n].
        control, candidate: what either arm tagged, bool [n, labels of the experiment]; in a split nothing where the
            other arm decided.
        phase: of the experiment.
        arm: whose units they are; both in a shadow.
        shed: further events that the candidate should have scored, and did not in time.
    """

    events: Indices
    units: NDArray[np.uint64]
    control: NDArray[np.bool_]
    candidate: NDArray[np.bool_]
    phase: int
    arm: Literal["both", "control", "candidate"] = "both"
    shed: int = 0


@dataclass(frozen=True)
class Subject:
    """An experiment, as far as rows depend on it; its units are events."""

    experiment: Experiment
    candidate: ThresholdSet

    @property
    def own_bundle(self) -> bool:
        """Whether the candidate must be asked, and may be late: its bundle is not the control's."""
        document = self.experiment.document
        return document.candidate.bundle != document.control.bundle

    def units(self, ordinals: Sequence[int]) -> NDArray[np.uint64]:
        """Hashes of the units of events."""
        key = bytes.fromhex(self.experiment.document.salt)
        digests = [blake2b(str(n).encode(), digest_size=8, key=key).digest() for n in ordinals]
        return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)

    def chosen(self, units: NDArray[np.uint64], phase: int) -> NDArray[np.bool_]:
        """Which of them are the candidate's in a phase."""
        share = self.experiment.phases[phase].share
        return np.array([share == 1 or unit < share * 2.0**64 for unit in units.tolist()], dtype=np.bool_)

    def as_candidate(self, events: Events, outcomes: Outcomes) -> Events:
        """The same events as the candidate scores and tags them."""
        micro = outcomes.scored(self.experiment.document.candidate.bundle.sha256, events.ordinal)
        cutoffs = [self.candidate.effective((lang, None, None)) for lang in LANGS]
        needed = np.array([[round(each[label] * 1_000_000) for label in LABELS] for each in cutoffs])
        return replace(events, micro=micro, tagged=micro >= needed[events.lang])


class RowsRecount:
    """Finds the events of rows, and what is wrong with them.

    Args:
        outcomes: all that was decided.
        subjects: experiments by id.
        findings: takes what is wrong.
    """

    def __init__(self, outcomes: Outcomes, subjects: Mapping[str, Subject], findings: Findings) -> None:
        self._outcomes, self._events, self._findings = outcomes, outcomes.events, findings
        self._release = np.array([row.release_sha256 for row in outcomes.rows])[self._events.row]
        self._codes = {name: code for code, name in enumerate(outcomes.splits)}
        self._subjects = subjects
        self.parts: dict[str, dict[Place, list[Part]]] = {}
        """Of each experiment, in the order of arms and phases."""

    def add(self, shard: int, offset: int, summary: CommitSummary) -> None:
        """The summary at an offset of the stats topic."""
        for cell in summary.panes:
            experiments = [] if cell.experiments is UNSET else cell.experiments
            for wanted, several in groupby(experiments, key=lambda rows: rows.id):
                where = f"experiment {wanted} at {shard}/{offset}, pane {cell.start_ms}"
                subject = self._subjects.get(wanted)
                if subject is None:
                    self._findings.add("rows", f"{where}: nobody has started it")
                    continue
                found = self._parts(subject, summary, cell, list(several))
                if isinstance(found, str):
                    self._findings.add("rows", f"{where}: {found}")
                else:
                    self.parts.setdefault(wanted, {}).setdefault((shard, offset, cell.start_ms), []).extend(found)

    def finish(self) -> None:
        """After the last summary: whoever has an arm because of a split stands in the rows of that split."""
        for name, code in self._codes.items():
            parts = [part for here in self.parts.get(name, {}).values() for part in here]
            said, rows = int((self._events.split == code).sum()), sum(len(part.events) for part in parts)
            if said != rows:
                self._findings.add("rows", f"{said} tag events are of experiment {name}, and {rows} rows")
        astray = int((self._events.candidate & (self._events.split < 0)).sum())
        if astray:
            self._findings.add("rows", f"a candidate decided {astray} events, for no experiment")

    def _parts(
        self, subject: Subject, summary: CommitSummary, cell: PaneCounts, several: Sequence[ExperimentRows]
    ) -> list[Part] | str:
        """The events of the rows of a cell, phase by phase, or what is wrong with them, in words."""
        document = subject.experiment.document
        if any(rows.labels != list(document.plan.labels) or rows.mode != document.plan.mode for rows in several):
            return f"mode {several[0].mode}, labels {', '.join(several[0].labels)} are not those of its plan"
        release = document.candidate if cell.arm == "candidate" else document.control
        if cell.release_sha256 != release.sha256 or cell.shadow is True:
            return f"they stand in a cell of arm {cell.arm}, release {cell.release_sha256[:12]}"
        of = self._events.between(summary.partition, summary.from_offset, summary.to_offset)
        of = of[(self._events.start_ms[of] == cell.start_ms) & (self._release[of] == cell.release_sha256)]
        if document.plan.mode == "split":
            return self._split(subject, cell, of, several)
        if cell.arm != "control":
            return "a shadow decides nothing"
        found = [self._shadow(subject, of, rows) for rows in several]
        return next((one for one in found if isinstance(one, str)), None) or [
            one for one in found if isinstance(one, Part)
        ]

    def _shadow(self, subject: Subject, of: Indices, rows: ExperimentRows) -> Part | str:
        units = subject.units(self._events.ordinal[of].tolist())
        taking = subject.chosen(units, rows.phase)
        of, units, said = of[taking], units[taking], _hashes(rows)
        places = narrowest(units.tolist(), said.tolist())
        if places is None:
            return f"{len(said)} rows are no part of the {len(units)} events that could take part"
        # Whoever adopts an experiment, or lets go of one, does so between two batches: between its rows nobody is
        # missing but those whose candidate was late.
        missing = places[-1] + 1 - places[0] - len(said) if places else 0
        most = len(units) - len(said) if subject.own_bundle else 0
        if not missing <= rows.shed <= most:
            return f"{rows.shed} were shed, where {missing} events are missing between rows, and {most} could be shed"
        of = of[places]
        events = self._events.take(of)
        both = events.tagged, subject.as_candidate(events, self._outcomes).tagged
        return self._part(of, said, rows, both, "both")

    def _split(
        self, subject: Subject, cell: PaneCounts, of: Indices, several: Sequence[ExperimentRows]
    ) -> list[Part] | str:
        theirs, said = cell.arm == "candidate", [_hashes(rows) for rows in several]
        split = self._events.split[of] == self._codes.get(several[0].id, len(self._codes))
        mine = of[split & (self._events.candidate[of] == theirs)]
        units = subject.units(self._events.ordinal[of].tolist())
        if not np.array_equal(subject.units(self._events.ordinal[mine].tolist()), np.concatenate(said)):
            return f"{sum(map(len, said))} rows of the {cell.arm} are not the {len(mine)} tag events of this arm"
        found: list[Part] = []
        for rows, hashes, here in zip(several, said, np.split(mine, np.cumsum([*map(len, said)])[:-1]), strict=True):
            chosen = subject.chosen(units, rows.phase)
            if (subject.chosen(hashes, rows.phase) != theirs).any():
                return f"units of the other arm are among those of the {cell.arm}"
            inside = (of >= here[0]) & (of <= here[-1]) if len(here) else np.zeros(len(of), np.bool_)
            left = chosen & (self._events.split[of] < 0)  # by a candidate that was late, or before anybody took part
            least, most = (int((left & inside).sum()), int(left.sum())) if subject.own_bundle and not theirs else (0, 0)
            if not least <= rows.shed <= most:
                return f"{rows.shed} were shed, where {least} events at least, {most} at most have no arm"
            if not subject.own_bundle and (inside & ~split).any():
                return f"{int((inside & ~split).sum())} events between its rows have no arm"
            tagged = self._events.tagged[here]
            nothing = np.zeros_like(tagged)
            arms = (nothing, tagged) if theirs else (tagged, nothing)
            part = self._part(here, hashes, rows, arms, "candidate" if theirs else "control")
            if isinstance(part, str):
                return part
            found.append(part)
        return found

    def _part(
        self,
        of: Indices,
        units: NDArray[np.uint64],
        rows: ExperimentRows,
        arms: tuple[NDArray[np.bool_], NDArray[np.bool_]],
        arm: Literal["both", "control", "candidate"],
    ) -> Part | str:
        columns = [LABELS.index(label) for label in rows.labels]
        control, candidate = (tagged[:, columns] for tagged in arms)
        both = (("control", rows.units.control, control), ("candidate", rows.units.candidate, candidate))
        for name, bits, tagged in both:
            if bits != np.packbits(tagged, axis=1, bitorder="little").tobytes():
                return f"the {name} tagged otherwise than its rows say"
        return Part(of, units, control, candidate, rows.phase, arm, rows.shed)


def _hashes(rows: ExperimentRows) -> NDArray[np.uint64]:
    return np.frombuffer(rows.units.hashes, dtype="<u8").astype(np.uint64)
