"""Comparing two sets with many overrides: what a look at every override at every segment says, for less work."""

from collections.abc import Callable, ItemsView, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threshold_strategies import LABELS, cutoffs

from streamtag.domain.scores import BINS
from streamtag.domain.thresholds import (
    DIMENSIONS,
    Change,
    Override,
    ThresholdSet,
    condition_name,
    diff,
    effective_pairs,
    too_large,
)
from streamtag.domain.what_if import what_if

# -- the plain way, which looks at all of them ---------------------------------------------------------------------

Cutoffs = Mapping[str, float]
Place = tuple[Mapping[str, str], Cutoffs, Cutoffs]


def plain_pairs(before: ThresholdSet, after: ThresholdSet) -> list[Place]:
    places: list[dict[str, str]] = []
    for old in ({}, *(override.when for override in before.segments)):
        for new in ({}, *(override.when for override in after.segments)):
            place = {**old, **new}
            if old.items() <= place.items() and place not in places:
                places.append(place)
    segments = [(place.get("lang"), place.get("channel"), place.get("tenant")) for place in places]
    return [(place, before.effective(s), after.effective(s)) for place, s in zip(places, segments, strict=True)]


def plain_diff(before: ThresholdSet, after: ThresholdSet) -> list[Change]:
    old, new = said_by_condition(before), said_by_condition(after)
    changes = differing("", before.labels, after.labels)
    for name in dict.fromkeys([*old, *new]):
        changes += differing(name, old.get(name, {}), new.get(name, {}))
    places = {condition_name(place): place for place, _, _ in plain_pairs(before, after)}
    named = [(change.label, places[change.where]) for change in changes]
    for place, *both in plain_pairs(before, after):
        for met in differing(condition_name(place), *both):
            if not any(label == met.label and where.items() <= place.items() for label, where in named):
                changes.append(met)
    return changes


def said_by_condition(found: ThresholdSet) -> dict[str, dict[str, float]]:
    said: dict[str, dict[str, float]] = {}
    for override in found.segments:
        said.setdefault(condition_name(override.when), {}).update(override.labels)
    return said


def differing(where: str, old: Cutoffs, new: Cutoffs) -> list[Change]:
    return [Change(where, n, old.get(n), new.get(n)) for n in dict.fromkeys([*old, *new]) if old.get(n) != new.get(n)]


def plain_too_large(before: ThresholdSet, after: ThresholdSet, max_step: float) -> list[str]:
    return [
        f"{condition_name(place)} {label}: {old[label]:g} -> {new[label]:g}".lstrip()
        for place, old, new in plain_pairs(before, after)
        for label in old
        if label in new and abs(new[label] - old[label]) > max_step + 1e-9
    ]


# -- says the same -----------------------------------------------------------------------------------------------------

# Few values, so that overrides meet, repeat and contradict one another; cut-offs that come back, so that some agree.
some_cutoffs = st.sampled_from([0.0, 0.1, 0.5, 0.75]) | cutoffs
conditions = st.dictionaries(st.sampled_from(DIMENSIONS), st.sampled_from(["a", "b", "a,tenant=b"]), min_size=1)
overrides = st.builds(Override, conditions, st.dictionaries(st.sampled_from(LABELS), some_cutoffs, min_size=1))
labels = st.fixed_dictionaries(dict.fromkeys(LABELS[:2], some_cutoffs), optional={LABELS[2]: some_cutoffs})


def sets(of: st.SearchStrategy[Override]) -> st.SearchStrategy[ThresholdSet]:
    return st.builds(ThresholdSet, labels, st.lists(of, max_size=9).map(tuple))


@st.composite
def two_sets(draw: st.DrawFn) -> tuple[ThresholdSet, ThresholdSet]:
    """Of any kind, or with the same overrides in another order, some of them left out."""
    before = draw(sets(overrides))
    shared = sets(st.sampled_from(before.segments) | overrides) if before.segments else sets(overrides)
    return before, draw(shared)


@settings(deadline=None, max_examples=200)
@given(two_sets(), st.sampled_from([0.0, 0.05, 0.25]))
def test_two_sets_are_compared_as_if_every_override_were_looked_at(
    both: tuple[ThresholdSet, ThresholdSet], max_step: float
) -> None:
    before, after = both
    assert list(effective_pairs(before, after)) == plain_pairs(before, after)
    assert diff(before, after) == plain_diff(before, after)
    found = [text.partition(" is a step of ")[0] for text in too_large(before, after, max_step)]
    assert found == plain_too_large(before, after, max_step)


# -- for less work -----------------------------------------------------------------------------------------------------

BASE = dict.fromkeys(LABELS, 0.5)


class Asked(dict[str, str]):
    """A condition that counts how often somebody looks at what it says."""

    times = 0

    def items(self) -> ItemsView[str, str]:  # type: ignore[override]
        Asked.times += 1
        return super().items()

    def __getitem__(self, dimension: str) -> str:
        Asked.times += 1
        return super().__getitem__(dimension)


def many(count: int, cutoff: float) -> ThresholdSet:
    """Overrides of all kinds."""
    whens = [Asked({dimension: str(i) for dimension in DIMENSIONS[: 1 + i % 3]}) for i in range(count)]
    return ThresholdSet(BASE, tuple(Override(when, {"spam": cutoff}) for when in whens))


def look_at_effects(before: ThresholdSet, after: ThresholdSet) -> None:
    what_if({label: np.ones(BINS, np.int64) for label in LABELS}, before, after, lambda _: 1)


@pytest.mark.parametrize("compare", [diff, lambda old, new: too_large(old, new, 0.05), look_at_effects])
@pytest.mark.parametrize("had", [0, 1])
def test_twice_the_overrides_are_twice_the_work(
    compare: Callable[[ThresholdSet, ThresholdSet], object], had: int
) -> None:
    def work(count: int) -> int:
        Asked.times = 0
        compare(many(had * count, 0.5), many(count, 0.6))
        return Asked.times

    assert work(600) <= 2.1 * work(300)


def test_how_many_events_a_segment_has_is_asked_once_and_only_where_something_differs() -> None:
    asked: list[Mapping[str, str]] = []

    def size(when: Mapping[str, str]) -> int:
        asked.append(when)
        return 1

    same, moved = Override({"lang": "de"}, {"spam": 0.5}), Override({"tenant": "a"}, {"spam": 0.6, "insult": 0.6})
    before, after = ThresholdSet(BASE), ThresholdSet(BASE, (same, moved))
    what_if({label: np.ones(BINS, np.int64) for label in LABELS}, before, after, size)
    assert asked == [{"tenant": "a"}]
