"""Scores belong to their texts, with the same bits in any company."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.model.loading import load_scorer
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer

SHIPPED: Path = find_bundle("moderation", [])
SCORERS = {batch: load_scorer(SHIPPED, batch=batch) for batch in (1, 3, 64)}

WORDS = ["good", "morning", "Ünïcode", "\u200b", "the", "timetable", "1234", "!!!", "日本語", "\n", "reply", "a"]
texts = st.text(max_size=80) | st.lists(st.sampled_from(WORDS), max_size=400).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_a_text_gets_the_same_bits_alone_in_any_batch_and_in_any_order(batch: list[str], random: object) -> None:
    order = list(range(len(batch)))
    random.shuffle(order)  # type: ignore[attr-defined]
    alone = np.concatenate([SCORERS[64].score([text]) for text in batch])
    for scorer in SCORERS.values():
        assert (scorer.score(batch).view(np.uint32) == alone.view(np.uint32)).all()
        shuffled = scorer.score([batch[i] for i in order])
        assert (shuffled.view(np.uint32) == alone[order].view(np.uint32)).all()


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return SCORERS[64]


def test_row_i_belongs_to_text_i_whatever_the_lengths(scorer: Scorer) -> None:
    batch = ["word " * (i * 7 % 200) + str(i) for i in range(300)]
    scores = scorer.score(batch)
    for i in (0, 1, 28, 29, 199, 299):
        assert (scores[i] == scorer.score([batch[i]])[0]).all()


def test_scores_are_probabilities(scorer: Scorer) -> None:
    scores = scorer.score(["", "hello", "x" * 5_000, "\ud83d", "\x00\x01", "🎉" * 3_000])
    assert scores.dtype == np.float32
    assert scores.shape == (6, 6)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_no_texts_are_no_rows(scorer: Scorer) -> None:
    assert scorer.score([]).shape == (0, 6)


def test_a_text_beyond_the_cut_scores_by_its_head_and_tail(scorer: Scorer) -> None:
    contract = scorer.featuriser.contract
    head, tail = "h" * contract.head_chars, "t" * contract.tail_chars
    one, other = scorer.score([head + " apples " * 500 + tail, head + " pears " * 700 + tail])
    assert (one == other).all()
