"""Who took part in experiments: the rows of commit summaries against the tag events that they are about."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from streamtag.control.experiment_log import Experiment
from streamtag.domain.thresholds import ThresholdSet
from streamtag.events.summary import CommitSummary, ExperimentRows, PaneCounts

from .archive import Events
from .corpus import LANGS
from .findings import Findings
from .tag_columns import Row
from .window import LABELS

Place = tuple[int, int, int]
"""Partition of the stats topic, offset of the summary in it, and start of the pane."""


@dataclass(frozen=True, eq=False)
class Part:
    """Events of one summary and pane that took part in an experiment, in the order of its rows.

    Attributes:
        events: indices into all events [n].
        units: hashes, uint64 [n].
        control, candidate: what either arm tagged, as the tag events say and as the scores say, bool [n, labels of the
            experiment].
        phase: of the experiment.
    """

    events: NDArray[np.int64]
    units: NDArray[np.uint64]
    control: NDArray[np.bool_]
    candidate: NDArray[np.bool_]
    phase: int


@dataclass(frozen=True)
class Subject:
    """An experiment, as far as rows depend on it: a shadow of thresholds, whose units are events."""

    experiment: Experiment
    candidate: ThresholdSet

    def units(self, ordinals: Sequence[int]) -> NDArray[np.uint64]:
        """Hashes of the units of events."""
        key = bytes.fromhex(self.experiment.document.salt)
        digests = [blake2b(str(n).encode(), digest_size=8, key=key).digest() for n in ordinals]
        return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)

    def tagged(self, events: Events) -> NDArray[np.bool_]:
        """What the candidate makes of events; its bundle is the control's, and so are their scores."""
        cutoffs = [self.candidate.effective((lang, None, None)) for lang in LANGS]
        micro = np.array([[round(each[label] * 1_000_000) for label in LABELS] for each in cutoffs])
        found: NDArray[np.bool_] = events.micro >= micro[events.lang]
        return found


class RowsRecount:
    """Finds the events of rows, and what is wrong with them.

    Args:
        events: all tag events, in order.
        releases: what ``events.row`` points to.
        subjects: experiments by id.
        findings: takes what is wrong.
    """

    def __init__(
        self, events: Events, releases: Sequence[Row], subjects: Mapping[str, Subject], findings: Findings
    ) -> None:
        self._events, self._findings = events, findings
        self._release = np.array([row.release_sha256 for row in releases])[events.row] if len(events) else np.array([])
        self._subjects = subjects
        self.parts: dict[str, dict[Place, list[Part]]] = {}
        """Of each experiment, in the order of its phases."""

    def add(self, shard: int, offset: int, summary: CommitSummary) -> None:
        """The summary at an offset of the stats topic."""
        for cell in summary.panes:
            for rows in () if cell.experiments is UNSET else cell.experiments:
                subject = self._subjects.get(rows.id)
                where = f"experiment {rows.id} at {shard}/{offset}, pane {cell.start_ms}"
                if subject is None:
                    self._findings.add("rows", f"{where}: nobody has started it")
                    continue
                part = self._part(subject, summary, cell, rows)
                if isinstance(part, str):
                    self._findings.add("rows", f"{where}: {part}")
                else:
                    here = self.parts.setdefault(rows.id, {})
                    here.setdefault((shard, offset, cell.start_ms), []).append(part)

    def _part(self, subject: Subject, summary: CommitSummary, cell: PaneCounts, rows: ExperimentRows) -> Part | str:
        """The events of these rows, or what is wrong with them, in words."""
        of = self._events.between(summary.partition, summary.from_offset, summary.to_offset)
        of = of[(self._events.start_ms[of] == cell.start_ms) & (self._release[of] == cell.release_sha256)]
        units = subject.units(self._events.ordinal[of].tolist())
        share = subject.experiment.phases[rows.phase].share
        taking = [unit < share * 2.0**64 for unit in units.tolist()] if share < 1 else [True] * len(units)
        of, units = of[taking], units[taking]
        said = np.frombuffer(rows.units.hashes, dtype="<u8").astype(np.uint64)
        # Whoever adopts an experiment, or lets go of one, does so between two batches: rows are one stretch of events.
        start = next(_places(units, said), None)
        if start is None:
            return f"{len(said)} rows are no stretch of the {len(units)} events that could take part"
        of, units = of[start : start + len(said)], said
        events = self._events.take(of)
        columns = [LABELS.index(label) for label in rows.labels]
        control, candidate = events.tagged[:, columns], subject.tagged(events)[:, columns]
        both = (("control", rows.units.control, control), ("candidate", rows.units.candidate, candidate))
        for arm, bits, tagged in both:
            if bits != np.packbits(tagged, axis=1, bitorder="little").tobytes():
                return f"the {arm} tagged otherwise than its rows say"
        if rows.labels != list(subject.experiment.document.plan.labels):
            return f"labels {', '.join(rows.labels)} are not those of its plan"
        if rows.shed or rows.mode != "shadow" or cell.arm != "control":
            return f"mode {rows.mode}, arm {cell.arm}, {rows.shed} shed"
        return Part(of, units, control, candidate, rows.phase)


def _places(where: NDArray[np.uint64], what: NDArray[np.uint64]) -> Iterator[int]:
    """Where one array begins in another."""
    if not len(what):
        return
    for start in np.flatnonzero(where[: len(where) - len(what) + 1] == what[0]).tolist():
        if np.array_equal(where[start : start + len(what)], what):
            yield start
