"""What a verdict may say of which counts."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.domain.evalues import PairedCounts, SplitCounts, difference_interval, paired_ratio_interval
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy, Tolerance, problems
from streamtag.domain.verdict import (
    LabelEvidence,
    Peaks,
    PhaseCounts,
    State,
    Verdict,
    decide,
    label_evidence,
    units_needed,
    worse_evidence,
)

SHADOW = ExperimentPlan("shadow", {"spam": LabelPolicy(Tolerance("absolute", 0.01)), "fraud": LabelPolicy()})
SPLIT = ExperimentPlan("split", {"spam": LabelPolicy(direction="increase"), "fraud": LabelPolicy()})


def shadow(n: int, **labels: tuple[int, int, int]) -> list[PhaseCounts]:
    return [PhaseCounts(1.0, n, n, labels)]


def judged(plan: ExperimentPlan, phases: list[PhaseCounts], hours: float = 1.0) -> Verdict:
    return decide(plan, phases, Peaks(), hours=hours)


@pytest.mark.parametrize("plan", [SHADOW, SPLIT])
def test_no_data_is_never_a_pass(plan: ExperimentPlan) -> None:
    assert judged(plan, []).state is State.COLLECTING
    ended = judged(plan, [], hours=plan.max_hours)
    assert ended.state is State.INCONCLUSIVE
    assert ended.reasons == ("no unit was counted",)


def test_passes_only_when_every_judged_label_is_shown_to_be_equal() -> None:
    enough = shadow(200_000, spam=(500, 500, 9_000), fraud=(200, 200, 9_000))
    assert judged(SHADOW, enough).state is State.PASS
    thin = shadow(200_000, spam=(500, 500, 9_000), fraud=(2, 2, 10))
    verdict = judged(SHADOW, thin)
    assert (verdict.state, verdict.equal, verdict.open) == (State.COLLECTING, ("spam",), ("fraud",))
    assert (units_needed(SHADOW, "fraud", thin) or 0) > 0


def test_a_muted_label_is_no_part_of_the_verdict() -> None:
    plan = replace(SHADOW, labels={**SHADOW.labels, "fraud": LabelPolicy(muted=True)})
    assert judged(plan, shadow(200_000, spam=(500, 500, 9_000), fraud=(20_000, 0, 10))).state is State.PASS


def test_fails_on_a_label_that_is_worse_and_says_which() -> None:
    verdict = judged(SHADOW, shadow(20_000, spam=(1_500, 10, 900), fraud=(20, 20, 900)))
    assert (verdict.state, verdict.worse, verdict.listed) == (State.FAIL, ("spam",), ("spam",))
    assert verdict.reasons == ("spam: worse by more than its tolerance",)


def test_a_change_for_the_better_is_no_failure_and_no_pass() -> None:
    fewer = [PhaseCounts(0.5, 50_000, 50_000, {"spam": (2_000, 400), "fraud": (2_000, 2_000)})]
    verdict = judged(SPLIT, fewer)
    assert (verdict.state, verdict.open) == (State.COLLECTING, ("spam",))
    assert units_needed(SPLIT, "spam", fewer) is None


def test_a_peak_of_evidence_stays_when_later_counts_dilute_it() -> None:
    bad = shadow(20_000, spam=(1_500, 10, 900), fraud=(20, 20, 900))
    diluted = shadow(2_000_000, spam=(1_500, 1_500, 9_000), fraud=(20, 20, 9_000))
    assert decide(SHADOW, diluted, judged(SHADOW, bad).peaks, hours=2).state is State.FAIL
    assert judged(SHADOW, diluted).state is not State.FAIL


def test_only_a_critical_label_fails_where_worse_is_a_warning() -> None:
    bad = shadow(20_000, spam=(1_500, 10, 900), fraud=(20, 20, 900))
    warning = replace(SHADOW, on_worse="warn")
    assert judged(warning, bad).state is State.COLLECTING
    assert "a warning only" in judged(warning, bad).reasons[0]
    critical = replace(warning, labels={**SHADOW.labels, "spam": replace(SHADOW.labels["spam"], critical=True)})
    assert judged(critical, bad).state is State.FAIL


def test_a_broken_assignment_is_never_blamed_on_the_model() -> None:
    uneven = [PhaseCounts(0.5, 50_000, 40_000, {"spam": (10, 4_000), "fraud": (10, 10)})]
    assert judged(SPLIT, uneven).state is State.INVALID


def test_a_regression_over_a_ramp_is_seen_although_pooled_rates_look_better() -> None:
    ramp = [
        PhaseCounts(0.05, 19_000, 1_000, {"spam": (1_900, 200)}),
        PhaseCounts(0.5, 2_000, 2_000, {"spam": (60, 118)}),
    ]
    plan = ExperimentPlan("split", {"spam": LabelPolicy(Tolerance("relative", 0.1))})
    assert label_evidence(plan, "spam", ramp).higher > 10


def test_at_the_horizon_it_says_what_is_missing() -> None:
    thin = shadow(1_000, spam=(10, 10, 90), fraud=(200, 9, 90))
    ended = judged(replace(SHADOW, on_worse="warn"), thin, hours=1e6)
    assert ended.state is State.INCONCLUSIVE
    assert ended.reasons[0] == "fraud: worse by more than its tolerance (a warning only)"
    assert "more units would do" in ended.reasons[-1]


def test_conflicts_make_it_invalid_when_they_are_more_than_a_few() -> None:
    phases = [PhaseCounts(0.5, 5_000, 5_000, {"spam": (50, 50)})]
    states = [decide(SPLIT, phases, Peaks(), hours=1, conflicts=n).state for n in (10, 11)]
    assert states == [State.COLLECTING, State.INVALID]


@given(st.floats(-5, 50), st.floats(-5, 50))
def test_where_both_ways_are_worse_evidence_is_the_mean_of_both(higher: float, lower: float) -> None:
    found = worse_evidence(LabelPolicy(direction="either"), LabelEvidence(higher, lower, 0))
    assert math.exp(found) == pytest.approx((math.exp(higher) + math.exp(lower)) / 2)


def test_weights_share_the_error_among_the_labels_that_are_judged() -> None:
    plan = ExperimentPlan(
        "shadow", {"a": LabelPolicy(weight=3), "b": LabelPolicy(), "c": LabelPolicy(muted=True, weight=9)}
    )
    assert plan.alphas() == pytest.approx({"a": 0.0375, "b": 0.0125})


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.integers(0, 50_000))
def test_intervals_hold_what_was_seen(b: int, c: int, both: int, neither: int) -> None:
    counts = PairedCounts(b, c, both, b + c + both + neither)
    if counts.n:
        low, high = difference_interval(counts)
        assert low - 1e-6 <= (b - c) / counts.n <= high + 1e-6
    if b + both and c + both:
        low, high = paired_ratio_interval(counts)
        assert low <= (b + both) / (c + both) * (1 + 1e-6)
        assert high >= (b + both) / (c + both) * (1 - 1e-6)


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), min_size=1, max_size=4))
def test_counts_of_one_phase_may_come_in_any_pieces(parts: list[tuple[int, int]]) -> None:
    whole = SplitCounts(sum(a for a, _ in parts), sum(b for _, b in parts), 0.5)
    phase = PhaseCounts(0.5, 10_000, 10_000, {"spam": (whole.control, whole.candidate)})
    again = PhaseCounts(0.5, 10_000, 10_000, {"spam": tuple(map(sum, zip(*parts, strict=True)))})
    assert label_evidence(SPLIT, "spam", [phase]) == label_evidence(SPLIT, "spam", [again])


def test_a_forecast_is_about_right() -> None:
    thin = shadow(10_000, spam=(25, 25, 900), fraud=(10, 10, 900))
    for label in SHADOW.labels:
        more = units_needed(SHADOW, label, thin)
        assert more is not None
        times = (10_000 + more) / 10_000
        counts = {name: tuple(round(x * times) for x in row) for name, row in thin[0].labels.items()}
        assert label in judged(SHADOW, shadow(10_000 + more, **counts)).equal  # type: ignore[arg-type]


def test_a_plan_is_refused_with_every_reason() -> None:
    plan = ExperimentPlan(
        "split",
        {"spam": LabelPolicy(Tolerance("absolute", 0.0), weight=0), "fraud": LabelPolicy(Tolerance(size=2))},
        alpha=0,
        max_conflicts=1,
        max_hours=0,
    )
    assert [problem.split(":")[0] for problem in problems(plan)] == [
        "alpha",
        "max_conflicts",
        "max_hours",
        "labels.spam.tolerance",
        "labels.spam.tolerance",
        "labels.spam.weight",
        "labels.fraud.tolerance",
    ]


def test_a_tolerance_must_lie_below_the_base_rate() -> None:
    found = problems(SHADOW, {"spam": 0.0027, "fraud": 0.0027})
    assert len(found) == 1
    assert "a candidate that never tags would pass" in found[0]
