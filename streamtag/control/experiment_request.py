"""What an operator asks an experiment for, and everything that speaks against it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

from streamtag.control.experiment_documents import Unit
from streamtag.control.experiment_log import Experiment
from streamtag.control.release_documents import ReleaseId
from streamtag.domain import experiment as domain
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy, Mode
from streamtag.domain.release import BundleRef
from streamtag.domain.rollout import RolloutPolicy, policy_problems
from streamtag.domain.thresholds import ThresholdSet

__all__ = ["NewCandidate", "Request", "request_problems", "share_problems"]


@dataclass(frozen=True)
class NewCandidate:
    """A release to be made for the experiment.

    Attributes:
        bundle: with its ``labels``; None = the champion's.
        labels: that the bundle scores.
        thresholds: None = the champion's.
        critical: those of its labels that the bundle calls critical.
        base: the champion whose cut-offs ``thresholds`` rest on: with another one they would undo what somebody has
            changed meanwhile. None: they rest on nobody's.
    """

    bundle: BundleRef | None = None
    labels: Sequence[str] = ()
    thresholds: ThresholdSet | None = None
    critical: Sequence[str] = ()
    base: ReleaseId | None = None


@dataclass(frozen=True)
class Request:
    """How two releases shall be compared.

    Attributes:
        plan: with the policies of the labels that were named.
        share: of units given to the candidate (split), or scored by both (shadow).
        unit: of correlation, see `streamtag.control.experiment_documents.ExperimentDocument`.
        others: policy of every label that was not named.
        base_rates: alert rates of the champion, as far as they are known.
        rollout: what becomes of the candidate by itself.
        critical: labels that are critical by the taxonomy, unless they are muted.
    """

    plan: ExperimentPlan
    share: float
    unit: str = "event"
    others: LabelPolicy = field(default_factory=LabelPolicy)
    base_rates: Mapping[str, float] = field(default_factory=dict)
    rollout: RolloutPolicy = field(default_factory=RolloutPolicy)
    critical: frozenset[str] = frozenset()

    @property
    def decides(self) -> bool:
        """Whether its candidate may decide anything without another word of a person."""
        return self.plan.mode == "split" or self.rollout.promote

    def over(self, labels: Iterable[str]) -> ExperimentPlan:
        """The plan with a policy for each of ``labels``, and for no other."""
        policies = {name: self.plan.labels.get(name, self.others) for name in labels}
        critical = {
            name: replace(policies[name], critical=True)
            for name in self.critical & policies.keys()
            if not policies[name].muted
        }
        return replace(self.plan, labels={**policies, **critical})


def request_problems(
    request: Request, champion: Sequence[str], candidate: Sequence[str], running: Sequence[Experiment]
) -> list[str]:
    """Everything that keeps ``request`` from being started; empty when nothing does.

    Args:
        request: what was asked.
        champion: labels that the champion scores.
        candidate: labels that the candidate scores.
        running: experiments that it would run beside.
    """
    plan, known = request.over(champion), set(champion) | set(candidate)
    found = [
        f"labels.{name}: the champion scores it, the candidate does not" for name in champion if name not in candidate
    ]
    found += [
        f"labels.{name}: the candidate scores it, the champion does not" for name in candidate if name not in champion
    ]
    found += [f"labels.{name}: neither release scores this label" for name in request.plan.labels if name not in known]
    found += [
        f"base_rates.{name}: neither release scores this label" for name in request.base_rates if name not in known
    ]
    found += [f"base_rates.{n}: {rate} is outside 0 … 1" for n, rate in request.base_rates.items() if not 0 < rate < 1]
    if plan.mode not in get_args(Mode):
        found.append(f"mode: {plan.mode!r} is unknown; known are {', '.join(get_args(Mode))}")
    if request.unit not in get_args(Unit):
        found.append(f"unit: {request.unit!r} is unknown; known are {', '.join(get_args(Unit))}")
    found += share_problems(plan.mode, request.share)
    found += domain.problems(plan, request.base_rates)
    found += policy_problems(request.rollout, plan, request.share)
    found += _unknown_rates(plan, request.base_rates)
    for other in running:
        found += _overlap(plan, other)
    return found


def share_problems(mode: Mode, share: float) -> list[str]:
    """A split needs units of both arms; a shadow may score all of them."""
    if mode == "split" and not 0 < share < 1:
        return [f"share: {share:g} is outside 0 … 1, both excluded: a split needs units of both arms"]
    return [] if 0 < share <= 1 else [f"share: {share:g} is not above 0 and at most 1"]


def _unknown_rates(plan: ExperimentPlan, base_rates: Mapping[str, float]) -> Iterator[str]:
    for name, policy in plan.judged().items():
        if plan.mode == "shadow" and policy.tolerance.kind == "absolute" and name not in base_rates:
            yield (
                f"labels.{name}.tolerance: absolute, but the label's rate is not known, and above it a candidate that "
                "never tags would pass. Give the rate (base_rates), or use a relative tolerance"
            )


def _overlap(plan: ExperimentPlan, other: Experiment) -> Iterator[str]:
    document = other.document
    who = f'experiment {other.id.number} of {document.author} ("{document.reason}")'
    if "split" in (plan.mode, document.plan.mode):
        yield f"mode: {who} runs on the same units, and a split needs them for itself"
    for name in plan.judged():
        if name in document.plan.judged():
            yield f"labels.{name}: {who} judges it already; stop that one, or mute the label"
