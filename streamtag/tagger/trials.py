"""Experiments in the hot path: who takes part, what the candidate says, and the rows that go into the summaries.

The champion never waits for a shadow, and for the candidate of a split no longer than its budget. What the candidate
did not answer in time is shed: counted, and decided by the champion.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from streamtag.control.experiment_watcher import ActiveExperiment
from streamtag.control.fleet import ExperimentFigures
from streamtag.control.metrics import MetricSink
from streamtag.control.watcher import ActiveRelease
from streamtag.domain.assignment import below, unit_hashes
from streamtag.domain.scores import to_micro
from streamtag.domain.thresholds import Segment
from streamtag.model.bundle import Bundle
from streamtag.model.scorer import Scorer
from streamtag.tagger.candidate import Candidate
from streamtag.tagger.decide import Deciding, Decisions, decide_segments
from streamtag.tagger.decode import Decoded
from streamtag.tagger.rerank import Stages

__all__ = ["Answer", "Part", "Trial", "Trials"]

log = logging.getLogger(__name__)

_MINUTE_S = 60.0
_FEW_ANSWERS = 20
_SHADOW_SHARE = 0.05

Spawn = Callable[[Bundle], Candidate]
Scores = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Part:
    """Events of one batch that an experiment is about.

    Attributes:
        rows: of the batch, ascending, intp [m].
        hashes: of their units, uint64 [m].
        chosen: the unit lies within the share, bool [m]: both score it (shadow), or the candidate decides it (split).
        ticket: of the texts given to the candidate, those that are chosen; None where none were given.
        asked: of the texts given, those whose event is still in the batch; None: all of them.
    """

    rows: NDArray[np.intp]
    hashes: NDArray[np.uint64]
    chosen: NDArray[np.bool_]
    ticket: int | None = None
    asked: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """What the candidate says of some rows.

    Attributes:
        micro: scores in millionths, int64 [k, labels of the candidate].
        valid: rows that it scored, and well, bool [k]; the others are shed.
        there: it answered, or would have, had there been anything to ask.
        stages: which stage scored each row, of a candidate with two; k rows.
    """

    micro: Scores
    valid: NDArray[np.bool_]
    there: bool = True
    stages: Stages | None = None


class _Figures:
    def __init__(self) -> None:
        self.counts = dict.fromkeys(("scored", "loading", "shed", "failures", "invalid", "dead"), 0)

    def snapshot(self, candidate: Candidate | None, now: float) -> ExperimentFigures:
        took_s = [] if candidate is None else candidate.times_since(now - _MINUTE_S)
        return ExperimentFigures(**self.counts, p99_ms=_p99_ms(took_s))


class Trial:
    """One experiment under the champion that is its control."""

    def __init__(self, active: ActiveExperiment, champion: ActiveRelease, candidate: Candidate | None) -> None:
        experiment = active.experiment
        document = experiment.document
        self.active = active
        self.id = str(experiment.id)
        self.mode: Literal["shadow", "split"] = document.plan.mode
        self.phase = len(experiment.phases) - 1
        self.labels = tuple(document.plan.labels)
        self.candidate = candidate
        scorer = champion.scorer if active.bundle is None else cast(Scorer, _Labels(active.bundle.labels))
        self.deciding = Deciding(ActiveRelease(active.candidate.ref, active.candidate.thresholds, scorer, "redis"))
        self._reads_features = active.bundle is not None and active.bundle.reads_features
        self._two_stages = active.bundle is not None and active.bundle.stage2 is not None
        self._share = experiment.share
        self._unit = document.unit
        self._salt = document.salt
        self._control_columns = _places(self.labels, champion.scorer.labels)
        self._candidate_columns = _places(self.labels, self.deciding.labels)

    def part(self, decoded: Decoded) -> Part:
        """Who of a batch takes part; texts of a shadow go to the candidate at once."""
        found = [(row, unit) for row, unit in enumerate(self._units(decoded)) if unit is not None]
        hashes = unit_hashes((unit for _, unit in found), self._salt)
        rows = np.fromiter((row for row, _ in found), dtype=np.intp, count=len(found))
        chosen = below(hashes, self._share)
        if self.mode == "shadow":
            rows, hashes, chosen = rows[chosen], hashes[chosen], chosen[chosen]
        ticket = None
        if self.candidate is not None and chosen.any():
            events = [decoded.events[row] for row in rows[chosen].tolist()]
            features = [event.features for event in events] if self._reads_features else None
            ids = [event.id for event in events] if self._two_stages else None
            ticket = self.candidate.ask([event.text for event in events], features, ids)
        return Part(rows, hashes, chosen, ticket)

    def control_tags(self, tagged: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What the control tagged, in the experiment's order of labels."""
        return tagged[:, self._control_columns]

    def candidate_tags(self, tagged: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What the candidate tagged, likewise."""
        return tagged[:, self._candidate_columns]

    def decide(self, segments: Sequence[Segment], rows: NDArray[np.intp], micro: Scores) -> Decisions:
        """The candidate's decisions on some rows of a batch, by the segments of its events."""
        return decide_segments([segments[row] for row in rows.tolist()], micro, self.deciding)

    def _units(self, decoded: Decoded) -> Iterable[bytes | None]:
        unit = self._unit
        if unit == "event":
            return (event.id.encode() for event in decoded.events)
        if unit == "key":
            return (
                key if event.key is None else event.key.encode()
                for event, key in zip(decoded.events, decoded.keys, strict=True)
            )
        values: Iterable[str | None] = (getattr(event, unit) for event in decoded.events)
        return (None if value is None else value.encode("utf-8", "surrogatepass") for value in values)


class Trials:
    """All experiments of one worker. For the processing thread; `figures` for any.

    Args:
        running: what runs, see `ExperimentWatcher.current`.
        spawn: starts a candidate whose bundle is not the champion's.
        budget_s: longest wait for candidates, per batch (split) or transaction (shadow).
        commit_interval_s: of the tagger; a shadow makes a transaction at most a twentieth of it longer, for nothing
            else is done meanwhile.
        metrics: counts what becomes of events.
        clock: monotonic seconds, as candidates have them.
    """

    def __init__(
        self,
        running: Callable[[], tuple[ActiveExperiment, ...]],
        spawn: Spawn,
        *,
        budget_s: float,
        commit_interval_s: float,
        metrics: MetricSink,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._running = running
        self._spawn = spawn
        self._budget_s = budget_s
        self._shadow_budget_s = min(budget_s, commit_interval_s * _SHADOW_SHARE)
        self._metrics = metrics
        self._clock = clock
        self._seen: tuple[object, object] | None = None
        self._candidates: dict[str, Candidate] = {}
        self._figures: dict[str, _Figures] = {}
        self.trials: tuple[Trial, ...] = ()
        """Those that take part now."""

    def adopt(self, champion: ActiveRelease) -> None:
        """Between two batches: what runs now, under the release that decides now."""
        running = self._running()
        if self._seen is not None and self._seen[0] is running and self._seen[1] is champion:
            return
        self._seen = running, champion
        here = [one for one in running if one.experiment.document.control == champion.ref]
        for one in running:
            if one not in here:
                log.warning("experiment %s is stale: release %d decides", one.experiment.id, champion.ref.number)
        needed = {str(one.experiment.id): one.bundle for one in here if one.bundle is not None}
        for wanted in self._candidates.keys() - needed.keys():
            self._candidates.pop(wanted).close()
        for wanted, bundle in needed.items():
            if wanted not in self._candidates and bundle is not None:
                self._candidates[wanted] = self._spawn(bundle)
        self.trials = tuple(Trial(one, champion, self._candidates.get(str(one.experiment.id))) for one in here)
        ids = {trial.id for trial in self.trials}
        self._figures = {wanted: self._figures.get(wanted) or _Figures() for wanted in sorted(ids)}

    def answer(self, trial: Trial, part: Part, micro: Scores, deadline: float) -> Answer:
        """The candidate's scores of the chosen rows of a part; waits until ``deadline`` (`clock`) at most.

        Args:
            trial: the experiment.
            part: of a batch.
            micro: the champion's scores of the batch, int64 [n, labels].
            deadline: of `clock`.
        """
        rows = part.rows[part.chosen]
        if trial.candidate is None:
            self.count(trial, "scored", len(rows))
            return Answer(micro[rows], np.ones(len(rows), dtype=np.bool_))
        labels = len(trial.deciding.labels)
        answer = None
        if part.ticket is not None:
            answer = trial.candidate.answer(part.ticket, max(0.0, deadline - self._clock()))
        if answer is None:
            self.count(trial, trial.candidate.why_not(part.ticket), len(rows))
            there = not len(rows) and trial.candidate.ready
            return Answer(np.zeros((len(rows), labels), np.int64), np.zeros(len(rows), dtype=np.bool_), there)
        scores, stages = _stages(answer if part.asked is None else answer[part.asked], labels)
        valid: NDArray[np.bool_] = np.all((scores >= 0) & (scores <= 1), axis=1)
        self.count(trial, "scored", int(valid.sum()))
        self.count(trial, "invalid", int((~valid).sum()))
        return Answer(to_micro(np.where(valid[:, None], scores, 0)), valid, stages=stages)

    def deadline(self, mode: Literal["shadow", "split"]) -> float:
        """Of a wait that begins now."""
        return self._clock() + (self._shadow_budget_s if mode == "shadow" else self._budget_s)

    def count(self, trial: Trial, name: str, n: int) -> None:
        """Adds to a figure of an experiment."""
        found = self._figures.get(trial.id)
        if found is not None and n:
            found.counts[name] += n
            self._metrics.add("streamtag.experiment.events", n, outcome=name)

    def figures(self) -> dict[str, ExperimentFigures]:
        """For the heartbeat; by id of the experiment."""
        now = self._clock()
        return {
            wanted: found.snapshot(self._candidates.get(wanted), now) for wanted, found in tuple(self._figures.items())
        }

    def forget(self) -> None:
        """The transaction is over: nobody asks for answers that were for it."""
        for candidate in self._candidates.values():
            candidate.forget()

    def close(self) -> None:
        """Ends the candidates' processes."""
        for candidate in self._candidates.values():
            candidate.close()
        self._candidates = {}


@dataclass(frozen=True)
class _Labels:
    """What `Deciding` needs of a scorer that lives in another process."""

    labels: tuple[str, ...]


def _p99_ms(took_s: Sequence[float]) -> float | None:
    """Of a minute, in milliseconds; a single slow answer among few is never it, nor is there one of fewer than a few.

    Fewer that filled half of the minute do say something: that no more came is because it is so slow.
    """
    if len(took_s) < _FEW_ANSWERS and sum(took_s) < _MINUTE_S / 2:
        return None
    return float(np.percentile(took_s, 99, method="lower")) * 1000


def _stages(columns: NDArray[np.float32], labels: int) -> tuple[NDArray[np.float32], Stages | None]:
    """The final scores of a candidate's answer, and which stage gave them where it has two."""
    scores, more = columns[:, :labels], columns[:, labels:]
    if not more.shape[1]:
        return scores, None
    known = np.nan_to_num(more)  # rows that are not valid
    return scores, Stages(to_micro(known[:, :-1]), known[:, -1].astype(np.uint8))


def _places(wanted: Sequence[str], labels: Sequence[str]) -> NDArray[np.intp]:
    return np.array([labels.index(label) for label in wanted], dtype=np.intp)
