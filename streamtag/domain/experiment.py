"""What an experiment asks: which labels may change by how much, and when it gives up."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["shadow", "split"]
Direction = Literal["increase", "decrease", "either"]


@dataclass(frozen=True)
class Tolerance:
    """How far a label's alert rate may move and still count as equal.

    Attributes:
        kind: ``relative`` to the control's rate (0.25: from 0.8 to 1.25 times), or ``absolute`` (0.005: half a
            percentage point; shadow only, where both rates are of the same units).
        size: above 0; below 1.
    """

    kind: Literal["relative", "absolute"] = "relative"
    size: float = 0.2

    @property
    def upper(self) -> float:
        """Largest harmless ratio, or difference."""
        return 1 + self.size if self.kind == "relative" else self.size

    @property
    def lower(self) -> float:
        """Smallest harmless ratio, or difference: as far away as the largest, on the scale that counts."""
        return 1 / (1 + self.size) if self.kind == "relative" else -self.size


@dataclass(frozen=True)
class LabelPolicy:
    """What is asked of one label.

    Attributes:
        tolerance: of its alert rate.
        direction: a change which way is worse.
        weight: its share of the error that all labels have together, relative to the others.
        critical: worse here fails the experiment whatever ``on_worse`` says.
        muted: counted and shown, never part of the verdict.
    """

    tolerance: Tolerance = Tolerance()
    direction: Direction = "either"
    weight: float = 1.0
    critical: bool = False
    muted: bool = False


@dataclass(frozen=True)
class ExperimentPlan:
    """All that a verdict depends on besides counts. Fixed when the experiment starts.

    Attributes:
        mode: ``shadow`` (both arms score the same units) or ``split`` (each unit has one arm).
        labels: policy of every label that both arms score.
        alpha: chance that any label of a harmless candidate is ever called worse; likewise of a wrong PASS.
        alpha_assignment: chance that a sound assignment is ever called broken (split).
        max_conflicts: share of units that may turn up in both arms of one phase before the experiment is invalid.
        max_units, max_hours: horizon; from the first look that reaches either one the experiment is inconclusive.
        on_worse: what a label that is not critical does to the verdict when it is worse.
    """

    mode: Mode
    labels: Mapping[str, LabelPolicy] = field(default_factory=dict)
    alpha: float = 0.05
    alpha_assignment: float = 0.001
    max_conflicts: float = 0.001
    max_units: int = 10_000_000
    max_hours: float = 24.0 * 14
    on_worse: Literal["fail", "warn"] = "fail"

    def judged(self) -> dict[str, LabelPolicy]:
        """Labels that are not muted."""
        return {name: policy for name, policy in self.labels.items() if not policy.muted}

    def alphas(self) -> dict[str, float]:
        """Part of ``alpha`` that each judged label has: weighted Bonferroni."""
        judged = self.judged()
        total = sum(policy.weight for policy in judged.values())
        return {name: self.alpha * policy.weight / total for name, policy in judged.items()}


def problems(plan: ExperimentPlan, base_rates: Mapping[str, float] | None = None) -> list[str]:
    """Everything that keeps a plan from giving verdicts that mean something; empty when it is sound.

    Args:
        plan: to be started.
        base_rates: the champion's alert rate of each label, as far as it is known.
    """
    found = [] if plan.judged() else ["labels: every label is muted; nothing could be judged"]
    for name, value in (("alpha", plan.alpha), ("alpha_assignment", plan.alpha_assignment)):
        if not 0 < value < 0.5:
            found.append(f"{name}: {value} is outside 0 … 0.5")
    if not 0 <= plan.max_conflicts < 1:
        found.append(f"max_conflicts: {plan.max_conflicts} is outside 0 … 1")
    for name, limit in (("max_units", plan.max_units), ("max_hours", plan.max_hours)):
        if not (limit > 0 and math.isfinite(limit)):
            found.append(f"{name}: must be above 0")
    for label, policy in plan.labels.items():
        found += [f"labels.{label}.{problem}" for problem in _label_problems(plan.mode, policy)]
        rate = (base_rates or {}).get(label)
        absolute = policy.tolerance.kind == "absolute"
        if absolute and not policy.muted and rate is not None and policy.tolerance.size >= rate:
            found.append(
                f"labels.{label}.tolerance: {policy.tolerance.size:g} is not below the label's rate of {rate:.3g}; "
                "a candidate that never tags would pass. Use a relative one"
            )
    return found


def _label_problems(mode: Mode, policy: LabelPolicy) -> Iterable[str]:
    size = policy.tolerance.size
    if not 0 < size < 1:
        yield f"tolerance: {size:g} is outside 0 … 1"
    if mode == "split" and policy.tolerance.kind == "absolute":
        yield "tolerance: a split compares ratios; use a relative one"
    if not (policy.weight > 0 and math.isfinite(policy.weight)):
        yield f"weight: {policy.weight:g} is not above 0; mute the label instead"
