"""What counts once, what order decides, and what a snapshot keeps."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.domain.evidence import Evidence, Rows, judge
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.verdict import PhaseCounts, State

LABELS = {"spam": LabelPolicy(), "fraud": LabelPolicy()}
SHADOW = ExperimentPlan("shadow", LABELS)
SPLIT = ExperimentPlan("split", LABELS)
HOUR = 3_600_000

Arm = Literal["control", "candidate", "both"]


def rows(arm: Arm, units: Sequence[int], *, phase: int = 0, share: float = 0.5, seed: int = 0) -> Rows:
    tags = np.random.default_rng(seed).random((2, len(units), 2)) < 0.4
    if arm != "both":
        tags[1 - ("control", "candidate").index(arm)] = False
    return Rows(phase, share, arm, np.array(units, np.uint64), tags[0], tags[1])


def tagged(arm: Arm, units: Sequence[int], *, phase: int = 0, share: float = 0.5) -> Rows:
    """All labels on every row, by whoever scored it."""
    all_of, none = np.ones((len(units), 2), np.bool_), np.zeros((len(units), 2), np.bool_)
    control, candidate = (none if arm == "candidate" else all_of), (none if arm == "control" else all_of)
    return Rows(phase, share, arm, np.array(units, np.uint64), control, candidate)


def folded(plan: ExperimentPlan, *panes: Sequence[Rows]) -> Evidence:
    evidence = Evidence(plan, 0)
    for i, pane in enumerate(panes):
        evidence.fold(pane, 10_000 * (i + 1))
    return evidence


blocks = st.lists(
    st.builds(
        lambda units, phase, arm, seed: rows(arm, units, phase=phase, share=0.1 + phase / 10, seed=seed),
        st.lists(st.integers(0, 60), max_size=30),
        st.integers(0, 3),
        st.sampled_from(["control", "candidate"]),
        st.integers(0, 9),
    ),
    max_size=8,
)


def joined(pane: Sequence[Rows]) -> list[Rows]:
    """One block for each phase and arm; places say where its rows stood."""
    alike: dict[tuple[int, Arm], list[tuple[int, Rows]]] = {}
    for place, block in enumerate(pane):
        alike.setdefault((block.phase, block.arm), []).append((place, block))
    return [
        Rows(
            phase,
            found[0][1].share,
            arm,
            np.concatenate([block.units for _, block in found]),
            np.concatenate([block.control for _, block in found]),
            np.concatenate([block.candidate for _, block in found]),
            sum(block.shed for _, block in found),
            np.repeat([place for place, _ in found], [len(block.units) for _, block in found]),
        )
        for (phase, arm), found in alike.items()
    ]


@given(st.lists(blocks, max_size=3))
def test_rows_that_say_where_they_stand_come_to_the_same_in_fewer_blocks(panes: list[list[Rows]]) -> None:
    assert folded(SPLIT, *map(joined, panes)).snapshot() == folded(SPLIT, *panes).snapshot()


@pytest.mark.parametrize(
    ("places", "problem"), [((None, [0, 1]), "others do not"), (([0], [0, 1]), "2 rows with 1 places")]
)
def test_places_are_of_every_row_or_of_none(places: tuple[list[int] | None, ...], problem: str) -> None:
    pane = [
        replace(rows("control", [1, 2]), places=None if found is None else np.array(found, np.int64))
        for found in places
    ]
    with pytest.raises(ValueError, match=problem):
        Evidence(SPLIT, 0).fold(pane, 10_000)


@given(blocks)
def test_counts_are_those_of_the_first_row_of_each_unit(pane: list[Rows]) -> None:
    counted: dict[int, tuple[int, str, Any]] = {}
    conflicts = set()
    for block in pane:
        for unit, control, candidate in zip(block.units.tolist(), block.control, block.candidate, strict=True):
            phase, arm, _ = counted.setdefault(unit, (block.phase, block.arm, control | candidate))
            if phase == block.phase and arm != block.arm:
                conflicts.add(unit)
    evidence = folded(SPLIT, pane)
    assert (evidence.units, evidence.conflicts) == (len(counted), len(conflicts))
    assert evidence.repeats == sum(len(block.units) for block in pane) - len(counted)
    expected = []
    for number in sorted({block.phase for block in pane}):
        arms: dict[str, list[Any]] = {
            arm: [tags for phase, its, tags in counted.values() if (phase, its) == (number, arm)]
            for arm in ("control", "candidate")
        }
        sums = {arm: np.sum([*found, [0, 0]], axis=0).tolist() for arm, found in arms.items()}
        alerts = {label: (sums["control"][i], sums["candidate"][i]) for i, label in enumerate(LABELS)}
        expected.append(PhaseCounts(0.1 + number / 10, len(arms["control"]), len(arms["candidate"]), alerts))
    assert evidence.phases() == expected


@given(blocks, st.integers(0, 8))
def test_where_panes_are_cut_does_not_change_the_counts(pane: list[Rows], cut: int) -> None:
    whole, parts = folded(SPLIT, pane), folded(SPLIT, pane[:cut], pane[cut:])
    assert whole.phases() == parts.phases()
    assert (whole.conflicts, whole.repeats) == (parts.conflicts, parts.repeats)


@settings(max_examples=50)
@given(blocks, st.integers(0, 8))
def test_a_restart_between_panes_changes_nothing(panes: list[Rows], cut: int) -> None:
    straight = folded(SPLIT, *([block] for block in panes))
    stopped = folded(SPLIT, *([block] for block in panes[:cut]))
    resumed = Evidence.restore(SPLIT, stopped.snapshot())
    for i, block in enumerate(panes[cut:], start=cut):
        resumed.fold([block], 10_000 * (i + 1))
    assert resumed.snapshot() == straight.snapshot()


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(0, 9))
def test_an_event_delivered_twice_counts_once(units: list[int], seed: int) -> None:
    once = rows("both", units, seed=seed)
    evidence = folded(SHADOW, [once], [once], [once])
    assert evidence.phases() == folded(SHADOW, [once]).phases()
    assert evidence.repeats == 3 * len(units) - len(set(units))


def test_shadow_counts_who_tagged_what_the_other_did_not() -> None:
    control = np.array([[1, 1], [1, 0], [0, 0], [0, 0]], np.bool_)
    candidate = np.array([[1, 0], [1, 0], [1, 0], [0, 0]], np.bool_)
    block = Rows(0, 1.0, "both", np.arange(4, dtype=np.uint64), control, candidate)
    assert folded(SHADOW, [block]).phases() == [PhaseCounts(1.0, 4, 4, {"spam": (1, 0, 2), "fraud": (0, 1, 0)})]


def test_a_unit_that_a_ramp_moves_to_the_candidate_is_no_conflict_and_counts_where_it_came_first() -> None:
    before, after = tagged("control", [1, 2, 3], share=0.1), tagged("candidate", [3, 4], phase=1)
    evidence = folded(SPLIT, [before], [after])
    assert (evidence.conflicts, evidence.repeats) == (0, 1)
    assert [(phase.control_units, phase.candidate_units) for phase in evidence.phases()] == [(3, 0), (0, 1)]


def test_a_late_row_never_takes_back_what_was_counted() -> None:
    evidence = folded(SPLIT, [tagged("control", [1, 2])], [tagged("candidate", [2, 3])])
    counted = evidence.phases()
    assert evidence.conflicts == 1
    evidence.fold([tagged("candidate", [1, 2]), tagged("control", [3])], 10_000)
    assert evidence.phases() == counted
    assert evidence.conflicts == 3


def test_units_in_both_arms_make_an_experiment_invalid_beyond_a_share() -> None:
    units = list(range(1_000))
    verdict = Evidence(SPLIT, 0).fold([tagged("control", units[:500]), tagged("candidate", units)], 10_000)
    assert verdict.state is State.INVALID
    assert verdict.reasons == ("500 of 1,000 units were given to both arms",)


def test_the_look_that_reaches_the_most_units_counts_whole() -> None:
    plan = ExperimentPlan("split", LABELS, max_units=100)
    order = random.Random(1).sample(range(1_000), 150)
    evidence = Evidence(plan, 0)
    verdict = evidence.fold([rows("control", order[:60]), rows("candidate", order[60:])], 10_000)
    assert verdict.state is State.INCONCLUSIVE
    [phase] = evidence.phases()
    assert (phase.control_units, phase.candidate_units, evidence.repeats) == (60, 90, 0)


def test_a_sound_split_is_not_called_broken_where_its_units_are_used_up_amid_a_summary() -> None:
    plan = ExperimentPlan("split", LABELS, max_units=1_000)
    summary = [rows("control", range(1_000)), rows("candidate", range(1_000, 2_000))]  # as a pane has them: by arm
    verdict = Evidence(plan, 0).fold(summary, 10_000)
    assert verdict.state is State.INCONCLUSIVE
    assert verdict.reasons[0].startswith("ended after 2,000 units")


def test_an_experiment_ends_at_its_first_final_verdict() -> None:
    silent, hours = judge(SHADOW, 0, [(HOUR * i, []) for i in range(1_000)])[0].ended_ms, SHADOW.max_hours
    assert silent == hours * HOUR
    bad = np.zeros((1_000, 2), np.bool_)
    panes = [
        (10_000 * (i + 1), [Rows(0, 1.0, "both", np.arange(1_000 * i, 1_000 * (i + 1), dtype=np.uint64), bad, ~bad)])
        for i in range(3)
    ]
    evidence, verdict = judge(SHADOW, 0, panes)
    assert (verdict.state, evidence.units, evidence.ended_ms) == (State.FAIL, 1_000, 10_000)


@pytest.mark.parametrize(
    ("plan", "pane", "message"),
    [
        (SHADOW, [rows("control", [1])], "rows of arm control in a shadow experiment"),
        (SPLIT, [rows("both", [1])], "rows of arm both in a split experiment"),
        (SPLIT, [rows("control", [1]), rows("control", [2], share=0.2)], "phase 0 has a share of 0.5, not 0.2"),
        (ExperimentPlan("split", {"spam": LabelPolicy()}), [rows("control", [1])], r"where \(1, 1\) are due"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_none_is_counted(
    plan: ExperimentPlan, pane: list[Rows], message: str
) -> None:
    evidence = Evidence(plan, 0)
    with pytest.raises(ValueError, match=message):
        evidence.fold(pane, 10_000)
    assert (evidence.rows, evidence.phases()) == (0, [])


def test_units_of_a_phase_are_those_of_both_its_arms() -> None:
    pane = [rows("control", [1, 2, 3]), rows("candidate", [4]), rows("candidate", [4, 5], phase=2, share=0.7)]
    evidence = folded(SPLIT, pane)
    assert [evidence.units_in(phase) for phase in range(4)] == [4, 0, 1, 0]
    assert folded(SHADOW, [rows("both", [1, 1, 2])]).units_in(0) == 2


def test_a_snapshot_of_other_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="the plan asks for"):
        Evidence.restore(ExperimentPlan("split", {"spam": LabelPolicy()}), Evidence(SPLIT, 0).snapshot())
