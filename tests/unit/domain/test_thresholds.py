"""Threshold sets: what decides whom, what is refused, what differs, and what the guard rail lets through."""

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threshold_strategies import LABELS, VALUES, overrides, segments, threshold_sets

from streamtag.domain.thresholds import (
    DIMENSIONS,
    Compiled,
    Override,
    Segment,
    ThresholdSet,
    condition_name,
    decide,
    diff,
    problems,
    too_large,
)

EVERY_SEGMENT: list[Segment] = [
    (lang, channel, tenant)
    for lang, channel, tenant in itertools.product(*((*VALUES[d], None) for d in ("lang", "channel", "tenant")))
]
BASE = {"spam": 0.5, "insult": 0.5, "threat": 0.5}


def with_overrides(*found: tuple[dict[str, str], dict[str, float]]) -> ThresholdSet:
    return ThresholdSet(BASE, tuple(Override(when, labels) for when, labels in found))


# -- what decides ------------------------------------------------------------------------------------------------------


def test_the_last_override_that_matches_wins_label_by_label() -> None:
    found = with_overrides(
        ({"lang": "de"}, {"spam": 0.1, "insult": 0.2}),
        ({"lang": "de", "channel": "chat"}, {"spam": 0.3}),
        ({"channel": "chat"}, {"insult": 0.4}),
    )
    assert found.effective((None, None, None)) == BASE
    assert found.effective(("de", "forum", None)) == {**BASE, "spam": 0.1, "insult": 0.2}
    assert found.effective(("de", "chat", "a")) == {**BASE, "spam": 0.3, "insult": 0.4}
    assert found.effective(("en", "chat", "a")) == {**BASE, "insult": 0.4}


@settings(deadline=None)
@given(threshold_sets, segments)
def test_a_cutoff_that_decides_comes_from_the_base_or_from_an_override_that_matches(
    found: ThresholdSet, segment: Segment
) -> None:
    event = dict(zip(VALUES, segment, strict=True))
    for label, cutoff in found.effective(segment).items():
        allowed = [found.labels[label]]
        allowed += [o.labels[label] for o in found.segments if label in o.labels and o.when.items() <= event.items()]
        assert cutoff == allowed[-1]


@settings(deadline=None)
@given(threshold_sets)
def test_the_wire_form_gives_the_same_set_back(found: ThresholdSet) -> None:
    assert ThresholdSet.from_dict(json.loads(json.dumps(found.to_dict()))) == found


# -- what is refused ---------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(threshold_sets)
def test_every_cutoff_on_the_grid_of_millionths_is_accepted(found: ThresholdSet) -> None:
    assert problems(found, LABELS) == []


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (1.000001, "outside 0 … 1"),
        (-0.1, "outside 0 … 1"),
        (math.nan, "outside 0 … 1"),
        (math.inf, "outside 0 … 1"),
        pytest.param(10**400, "outside 0 … 1", id="huge"),
        (0.1234567, "more than 6 decimals"),
        (1e-7, "more than 6 decimals"),
        (True, "must be a number, not bool"),
        ("0.5", "must be a number, not str"),
        (None, "must be a number, not NoneType"),
    ],
)
@pytest.mark.parametrize("place", ["base", "override"])
def test_a_value_that_is_no_cutoff_is_refused_by_name(value: Any, says: str, place: str) -> None:
    if place == "base":
        [found] = problems(ThresholdSet({**BASE, "spam": value}), LABELS)
        assert found.startswith("labels.spam: ")
    else:
        [found] = problems(with_overrides(({"lang": "de"}, {"spam": value})), LABELS)
        assert found.startswith("segments[0].labels.spam: ")
    assert says in found


def test_all_problems_are_named_at_once() -> None:
    bad: Any = ThresholdSet(
        {"spam": 2, "unknown": 0.5, "threat": 0.5},
        (
            Override({}, {"spam": 0.5}),
            Override({"language": "de"}, {}),
            Override({"lang": 5}, {"other": 0.5}),  # type: ignore[dict-item] # as a hand-written file may have it
        ),
    )
    found = problems(bad, LABELS)
    assert [problem.split(":")[0] for problem in found] == [
        "labels.insult",
        "labels.spam",
        "labels.unknown",
        "segments[0].when",
        "segments[1].when.language",
        "segments[1].labels",
        "segments[2].when.lang",
        "segments[2].labels.other",
    ]


# -- what differs ------------------------------------------------------------------------------------------------------


def test_a_change_names_place_label_and_both_values() -> None:
    before = with_overrides(({"lang": "de"}, {"spam": 0.4}))
    after = ThresholdSet(
        {**BASE, "spam": 0.6},
        (Override({"lang": "de"}, {"spam": 0.45, "insult": 0.3}), Override({"channel": "chat"}, {"threat": 0.9})),
    )
    assert [(c.where, c.label, c.before, c.after) for c in diff(before, after)] == [
        ("", "spam", 0.5, 0.6),
        ("lang=de", "spam", 0.4, 0.45),
        ("lang=de", "insult", None, 0.3),
        ("channel=chat", "threat", None, 0.9),
    ]
    assert [round(c.step, 9) for c in diff(before, after)] == [0.1, 0.05, 0, 0]


@settings(deadline=None, max_examples=50)
@given(threshold_sets, threshold_sets)
def test_a_diff_reversed_is_the_diff_of_the_way_back(before: ThresholdSet, after: ThresholdSet) -> None:
    there = {(c.where, c.label, c.before, c.after) for c in diff(before, after)}
    back = {(c.where, c.label, c.after, c.before) for c in diff(after, before)}
    assert there == back


@settings(deadline=None)
@given(threshold_sets)
def test_a_set_does_not_differ_from_itself(found: ThresholdSet) -> None:
    assert diff(found, found) == []
    assert too_large(found, found, 0) == []


@settings(deadline=None)
@given(st.data())
def test_whatever_changes_a_decision_is_in_the_diff(data: st.DataObject) -> None:
    before = data.draw(threshold_sets)
    reordered = data.draw(st.permutations(before.segments))
    after = ThresholdSet(before.labels, (*reordered, *data.draw(st.lists(overrides, max_size=1))))
    changed = {
        label for s in EVERY_SEGMENT for label in LABELS if before.effective(s)[label] != after.effective(s)[label]
    }
    assert changed <= {change.label for change in diff(before, after)}


def test_overrides_that_change_places_differ_where_they_meet() -> None:
    low, high = ({"lang": "de"}, {"spam": 0.3}), ({"channel": "chat"}, {"spam": 0.7})
    [found] = diff(with_overrides(low, high), with_overrides(high, low))
    assert (found.where, found.label, found.before, found.after) == ("channel=chat,lang=de", "spam", 0.7, 0.3)


def test_a_condition_that_stands_twice_hides_nothing_from_the_diff() -> None:
    before = with_overrides(({"lang": "de"}, {"spam": 0.1}), ({"lang": "de"}, {"insult": 0.2}))
    after = with_overrides(({"lang": "de"}, {"spam": 0.9}), ({"lang": "de"}, {"insult": 0.2}))
    assert [(c.label, c.before, c.after) for c in diff(before, after)] == [("spam", 0.1, 0.9)]


def test_a_value_that_reads_like_a_condition_hides_no_change() -> None:
    decoy, real = {"lang": "de,tenant=x"}, {"lang": "de", "tenant": "x"}
    before = with_overrides((decoy, {"threat": 0.9}), (real, {"threat": 0.9}))
    after = with_overrides((real, {"threat": 0.1}), (decoy, {"threat": 0.9}))
    assert [(c.where, c.label, c.before, c.after) for c in diff(before, after)] == [
        ("lang=de,tenant=x", "threat", 0.9, 0.1)
    ]
    [found] = too_large(before, with_overrides((decoy, {"threat": 0.1}), (real, {"threat": 0.9})), 0.25)
    assert found.startswith('lang="de,tenant=x" threat: 0.9 -> 0.1')


@given(*[st.dictionaries(st.sampled_from(DIMENSIONS), st.text(st.sampled_from('ade,="\\ntx\n'), max_size=12))] * 2)
def test_every_condition_has_a_name_of_its_own(one: dict[str, str], other: dict[str, str]) -> None:
    assert (condition_name(one) == condition_name(other)) == (one == other)


# -- the guard rail ----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(threshold_sets, threshold_sets, st.sampled_from([0.0, 0.05, 0.25, 0.7]))
def test_the_guard_rail_finds_a_step_exactly_where_some_event_would_see_it(
    before: ThresholdSet, after: ThresholdSet, max_step: float
) -> None:
    seen = any(
        abs(after.effective(s)[label] - before.effective(s)[label]) > max_step + 1e-9
        for s in EVERY_SEGMENT
        for label in LABELS
    )
    assert bool(too_large(before, after, max_step)) == seen


def test_an_override_that_comes_or_goes_is_measured_against_what_it_replaces() -> None:
    plain, strict = ThresholdSet(BASE), with_overrides(({"lang": "de"}, {"spam": 0.9}))
    text = "spam: {} -> {} is a step of 0.4, above the guard rail of 0.25"
    assert too_large(plain, strict, 0.25) == ["lang=de " + text.format("0.5", "0.9")]
    assert too_large(strict, plain, 0.25) == ["lang=de " + text.format("0.9", "0.5")]


def test_overrides_that_change_places_cannot_slip_past() -> None:
    low, high = ({"lang": "de"}, {"spam": 0.3}), ({"channel": "chat"}, {"spam": 0.7})
    [found] = too_large(with_overrides(low, high), with_overrides(high, low), 0.25)
    assert found.startswith("channel=chat,lang=de spam: 0.7 -> 0.3")


def test_a_step_of_exactly_the_guard_rail_passes() -> None:
    assert too_large(ThresholdSet({"spam": 0.3}), ThresholdSet({"spam": 0.55}), 0.25) == []


def test_labels_of_another_bundle_are_no_steps_of_one_another() -> None:
    assert too_large(ThresholdSet({"spam": 0.1}), ThresholdSet({"ham": 0.9}), 0.25) == []


def test_many_overrides_of_one_dimension_are_compared_in_a_moment() -> None:
    many = ThresholdSet(BASE, tuple(Override({"tenant": f"t{i}"}, {"spam": 0.5}) for i in range(300)))
    moved = ThresholdSet(BASE, tuple(Override({"tenant": f"t{i}"}, {"spam": 0.6}) for i in range(300)))
    assert len(too_large(many, moved, 0.05)) == 300


# -- compiled ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(threshold_sets, st.lists(segments, max_size=40))
def test_the_compiled_rows_hold_what_decides(found: ThresholdSet, some: list[Segment]) -> None:
    compiled = Compiled(found, LABELS)
    rows = compiled.rows(some)
    for segment, row in zip(some, rows.tolist(), strict=True):
        assert dict(zip(LABELS, compiled.matrix[row].tolist(), strict=True)) == found.effective(segment)
    assert compiled.uniform == (not found.segments)
    if compiled.uniform:
        assert not rows.any()


@settings(deadline=None)
@given(threshold_sets, st.lists(st.tuples(*[st.text() | st.none()] * 3), max_size=60))
def test_rows_are_bounded_by_the_overrides_not_by_the_traffic(found: ThresholdSet, some: list[Segment]) -> None:
    compiled = Compiled(found, LABELS)
    compiled.rows([*some, *EVERY_SEGMENT])
    named = [len({o.when[d] for o in found.segments if d in o.when}) for d in VALUES]
    assert len(compiled.matrix) <= math.prod(n + 1 for n in named)


def test_a_row_once_given_keeps_its_number() -> None:
    compiled = Compiled(with_overrides(({"lang": "de"}, {"spam": 0.1}), ({"lang": "en"}, {"spam": 0.2})), LABELS)
    first = compiled.row(("de", None, None))
    compiled.row(("en", None, None))
    assert compiled.row(("de", "forum", "whatever")) == first
    assert compiled.row((None, None, None)) == 0


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 1_000_000), min_size=3, max_size=3), min_size=1, max_size=30),
    threshold_sets,
    st.data(),
)
def test_deciding_a_batch_is_deciding_each_label_of_each_event(
    micro: list[list[int]], found: ThresholdSet, data: st.DataObject
) -> None:
    places = data.draw(st.lists(segments, min_size=len(micro), max_size=len(micro)))
    compiled = Compiled(found, LABELS)
    rows = compiled.rows(places)
    tagged = decide(np.array(micro) / 1_000_000, compiled.matrix[rows])
    for i, (row, place) in enumerate(zip(micro, places, strict=True)):
        cutoffs = found.effective(place)
        assert tagged[i].tolist() == [m / 1_000_000 >= cutoffs[label] for m, label in zip(row, LABELS, strict=True)]


def test_a_score_equal_to_the_cutoff_is_tagged() -> None:
    assert decide(np.array([[0.3, 0.299999]]), np.array([0.3, 0.3])).tolist() == [[True, False]]
