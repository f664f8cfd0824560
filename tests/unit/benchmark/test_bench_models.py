"""The benchmark of scoring measures what scoring does, and takes its ratios from turns that stood side by side."""

import numpy as np
import pytest
from bench.models import STEPS, Steps, figures, sklearn_scorer

from streamtag.model.registry import find_bundle


@pytest.fixture(scope="module")
def steps() -> Steps:
    return Steps(find_bundle("moderation", []), texts=700)


def test_the_steps_one_after_the_other_give_the_scores(steps: Steps) -> None:
    scores = np.concatenate([steps.scorer.session.run(inputs) for inputs in steps.inputs])
    expected = steps.scorer.score(steps.texts)
    assert len(scores) == len(steps.texts) == 700
    assert (np.sort(scores, axis=0) == np.sort(expected, axis=0)).all()
    assert tuple(steps.work()) == STEPS


def test_sklearn_scores_as_many_labels(steps: Steps) -> None:
    scores = sklearn_scorer(6)(steps.texts[:9])
    assert scores.shape == (9, 6)
    assert ((scores > 0) & (scores < 1)).all()


def test_ratios_are_taken_turn_by_turn() -> None:
    quiet = {"read": 1.0, "score": 10.0, "sklearn": 100.0}
    found = figures([quiet, quiet, {name: 3 * us for name, us in quiet.items()}])
    assert found["documents_per_s"] == 100_000
    assert found["sklearn_over_score"] == 10
    assert found["us_per_text"]["score"] == {"min": 10, "median": 10, "max": 30}  # type: ignore[index]
    assert found["share_of_sklearn"]["read"] == {"min": 0.01, "median": 0.01, "max": 0.01}  # type: ignore[index]
