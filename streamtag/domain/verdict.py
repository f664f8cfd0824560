"""From integer counts to a verdict on an experiment. A pure function, so that anybody can check it later.

Counts are cumulative, per phase. They are looked at in a fixed order (the ends of panes), and the largest evidence
ever seen of "worse" stays (`Peaks`): a verdict does not depend on who looked when. PASS is a claim of its own, that
every judged label moved by less than its tolerance; silence is never one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from streamtag.domain import evalues
from streamtag.domain.evalues import PairedCounts, SplitCounts
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy

_ASSIGNMENT_PRIOR = 100.0  # finds small imbalances in many units
_DOUBLINGS = 20  # of what has been seen, before a forecast gives up

_Test = Callable[[float], float]


class State(StrEnum):
    """Of an experiment. All but the first are final."""

    COLLECTING = "COLLECTING"
    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"


@dataclass(frozen=True)
class PhaseCounts:
    """Of one phase, a stretch in which the share of the candidate did not change.

    Attributes:
        share: of units given to the candidate (split), or scored by both (shadow).
        control_units, candidate_units: counted once each. In shadow mode both are the units scored by both arms.
        labels: split: ``(control alerts, candidate alerts)``; shadow: ``(candidate only, control only, both)``.
    """

    share: float
    control_units: int
    candidate_units: int
    labels: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class LabelEvidence:
    """What is known of one label. Evidence is kept as natural logarithms.

    Attributes:
        higher, lower: against "not more" and "not less than the tolerance allows", now.
        equal: against "more, or less, than the tolerance allows": the smaller of the two, now.
    """

    higher: float
    lower: float
    equal: float


@dataclass(frozen=True)
class Peaks:
    """Largest evidence ever seen of "worse" per label, and of a broken assignment. Fold `seen` over the looks."""

    worse: Mapping[str, float] = field(default_factory=dict)
    assignment: float = 0.0

    def seen(self, plan: ExperimentPlan, phases: Sequence[PhaseCounts]) -> "Peaks":
        """After one more look at the cumulative counts."""
        judged = plan.judged()
        worse = {
            label: max(self.worse.get(label, 0.0), worse_evidence(policy, label_evidence(plan, label, phases)))
            for label, policy in judged.items()
        }
        return Peaks(worse, max(self.assignment, assignment_evidence(plan, phases)))


@dataclass(frozen=True)
class Verdict:
    """The state of an experiment with its reasons.

    Attributes:
        state: see `State`.
        reasons: one line each, for people.
        worse: labels whose evidence of "worse" has reached its bound.
        equal: labels shown to be equal within their tolerance.
        open: judged labels of which neither is known.
        listed: labels called worse with a false discovery rate of alpha (e-BH), for the report only.
    """

    state: State
    reasons: tuple[str, ...]
    worse: tuple[str, ...] = ()
    equal: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()


def decide(plan: ExperimentPlan, phases: Sequence[PhaseCounts], peaks: Peaks, *, hours: float) -> Verdict:
    """The verdict at one moment.

    Args:
        plan: what is asked.
        phases: cumulative counts.
        peaks: of all looks up to and including this one.
        hours: since the experiment started, by pane time.
    """
    evidence = {label: label_evidence(plan, label, phases) for label in plan.judged()}
    worse = tuple(label for label in evidence if peaks.worse.get(label, 0.0) >= _bound(plan.alpha_of(label)))
    equal = tuple(label for label, found in evidence.items() if found.equal >= _bound(plan.alpha))
    undecided = tuple(label for label in evidence if label not in worse and label not in equal)
    state, reasons = _state(plan, peaks, worse, equal, undecided, units(plan, phases), hours)
    current = [math.exp(min(700.0, worse_evidence(plan.labels[label], found))) for label, found in evidence.items()]
    names = list(evidence)
    listed = tuple(names[i] for i in evalues.e_bh(current, plan.alpha))
    return Verdict(state, reasons, worse, equal, undecided, listed)


def _state(
    plan: ExperimentPlan,
    peaks: Peaks,
    worse: Sequence[str],
    equal: Sequence[str],
    undecided: Sequence[str],
    n: int,
    hours: float,
) -> tuple[State, tuple[str, ...]]:
    if peaks.assignment >= _bound(plan.alpha_assignment):
        return State.INVALID, ("units do not fall into the arms as assigned: events are lost, doubled or misrouted",)
    failing = [label for label in worse if plan.labels[label].critical or plan.on_worse == "fail"]
    if failing:
        return State.FAIL, tuple(f"{label}: worse by more than its tolerance" for label in failing)
    warned = tuple(f"{label}: worse by more than its tolerance (a warning only)" for label in worse)
    if not undecided and equal and not worse:
        return State.PASS, ("every judged label moved by less than its tolerance",)
    if n >= plan.max_units or hours >= plan.max_hours:
        what = f"{n:,} units" if n >= plan.max_units else f"{hours:.1f} hours"
        reason = "no unit was counted" if n == 0 else f"not enough evidence after {what} for {', '.join(undecided)}"
        return State.INCONCLUSIVE, (*warned, reason)
    return State.COLLECTING, warned


def label_evidence(plan: ExperimentPlan, label: str, phases: Sequence[PhaseCounts]) -> LabelEvidence:
    """Evidence on one label now. Tolerances are part of it: "worse" means worse by more than that."""
    tolerance = plan.labels[label].tolerance
    above, below = _tests(plan, label, phases)
    return LabelEvidence(
        higher=above(tolerance.upper),
        lower=below(tolerance.lower),
        equal=min(above(tolerance.lower), below(tolerance.upper)),
    )


def _tests(plan: ExperimentPlan, label: str, phases: Sequence[PhaseCounts]) -> tuple[_Test, _Test]:
    """Evidence against "at most" and against "at least" a bound: a ratio, or an absolute difference."""
    if plan.mode == "split":
        counts = _split(phases, label)
        return partial(evalues.log_e_ratio_above, counts), partial(evalues.log_e_ratio_below, counts)
    pair = _paired(phases, label)
    if plan.labels[label].tolerance.kind == "relative":
        return partial(evalues.log_e_paired_ratio_above, pair), partial(evalues.log_e_paired_ratio_below, pair)
    return partial(evalues.log_e_difference_above, pair), partial(evalues.log_e_difference_below, pair)


def interval(plan: ExperimentPlan, label: str, phases: Sequence[PhaseCounts]) -> tuple[float, float]:
    """Confidence sequence of candidate over control, or of candidate minus control where the tolerance is absolute."""
    if plan.mode == "split":
        return evalues.ratio_interval(_split(phases, label), alpha=plan.alpha)
    pair = _paired(phases, label)
    if plan.labels[label].tolerance.kind == "relative":
        return evalues.paired_ratio_interval(pair, alpha=plan.alpha)
    return evalues.difference_interval(pair, alpha=plan.alpha)


def worse_evidence(policy: LabelPolicy, found: LabelEvidence) -> float:
    """Evidence of a change for the worse; where both ways are worse, each has half of the label's error."""
    if policy.direction == "increase":
        return found.higher
    return found.lower if policy.direction == "decrease" else max(found.higher, found.lower) - math.log(2)


def assignment_evidence(plan: ExperimentPlan, phases: Sequence[PhaseCounts]) -> float:
    """Evidence that units do not fall into the arms as assigned; phases are independent, so theirs adds up."""
    if plan.mode == "shadow":
        return 0.0
    return sum(
        evalues.log_e_shares(
            (phase.control_units, phase.candidate_units), (1 - phase.share, phase.share), _ASSIGNMENT_PRIOR
        )
        for phase in phases
    )


def units(plan: ExperimentPlan, phases: Sequence[PhaseCounts]) -> int:
    """Units counted; one that both arms scored is one."""
    return sum(phase.candidate_units + (phase.control_units if plan.mode == "split" else 0) for phase in phases)


def units_needed(plan: ExperimentPlan, label: str, phases: Sequence[PhaseCounts]) -> int | None:
    """Units still needed until the label is shown to be equal, should everything go on as it was; None: never."""
    bound, seen = _bound(plan.alpha), units(plan, phases)

    def enough(times: float) -> bool:
        return label_evidence(plan, label, [_scaled(phase, times) for phase in phases]).equal >= bound

    most = next((2.0**n for n in range(_DOUBLINGS) if enough(2.0**n)), None)
    if most is None or not seen:
        return None
    least = most / 2
    while most - least > 0.01 * most:
        middle = (least + most) / 2
        least, most = (least, middle) if enough(middle) else (middle, most)
    return max(0, math.ceil(seen * (most - 1)))


def _split(phases: Sequence[PhaseCounts], label: str) -> list[SplitCounts]:
    rows = [(phase.labels.get(label, (0, 0)), phase.share) for phase in phases]
    return [SplitCounts(row[0], row[1], share) for row, share in rows]


def _paired(phases: Sequence[PhaseCounts], label: str) -> PairedCounts:
    """Over all phases: both arms score every unit, so shares do not matter and counts may be added."""
    rows = [phase.labels.get(label, (0, 0, 0)) for phase in phases]
    only, missed, both = (sum(row[i] for row in rows) for i in range(3))
    return PairedCounts(only, missed, both, sum(phase.candidate_units for phase in phases))


def rates(plan: ExperimentPlan, label: str, phases: Sequence[PhaseCounts]) -> tuple[float, float] | None:
    """Alert rates of control and candidate, for people: over a ramp they cannot be compared. None without units."""
    if plan.mode == "shadow":
        only, missed, both, n = _paired(phases, label)
        return ((missed + both) / n, (only + both) / n) if n else None
    control, candidate = sum(p.control_units for p in phases), sum(p.candidate_units for p in phases)
    if not control or not candidate:
        return None
    alerts = _split(phases, label)
    return sum(a.control for a in alerts) / control, sum(a.candidate for a in alerts) / candidate


def _scaled(phase: PhaseCounts, times: float) -> PhaseCounts:
    return PhaseCounts(
        phase.share,
        round(phase.control_units * times),
        round(phase.candidate_units * times),
        {label: tuple(round(count * times) for count in row) for label, row in phase.labels.items()},
    )


def _bound(alpha: float) -> float:
    return math.log(1 / alpha)
