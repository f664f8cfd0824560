"""From integer counts to a verdict on an experiment. A pure function, so that anybody can check it later.

Counts are cumulative, per phase. They are looked at in a fixed order (the ends of panes), and the largest evidence
ever seen of "worse" stays (`Peaks`): a verdict does not depend on who looked when. PASS is a claim of its own, that
every judged label moved by less than its tolerance; silence is never one.

Errors: a label within its tolerance *at every moment* makes FAIL with at most its part of alpha, whatever the others
do. A label beyond its tolerance at every moment is called equal with at most alpha, and PASS needs every label to be
called equal, so it needs no correction (intersection-union). A label that is worse only for a while has neither
promise; evidence of a change that comes late must first make up for what spoke against it before.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

import numpy as np

from streamtag.domain import evalues
from streamtag.domain.evalues import PairedCounts, SplitCounts
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy

ASSIGNMENT_PRIOR = 100.0
"""Of the sample-ratio test: finds small imbalances in many units; part of the definition of a verdict."""
_LOG_2 = math.log(2)
_DOUBLINGS = 20  # of what has been seen, before a forecast gives up
_FEW_CONFLICTS = 10  # may happen whatever their share

_Test = Callable[[float], float]


class State(StrEnum):
    """Of an experiment. All but the first are final."""

    COLLECTING = "COLLECTING"
    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"

    @property
    def final(self) -> bool:
        """Whether the experiment is over: the first final state is its verdict, and nothing is looked at again."""
        return self is not State.COLLECTING


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
    """Largest evidence ever seen of "worse" per label, and of a broken assignment, as natural logarithms."""

    worse: Mapping[str, float] = field(default_factory=dict)
    assignment: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """The state of an experiment after a look, with its reasons.

    Attributes:
        state: see `State`.
        reasons: one line each, for people.
        peaks: what the next look starts from.
        worse: labels whose evidence of "worse" has reached its bound.
        equal: labels shown to be equal within their tolerance.
        open: judged labels of which neither is known.
        listed: labels called worse with a false discovery rate of alpha (e-BH), for the report only.
        evidence: of each judged label at this look.
    """

    state: State
    reasons: tuple[str, ...]
    peaks: Peaks
    worse: tuple[str, ...]
    equal: tuple[str, ...]
    open: tuple[str, ...]
    listed: tuple[str, ...]
    evidence: Mapping[str, LabelEvidence] = field(default_factory=dict)


def decide(
    plan: ExperimentPlan, phases: Sequence[PhaseCounts], before: Peaks, *, hours: float, conflicts: int = 0
) -> Verdict:
    """One look: the verdict at this moment.

    Args:
        plan: what is asked.
        phases: cumulative counts.
        before: peaks of the look before this one.
        hours: since the experiment started, by pane time.
        conflicts: units that were seen in both arms of one phase (split).
    """
    evidence = {label: label_evidence(plan, label, phases) for label in plan.judged()}
    now = {label: worse_evidence(plan.labels[label], found) for label, found in evidence.items()}
    peaks = Peaks(
        {label: max(before.worse.get(label, 0.0), found) for label, found in now.items()},
        max(before.assignment, assignment_evidence(plan, phases)),
    )
    parts = plan.alphas()
    worse = tuple(label for label, peak in peaks.worse.items() if peak >= _bound(parts[label]))
    equal = tuple(label for label, found in evidence.items() if found.equal >= _bound(plan.alpha))
    undecided = tuple(label for label in evidence if label not in worse and label not in equal)
    listed = evalues.e_bh([math.exp(min(700.0, found)) for found in now.values()], plan.alpha)

    state, reasons = State.COLLECTING, _worse_reasons(worse, "worse by more than its tolerance (a warning only)")
    n = units(plan, phases)
    if peaks.assignment >= _bound(plan.alpha_assignment):
        state = State.INVALID
        reasons = ("units do not fall into the arms as assigned: events are lost, doubled or misrouted",)
    elif conflicts > max(_FEW_CONFLICTS, plan.max_conflicts * n):
        state, reasons = State.INVALID, (f"{conflicts:,} of {n:,} units were given to both arms",)
    elif failing := [label for label in worse if plan.labels[label].critical or plan.on_worse == "fail"]:
        state, reasons = State.FAIL, _worse_reasons(failing, "worse by more than its tolerance")
    elif evidence and len(equal) == len(evidence) and not worse:
        state, reasons = State.PASS, ("every judged label moved by less than its tolerance",)
    elif n >= plan.max_units or hours >= plan.max_hours:
        state = State.INCONCLUSIVE
        ended = "no unit was counted" if n == 0 else f"ended after {n:,} units and {hours:.1f} hours"
        reasons = (*reasons, ended, *(_missing(plan, label, phases) for label in undecided if n))
    called = tuple(list(evidence)[i] for i in listed)
    return Verdict(state, reasons, peaks, worse, equal, undecided, called, evidence)


def _worse_reasons(labels: Sequence[str], what: str) -> tuple[str, ...]:
    return tuple(f"{label}: {what}" for label in labels)


def _missing(plan: ExperimentPlan, label: str, phases: Sequence[PhaseCounts]) -> str:
    needed = units_needed(plan, label, phases)
    if needed is None:
        return f"{label}: not shown to be equal, nor would it be if all went on like this"
    return f"{label}: not shown to be equal; about {needed:,} more units would do if all went on like this"


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
    """Evidence of a change for the worse; where both ways are worse, half of the stake is bet on each."""
    if policy.direction == "increase":
        return found.higher
    return found.lower if policy.direction == "decrease" else float(np.logaddexp(found.higher, found.lower)) - _LOG_2


def assignment_evidence(plan: ExperimentPlan, phases: Sequence[PhaseCounts]) -> float:
    """Evidence that units do not fall into the arms as assigned; each phase goes on where the one before ended."""
    if plan.mode == "shadow":
        return 0.0
    return sum(
        evalues.log_e_shares(
            (phase.control_units, phase.candidate_units), (1 - phase.share, phase.share), ASSIGNMENT_PRIOR
        )
        for phase in phases
    )


def units(plan: ExperimentPlan, phases: Sequence[PhaseCounts]) -> int:
    """Units counted; one that both arms scored is one."""
    return sum(phase.candidate_units + (phase.control_units if plan.mode == "split" else 0) for phase in phases)


def units_needed(plan: ExperimentPlan, label: str, phases: Sequence[PhaseCounts]) -> int | None:
    """Units still needed until the label is shown to be equal, should all phases go on as they were; None: never.

    A rough figure while there are few: what moved by chance is taken for a change that stays.
    """
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
