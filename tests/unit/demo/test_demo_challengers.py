"""What the demo compares with the champion, under the bundle that the package ships and under others."""

import itertools
import json

import numpy as np
import pytest

from streamtag.devstack.demo.challengers import Challenger, choose_challengers
from streamtag.devstack.demo.cutoffs import DemoCutoffs, choose_cutoffs
from streamtag.devstack.demo.events import EventSource, sample_texts
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.thresholds import ThresholdSet, problems
from streamtag.domain.verdict import Peaks, PhaseCounts, State, decide
from streamtag.model.bundle import read_bundle
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer

EVENTS = 3_000


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(read_bundle(find_bundle("moderation", [])), batch=64)


def chosen(scorer: Scorer, seed: int) -> tuple[DemoCutoffs, tuple[Challenger, ...]]:
    sample = scorer.score(sample_texts(seed, 1_000))
    cutoffs = choose_cutoffs(scorer.bundle.default_thresholds.labels, sample, sample, 0.25)
    return cutoffs, choose_challengers(cutoffs, sample)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_the_demos_own_events_the_bad_one_fails_at_once_and_the_good_one_passes(scorer: Scorer, seed: int) -> None:
    cutoffs, (bad, good) = chosen(scorer, seed)
    whole = (record for record in EventSource(seed) if not record.broken)
    scores = scorer.score([json.loads(record.value)["text"] for record in itertools.islice(whole, EVENTS)])

    def verdict(challenger: Challenger, events: int) -> State:
        labels = {}
        for label in challenger.judged:
            column = scores[:events, scorer.labels.index(label)]
            control, candidate = column >= cutoffs.start[label], column >= challenger.cutoffs[label]
            found = (candidate & ~control, control & ~candidate, control & candidate)
            labels[label] = tuple(int(one.sum()) for one in found)
        plan = ExperimentPlan("shadow", {label: LabelPolicy() for label in challenger.judged})
        return decide(plan, [PhaseCounts(1.0, events, events, labels)], Peaks(), hours=0.0).state

    assert (bad.kind, good.kind) == ("bad", "good")
    assert verdict(bad, 300) is State.FAIL
    assert verdict(good, 300) is not State.FAIL
    assert verdict(good, EVENTS) is State.PASS


def test_both_differ_from_the_champion_on_labels_of_their_own_and_can_decide(scorer: Scorer) -> None:
    cutoffs, (bad, good) = chosen(scorer, 1)
    for challenger in (bad, good):
        assert problems(ThresholdSet(challenger.cutoffs), scorer.labels) == []
        moved = {label for label, cutoff in challenger.cutoffs.items() if cutoff != cutoffs.start[label]}
        assert moved == set(challenger.judged)
    assert not set(bad.judged) & set(good.judged)
    assert scorer.labels[0] not in bad.judged  # the one to play with


@pytest.mark.parametrize("labels", [1, 2])
def test_a_bundle_with_few_labels_has_fewer_challengers(labels: int) -> None:
    names = [f"label_{i}" for i in range(labels)]
    scores = np.random.default_rng(1).random((1_000, labels)).astype(np.float32)
    cutoffs = choose_cutoffs(dict.fromkeys(names, 0.9), scores, scores, 0.25)
    assert [one.kind for one in choose_challengers(cutoffs, scores)] == ["bad", "good"][:labels]
