"""The demo's experiments: started as `streamtag experiment start` does, followed until they have a verdict."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.proposal import Who
from streamtag.control.verdict_documents import VerdictDocument
from streamtag.devstack.demo.challengers import Challenger
from streamtag.domain import verdict as judging
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.thresholds import ThresholdSet
from streamtag.domain.verdict import State
from streamtag.errors import ConflictError
from streamtag.stats.read_model import ReadModel

__all__ = ["LabelTrial", "TrialState", "Trials", "label_trials"]


@dataclass(frozen=True)
class LabelTrial:
    """One judged label of an experiment.

    Attributes:
        label: id.
        control_rate, candidate_rate: share of units tagged; None without units.
        ratio: candidate over control surely lies within (a confidence sequence).
        allowed: what the tolerance allows of that ratio.
        so: what is shown.
        units_needed: until it is shown to be equal; None: never, or it need not be.
    """

    label: str
    control_rate: float | None
    candidate_rate: float | None
    ratio: tuple[float, float]
    allowed: tuple[float, float]
    so: str
    units_needed: int | None


@dataclass(frozen=True)
class TrialState:
    """One experiment, as far as it is known.

    Attributes:
        number: of the experiment.
        challenger: what it compares with the champion.
        state: a verdict, ``COLLECTING``, or ``stopped`` where somebody has ended it before.
        reasons: one line each, of the verdict, or of whoever stopped it.
        units: events that both arms have scored and that are counted.
        after_s: from its start to the end of the newest pane that counts.
        labels: those that are judged.
    """

    number: int
    challenger: Challenger
    state: str = State.COLLECTING.value
    reasons: tuple[str, ...] = ()
    units: int = 0
    after_s: float = 0.0
    labels: tuple[LabelTrial, ...] = ()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state != State.COLLECTING


class Trials:
    """The experiments that the demo has started. Every method raises `UnavailableError` when Redis does not answer.

    Args:
        log: where experiments are kept.
        model: where `streamtag stats` keeps what it knows so far.
    """

    def __init__(self, log: ExperimentLog, model: ReadModel) -> None:
        self._log = log
        self._model = model
        self._changes = ExperimentChanges(log)
        self._alias = b""
        self._states: dict[int, TrialState] = {}
        self._experiments: dict[int, Experiment] = {}
        self._seen: dict[int, VerdictDocument] = {}

    def start(self, challengers: Sequence[Challenger], author: str) -> None:
        """Compares each with the champion from now on, in shadow, on every event."""
        for challenger in challengers:
            judged = {label: LabelPolicy() for label in challenger.judged}
            request = Request(ExperimentPlan("shadow", judged), share=1.0, others=LabelPolicy(muted=True))
            candidate = NewCandidate(thresholds=ThresholdSet(challenger.cutoffs))
            experiment = self._changes.start(request, candidate, Who(author, challenger.what))
            number = experiment.id.number
            self._experiments[number] = experiment
            self._states[number] = TrialState(number, challenger)

    @property
    def states(self) -> tuple[TrialState, ...]:
        """As of the last `look`, in the order they were started."""
        return tuple(self._states.values())

    @property
    def awaited(self) -> bool:
        """Whether a verdict is to come: they run, or have not been started yet."""
        return not self._states or bool(self.running)

    @property
    def running(self) -> tuple[int, ...]:
        """Numbers of those that had not ended by then."""
        return tuple(state.number for state in self.states if not state.over)

    def look(self) -> None:
        """Asks what has come of them."""
        alias = self._log.heads().alias
        if alias != self._alias:
            for number in self.running:
                self._experiments[number] = self._log.find(number)
            self._alias = alias
        for number in self.running:
            self._states[number] = self._looked(self._states[number], self._experiments[number])

    def stop(self, author: str, reason: str) -> None:
        """Ends those that run. One that just ends by itself stays so; where another change was first, ask again."""
        for number in self.running:
            with contextlib.suppress(ConflictError):
                self._changes.stop(number, Who(author, reason))
        self.look()

    def _looked(self, before: TrialState, experiment: Experiment) -> TrialState:
        ended = experiment.ended
        stored = self._log.verdict(experiment)
        found = self._model.evidence(experiment.id) if stored is None else stored.document
        if found is not None and found != self._seen.get(before.number):
            self._seen[before.number] = found
            before = _judged(before, experiment, found, final=stored is not None)
        if ended is not None and stored is None:
            return replace(before, state="stopped", reasons=(ended.reason,))
        return before


def _judged(before: TrialState, experiment: Experiment, found: VerdictDocument, *, final: bool) -> TrialState:
    plan = experiment.document.plan
    return replace(
        before,
        # what is not stored is no verdict yet
        state=found.state.value if final else State.COLLECTING.value,
        reasons=found.reasons if final else (),
        units=found.units,
        after_s=found.hours * 3_600,
        labels=label_trials(plan, found),
    )


def label_trials(plan: ExperimentPlan, found: VerdictDocument) -> tuple[LabelTrial, ...]:
    """What is known of each judged label, in the order of the plan."""
    peaks, parts = found.peaks.to_peaks(), plan.alphas()
    return tuple(_label_trial(plan, label, found, peaks.worse, parts) for label in plan.judged())


def _label_trial(
    plan: ExperimentPlan, label: str, found: VerdictDocument, worse: Mapping[str, float], parts: Mapping[str, float]
) -> LabelTrial:
    control_rate, candidate_rate = judging.rates(plan, label, found.phases) or (None, None)
    tolerance = plan.labels[label].tolerance
    so = "open"
    if worse.get(label, 0.0) >= math.log(1 / parts[label]):
        so = "worse"
    elif judging.label_evidence(plan, label, found.phases).equal >= math.log(1 / plan.alpha):
        so = "equal"
    return LabelTrial(
        label,
        control_rate,
        candidate_rate,
        judging.interval(plan, label, found.phases) if found.units else (0.0, math.inf),
        (tolerance.lower, tolerance.upper),
        so,
        judging.units_needed(plan, label, found.phases) if so == "open" else None,
    )
