"""What becomes of a candidate: no promotion without PASS, no larger share past a limit, a person's change wins."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.domain.experiment import ExperimentPlan
from streamtag.domain.rollout import (
    Action,
    Figures,
    Limits,
    RampStep,
    RolloutPolicy,
    Situation,
    breaches,
    next_action,
    policy_problems,
)
from streamtag.domain.verdict import State

RAMP = (RampStep(0.25, after_units=1000, after_s=60), RampStep(0.5, after_units=5000))
POLICY = RolloutPolicy(RAMP, promote=True, limits=Limits(failures=0.01, p99_ms=50, lag=1000))
WELL = Figures(scored=10_000, p99_ms=10.0, lag=0)
READY = Situation(State.COLLECTING, None, True, (0.1,), units=1000, phase_s=60, figures=WELL)
SPLIT, SHADOW = ExperimentPlan("split"), ExperimentPlan("shadow")

parts = st.none() | st.floats(0, 0.2)
limits = st.builds(
    Limits,
    failures=parts,
    shed=parts,
    invalid=parts,
    dead=parts,
    p99_ms=st.none() | st.floats(1, 100),
    lag=st.none() | st.integers(1, 1000),
    min_events=st.integers(1, 500),
)
ramps = st.lists(st.builds(RampStep, st.floats(0.01, 0.99), st.integers(0, 2000), st.floats(0, 100)), max_size=4).map(
    lambda steps: tuple(sorted({step.share: step for step in steps}.values(), key=lambda step: step.share))
)
policies = st.builds(RolloutPolicy, ramps, promote=st.booleans(), limits=limits)
counts = st.integers(0, 3000)
figures = st.builds(
    Figures, counts, counts, counts, counts, counts, st.none() | st.floats(0, 200), st.none() | st.integers(0, 2000)
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[RolloutPolicy, Situation]:
    """A policy, and a situation that is on its ramp or anywhere else."""
    policy = draw(policies)
    path = [0.005, *(step.share for step in policy.ramp)]
    on_ramp = path[: draw(st.integers(1, len(path)))]
    situation = Situation(
        state=draw(st.sampled_from(State)),
        ended=draw(st.sampled_from([None, None, "stop", "return", "verdict"])),
        control_decides=draw(st.booleans()),
        shares=draw(st.just(on_ramp) | st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4)),
        units=draw(st.integers(0, 3000)),
        phase_s=draw(st.none() | st.floats(-10, 200)),
        worse=draw(st.sampled_from([(), (), ("spam",)])),
        figures=draw(figures),
        beside=draw(st.sampled_from([(), (), (4,)])),
    )
    return policy, situation


@given(cases())
def test_nothing_is_promoted_but_what_passed_under_the_same_champion(case: tuple[RolloutPolicy, Situation]) -> None:
    policy, now = case
    if next_action(policy, now).kind == "promote":
        assert (now.state, now.ended, now.control_decides, policy.promote) == (State.PASS, "verdict", True, True)
        assert not now.beside


@given(cases())
def test_the_share_grows_only_along_the_ramp_while_all_is_well(case: tuple[RolloutPolicy, Situation]) -> None:
    policy, now = case
    action = next_action(policy, now)
    if action.kind == "ramp":
        step = policy.ramp[len(now.shares) - 1]
        assert action.share == step.share > now.shares[-1]
        assert now.units >= step.after_units
        assert now.phase_s is not None
        assert now.phase_s >= step.after_s
        assert (now.state, now.ended, now.control_decides) == (State.COLLECTING, None, True)
        assert not now.worse
        assert not breaches(policy.limits, now.figures)
    else:
        assert action.share is None


@given(cases())
def test_past_a_limit_what_runs_is_taken_back_whatever_else_is_true(case: tuple[RolloutPolicy, Situation]) -> None:
    policy, now = case
    due = now.ended is None and now.control_decides and bool(breaches(policy.limits, now.figures))
    assert (next_action(policy, now).kind == "return") == due


@given(cases())
def test_what_is_over_or_under_another_champion_is_left_alone(case: tuple[RolloutPolicy, Situation]) -> None:
    policy, now = case
    if now.ended in ("stop", "return") or not now.control_decides:
        assert next_action(policy, now).kind == "wait"


@given(cases())
def test_every_step_has_a_reason(case: tuple[RolloutPolicy, Situation]) -> None:
    assert next_action(*case).reason


@given(st.sampled_from([*State]), st.sampled_from([None, "stop", "return", "verdict"]), figures)
def test_by_default_nothing_happens_by_itself(state: State, ended: None, found: Figures) -> None:
    now = dataclasses.replace(READY, state=state, ended=ended, figures=found)
    assert next_action(RolloutPolicy(), now).kind in ("wait", "ask")


@given(figures, limits, st.integers(1, 1000))
def test_more_failures_never_end_a_breach(found: Figures, limit: Limits, more: int) -> None:
    if any("failures" in breach for breach in breaches(limit, found)):
        worse = dataclasses.replace(found, failures=found.failures + more)
        assert any("failures" in breach for breach in breaches(limit, worse))


def test_a_whole_ramp_is_walked_step_by_step_to_promotion() -> None:
    now, walked = READY, []
    for _ in range(4):
        action = next_action(POLICY, now)
        walked.append((action.kind, action.share))
        if action.share is not None:
            now = dataclasses.replace(now, shares=(*now.shares, action.share), units=5000, phase_s=0)
    passed = dataclasses.replace(now, state=State.PASS, ended="verdict")
    walked.append((next_action(POLICY, passed).kind, None))
    assert walked == [("ramp", 0.25), ("ramp", 0.5), ("wait", None), ("wait", None), ("promote", None)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"units": 999}, "after 1,000 units and 60 s; so far 999 units"),
        ({"phase_s": 59.9}, "after 1,000 units and 60 s"),
        ({"worse": ("insult",)}, "while a label is worse: insult"),
        ({"figures": Figures()}, "before any worker says how the candidate fares"),
        ({"shares": (0.1, 0.3)}, "a person has set the share"),
        ({"shares": (0.1, 0.25, 0.1)}, "a person has set the share"),
        ({"shares": (0.1, 0.25, 0.5)}, "it collects evidence"),
        ({"state": State.PASS}, "PASS is about to be stored"),
        ({"control_decides": False}, "another release decides now"),
    ],
)
def test_a_ramp_waits_and_says_for_what(changes: dict[str, object], reason: str) -> None:
    action = next_action(POLICY, dataclasses.replace(READY, **changes))  # type: ignore[arg-type]
    assert action.kind == "wait"
    assert reason in action.reason


@pytest.mark.parametrize(
    ("state", "policy", "beside", "kind"),
    [
        (State.PASS, POLICY, (), "promote"),
        (State.PASS, POLICY, (4, 5), "ask"),
        (State.PASS, RolloutPolicy(), (), "ask"),
        (State.INCONCLUSIVE, POLICY, (), "ask"),
        (State.FAIL, POLICY, (), "wait"),
        (State.INVALID, POLICY, (), "wait"),
    ],
)
def test_after_a_verdict(state: State, policy: RolloutPolicy, beside: tuple[int, ...], kind: str) -> None:
    action = next_action(policy, dataclasses.replace(READY, state=state, ended="verdict", beside=beside))
    assert action.kind == kind
    assert action.reason.startswith(f"{state}:" if kind != "wait" else "it is over")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Figures(scored=980, failures=20), "failures: 20 of 1,000 events (2.00%), limit 1.00%"),
        (Figures(scored=100, p99_ms=50.1), "p99_ms: 50.1, limit 50"),
        (Figures(lag=1001), "lag: 1,001 records for a minute, limit 1,000"),
    ],
)
def test_a_breach_says_what_was_seen_and_what_is_allowed(found: Figures, text: str) -> None:
    assert breaches(POLICY.limits, found) == [text]
    assert next_action(POLICY, dataclasses.replace(READY, figures=found)) == Action("return", text)


@pytest.mark.parametrize(
    "found",
    [
        Figures(scored=990, failures=10),  # at the limit
        Figures(scored=0, failures=499),  # too few events
        Figures(scored=1000, shed=900, invalid=900, dead=900),  # not limited
        Figures(scored=1000, p99_ms=50, lag=1000),
    ],
)
def test_at_a_limit_or_with_too_few_events_nothing_is_taken_back(found: Figures) -> None:
    assert breaches(POLICY.limits, found) == []


def test_a_handful_of_failures_is_no_breach_however_low_the_limit() -> None:
    none = Limits(failures=0, min_events=1)
    assert breaches(none, Figures(failures=4)) == []
    assert breaches(none, Figures(scored=10_000, failures=5)) != []


def test_a_policy_that_means_something_has_no_problem() -> None:
    assert policy_problems(POLICY, SPLIT, 0.1) == []
    assert policy_problems(RolloutPolicy((RampStep(1.0, 1),)), SHADOW, 0.5) == []
    assert policy_problems(RolloutPolicy(), SHADOW, 1.0) == []


@pytest.mark.parametrize(
    ("policy", "plan", "problem"),
    [
        (
            RolloutPolicy((RampStep(0.1, 1),)),
            SPLIT,
            "rollout.ramp step 1: a share of 0.1 is not above the 0.1 before it",
        ),
        (
            RolloutPolicy((*RAMP, RampStep(0.4, 1))),
            SPLIT,
            "rollout.ramp step 3: a share of 0.4 is not above the 0.5 before it",
        ),
        (RolloutPolicy((RampStep(1.0, 1),)), SPLIT, "rollout.ramp step 1: a share of 1 is not above 0 and below 1"),
        (
            RolloutPolicy((RampStep(1.1, 1),)),
            SHADOW,
            "rollout.ramp step 1: a share of 1.1 is not above 0 and at most 1",
        ),
        (RolloutPolicy((RampStep(float("nan"), 1),)), SPLIT, "rollout.ramp step 1: a share of nan is not above 0"),
        (RolloutPolicy((RampStep(0.5),)), SPLIT, "rollout.ramp step 1: say after how many units, or how much time"),
        (RolloutPolicy((RampStep(0.5, -1, 5),)), SPLIT, "rollout.ramp step 1: units and time cannot be negative"),
        (
            RolloutPolicy((RampStep(0.5, 0, float("inf")),)),
            SPLIT,
            "rollout.ramp step 1: units and time cannot be negative or endl",
        ),
        (
            RolloutPolicy((RampStep(0.5, 100),)),
            ExperimentPlan("split", max_units=100),
            "rollout.ramp: it takes 100 units",
        ),
        (
            RolloutPolicy((RampStep(0.5, 0, 7200),)),
            ExperimentPlan("split", max_hours=2),
            "rollout.ramp: it takes 2.0 h, and",
        ),
        (RolloutPolicy(limits=Limits(failures=1.0)), SPLIT, "rollout.limits.failures: 1 is not from 0 on and below 1"),
        (RolloutPolicy(limits=Limits(shed=float("nan"))), SPLIT, "rollout.limits.shed: nan is not from 0"),
        (RolloutPolicy(limits=Limits(p99_ms=0)), SPLIT, "rollout.limits.p99_ms: 0 is not above 0"),
        (RolloutPolicy(limits=Limits(lag=-1)), SPLIT, "rollout.limits.lag: -1 is not above 0"),
        (RolloutPolicy(limits=Limits(min_events=0)), SPLIT, "rollout.limits.min_events: 0 is not above 0"),
        (
            RolloutPolicy(limits=Limits(dead=0.1)),
            SHADOW,
            "rollout.limits.dead: the candidate of a shadow decides nothing",
        ),
    ],
)
def test_a_policy_that_could_never_do_what_it_says_is_refused(
    policy: RolloutPolicy, plan: ExperimentPlan, problem: str
) -> None:
    assert any(found.startswith(problem) for found in policy_problems(policy, plan, 0.1))
