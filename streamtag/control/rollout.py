"""Carrying out what the policies of experiments say: larger shares, taking candidates back, promotion.

Nothing is remembered that matters: every look starts from Redis, every flip is one compare-and-set with an audit entry,
and a look that comes again after a crash finds the same thing to do, or that it is done. So several may look at once.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from streamtag.control.approval import Ungoverned
from streamtag.control.candidate_figures import CandidateFigures
from streamtag.control.changes import ReleaseChanges
from streamtag.control.experiment_documents import ExperimentId
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.fleet import read_fleet, stale_after
from streamtag.control.metrics import MetricSink
from streamtag.control.proposal import Who
from streamtag.control.release_documents import ReleaseId
from streamtag.control.store import ControlStore
from streamtag.domain.rollout import Action, Situation, next_action
from streamtag.domain.verdict import State, Verdict
from streamtag.errors import ConflictError, StreamtagError, UnavailableError
from streamtag.settings import Settings

__all__ = ["AUTHOR", "Done", "Progress", "Rollout"]

log = logging.getLogger(__name__)

AUTHOR = "streamtag (rollout)"
# Of the experiments that ended before these, a person has long decided.
_REMEMBERED = 100
_OPEN = (State.PASS, State.INCONCLUSIVE)  # verdicts from which something may follow


@dataclass(frozen=True)
class Progress:
    """How far the evidence of a running experiment has come.

    Attributes:
        verdict: of the last look.
        phase: index of the phase that was the present one.
        units: counted in it, see `streamtag.domain.evidence.Evidence.units_in`.
        until: end of the newest pane in it, by the clock of the events; None: not known, or panes wait to be read.
    """

    verdict: Verdict
    phase: int
    units: int
    until: datetime | None


@dataclass(frozen=True)
class Done:
    """What was done about an experiment, or that it is a person's turn."""

    experiment: ExperimentId
    action: Action


class Rollout:
    """The rollouts of one namespace.

    Args:
        log: the experiments.
        settings: ``tagger.group`` and ``redis`` count.
        metrics: counts what is done.
        now: the clock that dates documents.
    """

    def __init__(
        self,
        log: ExperimentLog,
        settings: Settings,
        metrics: MetricSink,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._store: ControlStore = log.store
        self._group = settings.tagger.group
        self._metrics = metrics
        # Whoever approved the experiment has approved what its policy does; a freeze holds it up all the same.
        permit = Ungoverned(exempt="the policy of the experiment")
        self._experiments = ExperimentChanges(log, permit=permit, now=now)
        self._releases = ReleaseChanges(log.store, max_step=settings.thresholds.max_step, permit=permit, now=now)
        self._figures = CandidateFigures(stale_after(settings.redis.heartbeat_s))
        self._decided: tuple[bytes, ReleaseId | None, Sequence[Experiment]] | None = None
        # What stays as it is once this process has done or said it: asking again each second would help nobody.
        self._settled: set[tuple[ExperimentId, str]] = set()

    def step(self, progress: Mapping[ExperimentId, Progress]) -> list[Done]:
        """Looks at every experiment once, and does what its policy says.

        Args:
            progress: of the experiments that run, as far as it is known.

        Raises:
            UnavailableError: Redis does not answer in time. The next look does what this one could not.
        """
        heads = self._log.heads()
        champion = self._store.champion()
        latest = self._log.change(heads.latest)
        running = self._log.running_of(latest.document.running if latest else ())
        if any(experiment.document.rollout.limits.any for experiment in running):
            self._figures.observe(read_fleet(self._store, self._group))
        done = []
        for experiment in (*running, *self._waiting(heads.alias, champion)):
            action = next_action(experiment.document.rollout, self._situation(experiment, running, champion, progress))
            if action.kind != "wait" and self._do(experiment, action):
                done.append(Done(experiment.id, action))
        return done

    def _waiting(self, alias: bytes, champion: ReleaseId | None) -> Sequence[Experiment]:
        """Experiments that ended with a verdict something may follow from, the oldest first."""
        if self._decided is None or self._decided[:2] != (alias, champion):
            found = [
                experiment
                for experiment in islice(self._log.experiments(), _REMEMBERED)
                if _decides(experiment, champion)
                and experiment.verdict is not None
                and experiment.verdict.state in _OPEN
            ]
            self._decided = (alias, champion, sorted(found, key=lambda experiment: experiment.id.number))
        return self._decided[2]

    def _situation(
        self,
        experiment: Experiment,
        running: Sequence[Experiment],
        champion: ReleaseId | None,
        progress: Mapping[ExperimentId, Progress],
    ) -> Situation:
        ended, known = experiment.ended, progress.get(experiment.id)
        verdict = known.verdict if known else None
        reached = experiment.verdict or verdict
        return Situation(
            state=reached.state if reached else State.COLLECTING,
            ended=ended.action if ended is not None and ended.ends else None,  # type: ignore[arg-type]  # one of three
            control_decides=_decides(experiment, champion),
            shares=[phase.share for phase in experiment.phases],
            # Units of a phase that has just ended, perhaps by another's hand, are none of the next.
            units=known.units if known and known.phase == len(experiment.phases) - 1 else 0,
            phase_s=(known.until - experiment.phases[-1].began_at).total_seconds() if known and known.until else None,
            worse=verdict.worse if verdict else (),
            figures=self._figures.of(str(experiment.id)),
            beside=[other.id.number for other in running if other.id != experiment.id and _decides(other, champion)],
        )

    def _do(self, experiment: Experiment, action: Action) -> bool:
        """Whether anything was done, or said for the first time."""
        if (experiment.id, action.kind) in self._settled:
            return False
        number = experiment.id.number
        try:
            done = self._carry_out(experiment, action)
        except ConflictError as error:
            log.info("rollout of experiment %d: %s", number, error.message)
            return False
        except UnavailableError:
            raise
        except StreamtagError as error:
            self._metrics.add("streamtag.rollout.errors")
            if (experiment.id, error.message) not in self._settled:
                log.error("rollout of experiment %d: cannot %s: %s", number, action.kind, error.message)
            self._settled.add((experiment.id, error.message))
            return False
        if action.kind in ("ask", "promote"):
            self._settled.add((experiment.id, action.kind))
        if done:
            self._metrics.add("streamtag.rollout.actions", action=action.kind)
            level = logging.INFO if action.kind in ("ramp", "promote") else logging.WARNING
            log.log(level, "rollout of experiment %d: %s: %s", number, action.kind, action.reason)
        return done

    def _carry_out(self, experiment: Experiment, action: Action) -> bool:
        """False where there was nothing to change."""
        number, who = experiment.id.number, Who(AUTHOR, action.reason)
        if action.kind == "ramp" and action.share is not None:
            self._experiments.set_share(number, action.share, who, expected=experiment.phases)
        elif action.kind == "return":
            self._experiments.stop(number, who, action="return")
        elif action.kind == "promote":
            return self._releases.promote_candidate(experiment, who).committed
        return True


def _decides(experiment: Experiment, champion: ReleaseId | None) -> bool:
    control = experiment.document.control
    return champion == ReleaseId(control.number, control.sha256)
