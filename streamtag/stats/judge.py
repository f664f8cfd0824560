"""Follows all running experiments through the log of panes, and stores their verdicts.

What is in memory is never trusted with a verdict: before one is stored it is computed again from the topic, from the
experiment's first position on, and both must agree in every integer and every bit. Where its first panes have expired
nothing can be confirmed any more, so the experiment ends as inconclusive, with what the others say.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from streamtag.control.experiment_documents import ExperimentId
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.metrics import MetricSink
from streamtag.control.proposal import Who
from streamtag.control.rollout import Progress
from streamtag.control.verdict_documents import VerdictDocument
from streamtag.domain.looks import Looks
from streamtag.errors import ConflictError, RefusedError
from streamtag.stats.experiment_fold import ExperimentFold, UnknownPhaseError
from streamtag.stats.look_store import LookStore
from streamtag.stats.pane_log import PaneLog, UnreadablePaneError
from streamtag.stats.read_model import ReadModel
from streamtag.stats.recompute import CLOCKS_MS, recompute
from streamtag.stats.revisions import Memory, Revisions, Step

__all__ = ["AUTHOR", "Judge", "Judged"]

log = logging.getLogger(__name__)

AUTHOR = "streamtag (stats)"
_SAVE_MS = 30_000
_SAVE_BYTES_PER_MS = 200
"""What is saved for a restart grows by 14 bytes a unit: the longer, the less often."""


@dataclass(frozen=True)
class Judged:
    """A verdict that was stored just now."""

    experiment: Experiment
    verdict: VerdictDocument


class Judge:
    """The experiments of one namespace. For one thread at a time.

    Args:
        experiments: as Redis holds them.
        model: keeps what experiments have come to, for whoever goes on.
        panes: the log.
        metrics: counts verdicts, and those that could not be confirmed.
        keep: see `Revisions`.
    """

    def __init__(
        self, experiments: ExperimentLog, model: ReadModel, panes: PaneLog, metrics: MetricSink, *, keep: int
    ) -> None:
        self._experiments = experiments
        self._model = model
        self._changes = ExperimentChanges(experiments)
        self._panes = panes
        self._metrics = metrics
        self._keep = keep
        self._look_store = LookStore(model.store)
        self._folds: dict[ExperimentId, ExperimentFold] = {}
        self._published: dict[ExperimentId, Looks] = {}
        self._save_at_ms: dict[ExperimentId, int] = {}
        self._alias = b""
        self._broken: set[ExperimentId] = set()

    # -- following ---------------------------------------------------------------------------------------------------

    def look_up(self, position: int) -> None:
        """Asks Redis which experiments run; those that are new are read from their start to ``position``, the next.

        Raises:
            StreamtagError: Redis or Kafka does not answer; nothing has changed then, or not all that should.
        """
        heads = self._experiments.heads()
        if heads.alias == self._alias:
            return
        running = {experiment.id: experiment for experiment in self._experiments.running()}
        for wanted in self._folds.keys() - running.keys():
            del self._folds[wanted]
        for wanted, experiment in running.items():
            if wanted in self._folds:
                self._folds[wanted].know(experiment.phases)
            else:
                self._folds[wanted] = self._catch_up(experiment, position)
        self._alias = heads.alias

    def take(self, position: int, step: Step) -> None:
        """The next step of the log.

        Raises:
            StreamtagError: a phase is new, and Redis does not answer.
        """
        for fold in self._folds.values():
            self._take(fold, position, step)

    def doubt(self) -> None:
        """The next record of the log cannot be read."""
        for fold in self._folds.values():
            fold.doubt()

    def save(self, position: int, memory: Memory, now_ms: int) -> None:
        """Keeps what has come of experiments before ``position``, the next, for whoever goes on; now and then."""
        for wanted, fold in self._folds.items():
            if now_ms >= self._save_at_ms.setdefault(wanted, now_ms + _SAVE_MS) and not fold.verdict.state.final:
                saved = fold.save(position, memory)
                self._model.save_fold(wanted, saved)
                self._save_at_ms[wanted] = now_ms + max(_SAVE_MS, len(saved.evidence) // _SAVE_BYTES_PER_MS)

    def _catch_up(self, experiment: Experiment, end: int) -> ExperimentFold:
        low, _ = self._panes.bounds()
        fold, revisions, first = self._saved(experiment, low, end) or self._anew(experiment, low, end)
        for position, pane in self._panes.read(first, end):
            if isinstance(pane, UnreadablePaneError):
                if position >= fold.end:
                    fold.doubt()
            elif (step := revisions.apply(position, pane)) is not None:
                self._take(fold, position, step)
        return fold

    def _saved(self, experiment: Experiment, low: int, end: int) -> tuple[ExperimentFold, Revisions, int] | None:
        """From where the last one has saved it; None where that does not fit the log, which may be another one."""
        saved = self._model.saved_fold(experiment.id)
        if saved is None or not low <= saved.position <= end:
            return None
        try:
            fold = ExperimentFold.restore(experiment, saved)
        except ValueError as error:
            log.warning("experiment %d is counted from its start: %s", experiment.id.number, error)
            return None
        # Revisions from before the experiment hold none of its rows, so nobody needs to know them.
        first = saved.position if saved.memory.position is None else max(saved.memory.position, saved.start, low)
        return fold, Revisions(self._keep, saved.memory), first

    def _anew(self, experiment: Experiment, low: int, end: int) -> tuple[ExperimentFold, Revisions, int]:
        since_ms = round(experiment.document.at.timestamp() * 1000) - CLOCKS_MS
        first = self._panes.position_at(since_ms)
        start = min(end, max(low, first))
        expired = low > 0 and first <= low and not self._read_before(low, since_ms)
        return ExperimentFold(experiment, start, expired=expired), Revisions(self._keep), start

    def _read_before(self, position: int, since_ms: int) -> bool:
        """Whether all panes before a position were there by then: of a topic that was silent for long, none is left."""
        reached = self._model.reached()
        return reached is not None and reached.position >= position and reached.at_ms <= since_ms

    def _take(self, fold: ExperimentFold, position: int, step: Step) -> None:
        try:
            fold.take(position, step)
        except UnknownPhaseError:
            fold.know(self._experiments.find(fold.experiment.id.number).phases)
            fold.take_known(position, step)

    # -- what comes of it --------------------------------------------------------------------------------------------

    def folds(self) -> list[ExperimentFold]:
        """Of all experiments that run, as far as they are known."""
        return list(self._folds.values())

    def progress(self, until: datetime | None) -> Mapping[ExperimentId, Progress]:
        """For the rollout; ``until`` is the end of the newest pane, None while panes wait to be read."""
        found = {}
        for wanted, fold in self._folds.items():
            phase = len(fold.experiment.phases) - 1
            found[wanted] = Progress(fold.verdict, phase, fold.evidence.units_in(phase), until)
        return found

    def publish(self) -> None:
        """Writes what is known of the experiments that run, for people to look at.

        Raises:
            UnavailableError: Redis does not answer; the next call writes it.
        """
        looks = {wanted: fold.looks for wanted, fold in self._folds.items()}
        # Before the evidence: whoever has seen that finds the look that it is of.
        self._look_store.write({one: seen for one, seen in looks.items() if self._published.get(one) is not seen})
        self._published = looks
        self._model.write_evidence((wanted, fold.document()) for wanted, fold in self._folds.items())

    def conclude(self) -> list[Judged]:
        """Stores the verdicts that are reached, each computed again from the topic before.

        Raises:
            StreamtagError: Redis or Kafka does not answer; the next call does the same again.
        """
        done = []
        for wanted, fold in list(self._folds.items()):
            if wanted in self._broken or not (fold.verdict.state.final or fold.expired):
                continue
            document = self._proven(fold)
            if document is None:
                continue
            reason = "; ".join(document.reasons) or str(document.state)
            self._look_store.write({wanted: fold.looks})
            try:
                ended = self._changes.conclude(wanted.number, document, Who(AUTHOR, reason))
            except ConflictError as error:
                log.warning("verdict on experiment %d not stored: %s", wanted.number, error.message)
            else:
                self._metrics.add("streamtag.experiment.verdicts", state=str(document.state))
                log.info("experiment %d: %s: %s", wanted.number, document.state, reason)
                done.append(Judged(ended, document))
            self._model.drop_fold(wanted)
            del self._folds[wanted]
        return done

    def _proven(self, fold: ExperimentFold) -> VerdictDocument | None:
        """The verdict as the topic has it; None where that does not confirm what is in memory."""
        start = max(fold.start, min(self._panes.bounds()[0], fold.end))  # of what is still there
        expired = fold.expired or start > fold.start
        try:
            again = recompute(self._panes, fold.experiment, start, fold.end, keep=self._keep, expired=expired)
        except RefusedError as error:
            if self._panes.bounds()[0] <= start:
                self._distrust(fold, error.message)
            return None  # else panes have expired just now, and the next look begins behind them
        found = again.document()
        if expired:
            log.warning("first panes of experiment %d have expired; in memory it is %s", *_said(fold))
        elif found != fold.document():
            self._distrust(fold, f"computed again it is {msgspec.json.encode(found).decode()}")
            return None
        return found

    def _distrust(self, fold: ExperimentFold, why: str) -> None:
        self._broken.add(fold.experiment.id)
        self._model.drop_fold(fold.experiment.id)  # whoever is started next shall not believe it
        self._metrics.add("streamtag.experiment.unconfirmed")
        log.error(
            "the verdict on experiment %d is not confirmed by the panes and not stored: %s; %s", *_said(fold), why
        )


def _said(fold: ExperimentFold) -> tuple[int, str]:
    return fold.experiment.id.number, msgspec.json.encode(fold.document()).decode()
