"""The demo's cut-offs, under the bundle that the package ships."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamtag.devstack.demo.cutoffs import DemoCutoffs, choose_cutoffs, plain
from streamtag.devstack.demo.events import EventSource, sample_texts
from streamtag.domain.thresholds import ThresholdSet, problems, too_large
from streamtag.model.bundle import read_bundle
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer

MAX_STEP = 0.25
EVENTS = 2_000
# once or twice a second at the demo's usual rate of 200, and by far not every one
LEAST, MOST = 0.005, 0.3


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(read_bundle(find_bundle("moderation", [])), batch=64)


@pytest.fixture(scope="module")
def cutoffs(scorer: Scorer) -> DemoCutoffs:
    scores, spiked = (scorer.score(sample_texts(1, 1_000, spike=spike)) for spike in (False, True))
    return choose_cutoffs(scorer.bundle.default_thresholds.labels, scores, spiked, MAX_STEP)


@pytest.fixture(scope="module")
def scores(scorer: Scorer) -> NDArray[np.float32]:
    return of_events(scorer, EventSource(seed=1))


def of_events(scorer: Scorer, source: EventSource) -> NDArray[np.float32]:
    """Of the events that the demo writes, not of the sample that its cut-offs were chosen by."""
    whole = (record for record in source if not record.broken)
    return scorer.score([json.loads(record.value)["text"] for record in itertools.islice(whole, EVENTS)])


def test_events_fall_on_both_sides_of_every_cutoff_under_the_shipped_bundle(
    scorer: Scorer, cutoffs: DemoCutoffs, scores: NDArray[np.float32]
) -> None:
    assert list(cutoffs.start) == list(scorer.labels)
    for i, label in enumerate(scorer.labels):
        share = float(np.mean(scores[:, i] >= cutoffs.start[label]))
        assert LEAST < share < MOST, f"{label}: {share:.2%} of the events at {cutoffs.start[label]}"


def test_a_spike_shows_in_the_first_label_and_the_change_that_the_demo_suggests_answers_it(
    scorer: Scorer, cutoffs: DemoCutoffs, scores: NDArray[np.float32]
) -> None:
    label, source = scorer.labels[0], EventSource(seed=1)
    source.spike = True
    spiked = of_events(scorer, source)[:, 0]
    usual = float(np.mean(scores[:, 0] >= cutoffs.start[label]))
    flooded = float(np.mean(spiked >= cutoffs.start[label]))
    answered = float(np.mean(spiked >= cutoffs.stricter[label]))
    assert flooded > 2 * usual
    assert answered < 0.7 * flooded


def test_the_bad_challengers_cutoffs_move_the_alert_rate_visibly(
    scorer: Scorer, cutoffs: DemoCutoffs, scores: NDArray[np.float32]
) -> None:
    for i, label in enumerate(scorer.labels):
        before = float(np.mean(scores[:, i] >= cutoffs.start[label]))
        after = float(np.mean(scores[:, i] >= cutoffs.easier[label]))
        assert after > 1.5 * before, label
        assert after < 0.6, label


def test_some_labels_keep_the_bundles_own_cutoff(scorer: Scorer, cutoffs: DemoCutoffs) -> None:
    own = scorer.bundle.default_thresholds.labels
    assert [label for label in scorer.labels if cutoffs.start[label] == own[label]]


def test_the_cutoffs_can_be_published_and_changed_without_force(scorer: Scorer, cutoffs: DemoCutoffs) -> None:
    start = ThresholdSet(cutoffs.start)
    assert problems(start, scorer.labels) == []
    for label in scorer.labels:
        for other in (cutoffs.easier[label], cutoffs.stricter[label]):
            assert too_large(start, ThresholdSet({**cutoffs.start, label: other}), MAX_STEP) == []


def test_what_to_try_next_is_the_cutoff_farther_away() -> None:
    cutoffs = DemoCutoffs(start={"loud": 0.4}, easier={"loud": 0.1}, stricter={"loud": 0.6})
    assert cutoffs.other("loud", 0.4) == 0.6
    assert cutoffs.other("loud", 0.6) == 0.4
    assert cutoffs.other("loud", 0.9) == 0.4


@given(st.integers(0, 1_000_000))
def test_a_cutoff_is_written_without_an_exponent_and_reads_back_the_same(micro: int) -> None:
    text = plain(micro / 1_000_000)
    assert "e" not in text
    assert round(float(text) * 1_000_000) == micro
