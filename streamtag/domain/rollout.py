"""What becomes of a candidate: the policy of an experiment, and the one next step that follows from it.

A pure function of what is known. Nothing is promoted without PASS, no share grows while a label is worse or a limit is
passed, and a person's later change wins: whoever sets a share by hand has taken the ramp over, and whoever changes
the champion has decided about the candidate.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

from streamtag.domain.experiment import ExperimentPlan
from streamtag.domain.verdict import State

__all__ = [
    "Action",
    "Figures",
    "Limits",
    "RampStep",
    "RolloutPolicy",
    "Situation",
    "breaches",
    "next_action",
    "policy_problems",
]

_FEW = 5  # events that fail, by whatever cause, are no breach yet
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class RampStep:
    """A larger share, and what must have happened under the share before it.

    Attributes:
        share: of units, as in `streamtag.control.experiment_documents.Phase`.
        after_units: units counted in the phase before.
        after_s: seconds since the phase before began.
    """

    share: float
    after_units: int = 0
    after_s: float = 0.0


@dataclass(frozen=True)
class Limits:
    """Of the candidate in operation; past any of them it is taken back at once. None: no limit.

    Attributes:
        failures, shed, invalid: parts of the events that the candidate should have scored: lost to its failure, not
            scored for want of time, given a score that is none.
        dead: part of the events it should have decided that became dead letters (split).
        p99_ms: time it takes for a batch, in time or not, 99th percentile, on the slowest worker; not known of a few
            batches, see `streamtag.control.fleet.ExperimentFigures`.
        lag: records that all workers together are behind, for a whole minute.
        min_events: fewer say nothing of parts.
    """

    failures: float | None = None
    shed: float | None = None
    invalid: float | None = None
    dead: float | None = None
    p99_ms: float | None = None
    lag: int | None = None
    min_events: int = 500

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return any(getattr(self, limit.name) is not None for limit in fields(self) if limit.name != "min_events")


@dataclass(frozen=True)
class RolloutPolicy:
    """What happens by itself. By default nothing, besides that a verdict ends the experiment.

    Attributes:
        ramp: steps, each with a larger share than the one before.
        promote: PASS makes the candidate the champion; else that is left to a person.
        limits: past which the candidate is taken back.
    """

    ramp: tuple[RampStep, ...] = ()
    promote: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Figures:
    """How the candidate has fared lately, over all workers.

    Attributes:
        scored, shed, failures, invalid: each event that it should have scored is in one of them.
        dead: dead letters among the events that it should have decided.
        p99_ms: time for a batch, 99th percentile, of the slowest worker; None: nobody says.
        lag: smallest number of records behind in the last minute; None: not known for a minute.
    """

    scored: int = 0
    shed: int = 0
    failures: int = 0
    invalid: int = 0
    dead: int = 0
    p99_ms: float | None = None
    lag: int | None = None

    @property
    def events(self) -> int:
        """That the candidate should have scored."""
        return self.scored + self.shed + self.failures + self.invalid


@dataclass(frozen=True)
class Situation:
    """Where an experiment stands.

    Attributes:
        state: of its evidence; once it has ended, its verdict.
        ended: None while it runs, else what ended it.
        control_decides: its control is the champion.
        shares: of all its phases, the last one is the present.
        units: counted in the present phase.
        phase_s: seconds of the present phase that are in the evidence; None: not known, or panes wait to be read.
        worse: labels called worse, which do not fail the experiment.
        figures: of its candidate.
        beside: other experiments that run against the same champion.
    """

    state: State
    ended: Literal["stop", "return", "verdict"] | None
    control_decides: bool
    shares: Sequence[float]
    units: int = 0
    phase_s: float | None = None
    worse: Sequence[str] = ()
    figures: Figures = Figures()
    beside: Sequence[int] = ()


@dataclass(frozen=True)
class Action:
    """What to do now, and why. ``ask``: it is a person's turn; ``wait``: it is nobody's."""

    kind: Literal["wait", "ask", "ramp", "return", "promote"]
    reason: str
    share: float | None = None
    """That a ``ramp`` goes to."""


def policy_problems(policy: RolloutPolicy, plan: ExperimentPlan, share: float) -> list[str]:
    """Everything that keeps ``policy`` from meaning something for an experiment that starts with ``share``."""
    return [*_ramp_problems(policy.ramp, plan, share), *_limit_problems(policy.limits, plan)]


def next_action(policy: RolloutPolicy, now: Situation) -> Action:
    """The one next step. The same situation gives the same step, however often it is asked for."""
    if now.ended is not None:
        return _after_the_end(policy, now)
    if not now.control_decides:
        return Action("wait", "another release decides now: the evidence cannot go on")
    if found := breaches(policy.limits, now.figures):
        return Action("return", "; ".join(found))
    if now.state.final:
        return Action("wait", f"{now.state} is about to be stored")
    return _ramp(policy, now)


def breaches(limits: Limits, figures: Figures) -> list[str]:
    """Every limit that the candidate is past, in words."""
    found = []
    if figures.events >= limits.min_events:
        for name in ("failures", "shed", "invalid", "dead"):
            limit, count = getattr(limits, name), getattr(figures, name)
            if limit is not None and count >= _FEW and count > limit * figures.events:
                part = f"{count:,} of {figures.events:,} events ({count / figures.events:.2%})"
                found.append(f"{name}: {part}, limit {limit:.2%}")
    if limits.p99_ms is not None and figures.p99_ms is not None and figures.p99_ms > limits.p99_ms:
        found.append(f"p99_ms: {figures.p99_ms:.1f}, limit {limits.p99_ms:g}")
    if limits.lag is not None and figures.lag is not None and figures.lag > limits.lag:
        found.append(f"lag: {figures.lag:,} records for a minute, limit {limits.lag:,}")
    return found


def _after_the_end(policy: RolloutPolicy, now: Situation) -> Action:
    if now.ended != "verdict" or now.state not in (State.PASS, State.INCONCLUSIVE):
        return Action("wait", "it is over")
    if not now.control_decides:
        return Action("wait", "it is over, and another release decides now")
    if now.state is State.INCONCLUSIVE:
        return Action("ask", "INCONCLUSIVE: neither harm nor its absence was shown")
    if not policy.promote:
        return Action("ask", "PASS: the policy leaves the promotion to a person")
    if now.beside:
        # Under another champion their evidence could not go on. They end, by themselves or by a person.
        numbers = ", ".join(str(number) for number in now.beside)
        return Action("ask", f"PASS: promoted once nothing runs against this champion any more (experiment {numbers})")
    return Action("promote", "PASS: every judged label moved by less than its tolerance")


def _ramp(policy: RolloutPolicy, now: Situation) -> Action:
    path = [now.shares[0], *(step.share for step in policy.ramp)]
    done = len(now.shares)
    if list(now.shares) != path[:done]:
        return Action("wait", "a person has set the share: the ramp is theirs")
    if done == len(path):
        return Action("wait", "it collects evidence")
    step = policy.ramp[done - 1]
    if now.worse:
        return Action("wait", f"no larger share while a label is worse: {', '.join(now.worse)}")
    if policy.limits.any and now.figures.events == 0:
        return Action("wait", "no larger share before any worker says how the candidate fares")
    if now.phase_s is None or now.units < step.after_units or now.phase_s < step.after_s:
        needed = f"{step.after_units:,} units and {_duration(step.after_s)}"
        return Action("wait", f"{step.share:g} of units after {needed}; so far {now.units:,} units")
    reason = f"after {now.units:,} units and {_duration(now.phase_s)} with a share of {now.shares[-1]:g}"
    return Action("ramp", f"{reason}, no label worse", step.share)


def _ramp_problems(ramp: Sequence[RampStep], plan: ExperimentPlan, share: float) -> Iterable[str]:
    before, units, seconds = share, 0, 0.0
    for number, step in enumerate(ramp, 1):
        where = f"rollout.ramp step {number}"
        if not (0 < step.share < 1 or (step.share == 1 and plan.mode == "shadow")):
            most = "at most 1" if plan.mode == "shadow" else "below 1"
            yield f"{where}: a share of {step.share:g} is not above 0 and {most}"
        if not step.share > before:
            yield f"{where}: a share of {step.share:g} is not above the {before:g} before it"
        if step.after_units < 0 or not (step.after_s >= 0 and math.isfinite(step.after_s)):
            yield f"{where}: units and time cannot be negative or endless"
        elif step.after_units == 0 and step.after_s == 0:
            yield f"{where}: say after how many units, or how much time"
        before, units, seconds = step.share, units + step.after_units, seconds + step.after_s
    if units >= plan.max_units:
        yield f"rollout.ramp: it takes {units:,} units, and the experiment gives up after {plan.max_units:,}"
    if seconds >= plan.max_hours * _SECONDS_PER_HOUR:
        yield f"rollout.ramp: it takes {_duration(seconds)}, and the experiment gives up after {plan.max_hours:g} h"


def _limit_problems(limits: Limits, plan: ExperimentPlan) -> Iterable[str]:
    for name in ("failures", "shed", "invalid", "dead"):
        part = getattr(limits, name)
        if part is not None and not 0 <= part < 1:
            yield f"rollout.limits.{name}: {part:g} is not from 0 on and below 1"
    if limits.dead is not None and plan.mode == "shadow":
        yield "rollout.limits.dead: the candidate of a shadow decides nothing, so no dead letter is its own"
    for name in ("p99_ms", "lag", "min_events"):
        limit = getattr(limits, name)
        if limit is not None and not (limit > 0 and math.isfinite(limit)):
            yield f"rollout.limits.{name}: {limit:g} is not above 0"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
