"""The policy of a rollout as people write it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.control.experiment_file import load_plan, merge, request_of
from streamtag.control.rollout_file import describe_policy, parse_step, policy_of
from streamtag.domain.rollout import Limits, RampStep, RolloutPolicy
from streamtag.errors import RefusedError

PLAN = """
mode: split
share: 0.05
rollout:
  ramp: [25% after 10000 units and 1 h, 0.5 after 6h]
  on_pass: promote
  limits: {failures: 1%, shed: 0.05, invalid: 0, dead: 0.1%, p99_ms: 50, lag: 100000, min_events: 200}
"""
POLICY = RolloutPolicy(
    (RampStep(0.25, 10_000, 3600), RampStep(0.5, 0, 21_600)),
    promote=True,
    limits=Limits(failures=0.01, shed=0.05, invalid=0, dead=0.001, p99_ms=50, lag=100_000, min_events=200),
)


def test_a_policy_is_read_as_it_stands() -> None:
    assert request_of(load_plan(PLAN, "plan.yaml")).rollout == POLICY


def test_without_a_policy_nothing_happens_by_itself() -> None:
    policy = request_of({}).rollout
    assert policy == RolloutPolicy((), promote=False, limits=Limits())
    assert not policy.limits.any


@pytest.mark.parametrize(
    ("words", "step"),
    [
        ("25% after 10000 units", RampStep(0.25, 10_000)),
        ("  0.5   after 1 unit, 90s ", RampStep(0.5, 1, 90)),
        ("100 % after 1.5 d and 30 units", RampStep(1.0, 30, 129_600)),
        ("7.5% after 30 min", RampStep(0.075, 0, 1800)),
    ],
)
def test_a_step_says_its_share_and_what_it_waits_for(words: str, step: RampStep) -> None:
    assert parse_step(words) == step


@pytest.mark.parametrize("words", ["25%", "after 3 h", "much after 1 h", "25% after lunch", "25% after", ""])
def test_other_words_are_refused_and_quoted(words: str) -> None:
    with pytest.raises(ValueError, match="lunch" if "lunch" in words else "is not of the form"):
        parse_step(words)


@pytest.mark.parametrize(
    ("rollout", "problems"),
    [
        ("promote", ["rollout: must be a mapping"]),
        ({"on_pas": "hold", "on_pass": "cheer"}, ["rollout.on_pas: unknown", "rollout.on_pass: 'cheer' is unknown"]),
        ({"ramp": "25% after 1 h"}, ["rollout.ramp: must be a list"]),
        ({"ramp": ["25% after 1 h", "x", 0.5]}, ["rollout.ramp step 2: 'x'", "rollout.ramp step 3: '0.5'"]),
        ({"limits": 3}, ["rollout.limits: must be a mapping"]),
        (
            {"limits": {"failures": "often", "lag": 1.5, "p99_ms": True, "min_events": [], "nan": 1}},
            [
                "rollout.limits.failures: 'often' is no part",
                "rollout.limits.lag: must be a whole number, not 1.5",
                "rollout.limits.p99_ms: must be a number, not True",
                "rollout.limits.min_events: must be a number, not []",
                "rollout.limits.nan: unknown; known are failures",
            ],
        ),
    ],
)
def test_what_is_wrong_is_named_all_at_once(rollout: Any, problems: list[str]) -> None:
    with pytest.raises(RefusedError) as refused:
        request_of({"rollout": rollout})
    assert len(refused.value.problems) == len(problems)
    assert all(found.startswith(p) for found, p in zip(refused.value.problems, problems, strict=True))


def test_options_win_over_the_file_limit_by_limit() -> None:
    given = {"rollout": {"on_pass": "hold", "limits": {"shed": "10%"}}}
    found = request_of(merge(load_plan(PLAN, "plan.yaml"), given)).rollout
    assert (found.promote, found.ramp) == (False, POLICY.ramp)
    assert (found.limits.shed, found.limits.failures) == (0.1, 0.01)


any_yaml = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["ramp", "on_pass", "limits", "x"]), any_yaml) | any_yaml)
def test_whatever_stands_there_is_a_policy_or_a_named_problem(rollout: Any) -> None:
    found: list[str] = []
    assert isinstance(policy_of(rollout, found), RolloutPolicy)
    assert all(problem.startswith("rollout") for problem in found)


def test_a_policy_is_described_in_a_few_words() -> None:
    assert describe_policy(RolloutPolicy()) == "never promoted"
    text = describe_policy(POLICY)
    assert text.startswith("ramp to 0.25, 0.5; taken back past failures 0.01, shed 0.05, invalid 0, dead 0.001, p99_ms")
    assert text.endswith("promoted on PASS")
    assert "min_events" not in text
