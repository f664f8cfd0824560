"""Of the looks at an experiment so many are kept, evenly, whoever looked how often."""

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.looks import MOST, LabelLook, Look, Looks, look_of, with_look
from streamtag.domain.verdict import Peaks, PhaseCounts, decide, label_evidence

NONE = Looks()
TIMES = st.lists(st.integers(0, 50_000), max_size=200).map(lambda steps: list(accumulate(steps)))
"""Of looks, milliseconds; several may be of one moment."""


def kept(times: list[int], most: int, start: Looks = NONE) -> Looks:
    for number, at_ms in enumerate(times, start=sum(one.units for one in start.items[-1:])):
        start = with_look(start, Look(at_ms, number + 1, {}), most)
    return start


def in_one_go(times: list[int], most: int) -> Looks:
    """What is to be kept, told without any history: the last of each slot, slots as short as they may be."""
    looks = [Look(at_ms, number + 1, {}) for number, at_ms in enumerate(times)]
    spacing_ms = NONE.spacing_ms
    while len({one.at_ms // spacing_ms for one in looks}) > most:
        spacing_ms *= 2
    behind = [*looks[1:], None]
    last = [
        one
        for one, following in zip(looks, behind, strict=True)
        if following is None or following.at_ms // spacing_ms != one.at_ms // spacing_ms
    ]
    return Looks(spacing_ms, tuple(last))


@given(TIMES, st.integers(1, 20))
def test_what_is_kept_follows_from_the_looks_and_not_from_when_slots_grew(times: list[int], most: int) -> None:
    found = kept(times, most)
    assert found == (in_one_go(times, most) if times else NONE)
    assert len(found.items) <= most
    assert [one.units for one in found.items[-1:]] == ([len(times)] if times else [])


@given(TIMES, st.integers(0, 200), st.integers(1, 20))
def test_whoever_goes_on_or_looks_at_the_last_again_keeps_the_same(times: list[int], cut: int, most: int) -> None:
    before = kept(times[:cut], most)
    assert kept(times[cut:], most, before) == kept(times, most)
    for look in before.items[-1:]:
        assert with_look(before, look, most) == before


def test_an_experiment_of_months_keeps_a_fixed_number_and_the_whole_span() -> None:
    times = list(range(0, 120 * 86_400_000, 600_000))
    found = kept(times, MOST)
    assert MOST / 2 <= len(found.items) <= MOST
    assert found.items[0].at_ms < 2 * found.spacing_ms
    assert found.items[-1].at_ms == times[-1]


@pytest.mark.parametrize("mode", ["shadow", "split"])
def test_a_look_says_what_the_verdict_rests_on(mode: str) -> None:
    plan = ExperimentPlan(mode, {"spam": LabelPolicy(), "fraud": LabelPolicy(muted=True)})  # type: ignore[arg-type]
    counts = (40, 5, 60) if mode == "shadow" else (65, 100)
    phases = [PhaseCounts(0.5, 1_000, 1_000, {"spam": counts, "fraud": counts})]
    verdict = decide(plan, phases, Peaks({"spam": 99.0}), hours=1.0)
    look = look_of(plan, phases, verdict, at_ms=7, units=1_000)
    equal = label_evidence(plan, "spam", phases).equal
    assert look == Look(7, 1_000, {"spam": LabelLook(99.0, equal, 0.065, 0.1)})
    nothing = look_of(plan, [], decide(plan, [], Peaks(), hours=0.0), at_ms=7, units=0)
    assert nothing.labels["spam"] == LabelLook(0.0, 0.0, None, None)
    assert math.isfinite(equal)
