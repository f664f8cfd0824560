"""Stage 2: a text that breaks the model, or scores that are no probabilities, cost their own event and no other."""

import math
from pathlib import Path

import numpy as np
import pytest
from foreign_models import build_numbers_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from tagging import LABELS, RAISES, TextScorer

from streamtag.events.content import ContentEvent
from streamtag.events.rejection import ErrorClass
from streamtag.model.loading import load_scorer
from streamtag.tagger.infer import infer


def event(text: str | None) -> ContentEvent:
    return ContentEvent("e", text, features={"n": 1})


@settings(deadline=None)
@given(st.lists(st.sampled_from(["0.25 0.5", "1 0", RAISES, None, "nan 0.5", "0.5 1.5", "-0.1 0.5", "inf 0"])))
def test_every_event_is_scored_or_refused_on_its_own(texts: list[str | None]) -> None:
    micro, refused = infer([event(text) for text in texts], TextScorer())  # type: ignore[arg-type]
    assert micro.shape == (len(texts), len(LABELS))
    for i, text in enumerate(texts):
        if text in ("0.25 0.5", "1 0"):
            assert i not in refused
            assert micro[i].tolist() == [int(float(word) * 1_000_000) for word in text.split()]
        else:
            found = {None: ErrorClass.MISSING_FIELD, RAISES: ErrorClass.SCORER_ERROR}
            assert refused[i].error_class == found.get(text, ErrorClass.INVALID_SCORE)
            assert (refused[i].stage, refused[i].field) == ("infer", "/text")
            assert not micro[i].any()


def test_a_sound_batch_is_scored_in_one_run() -> None:
    scorer = TextScorer()
    infer([event("0 0")] * 100, scorer)  # type: ignore[arg-type]
    assert scorer.batches == [100]


def test_an_event_without_text_does_not_break_the_batch() -> None:
    scorer = TextScorer()
    _, refused = infer([event("0 0"), event(None), event("0 0")], scorer)  # type: ignore[arg-type]
    assert (list(refused), scorer.batches) == ([1], [3])


def test_one_offender_costs_a_few_runs_each_of_them_counted() -> None:
    scorer, splits = TextScorer(), []
    texts = ["0 0"] * 256
    texts[77] = RAISES
    _, refused = infer([event(text) for text in texts], scorer, lambda: splits.append(1))  # type: ignore[arg-type]
    assert list(refused) == [77]
    assert len(scorer.batches) <= 1 + 2 * math.log2(256)
    assert len(splits) == math.log2(256)


def test_a_refusal_names_the_labels_and_never_the_text() -> None:
    texts = ["nan 0.5", RAISES]
    _, refused = infer([event(text) for text in texts], TextScorer())  # type: ignore[arg-type]
    assert refused[0].message == "score is not a probability for spam"
    assert refused[1].message == "the model raised RuntimeError"


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, np.float32(0.3), np.nextafter(np.float32(1), np.float32(0))])
def test_the_ends_of_the_range_are_probabilities(value: float) -> None:
    micro, refused = infer([event(f"{value:.9f} 0")], TextScorer())  # type: ignore[arg-type]
    assert not refused
    assert micro[0, 0] == round(float(value) * 1_000_000)


def test_features_reach_the_model_and_what_is_wrong_with_them_is_refused(tmp_path: Path) -> None:
    scorer = load_scorer(build_numbers_bundle(tmp_path / "bundles", tmp_path / "scratch"), batch=64)
    events = [
        ContentEvent("a", None, features={"amount": 3, "age": 40}),
        ContentEvent("b", "a text that nobody reads", features={"amount": 3, "age": 40}),
        ContentEvent("c", "nothing else"),
        ContentEvent("d", None, features={"amount": "a secret", "age": 40}),
        ContentEvent("e", None, features={"amount": 4}),
        ContentEvent("f", None, features={"amount": 4, "age": 200}),
    ]
    micro, refused = infer(events, scorer)
    assert micro[0].tolist() == micro[1].tolist() != micro[4].tolist()
    assert {i: (why.error_class.value, why.field, why.message) for i, why in refused.items()} == {
        2: ("invalid_feature", "/features/amount", "feature amount is missing, and has no default"),
        3: ("invalid_feature", "/features/amount", "feature amount is not a number, and has no default"),
        5: ("invalid_feature", "/features/age", "feature age is outside 0 … 120"),
    }
    assert not micro[[2, 3, 5]].any()
    assert scorer.take_filled() == {("age", "missing"): 1}
