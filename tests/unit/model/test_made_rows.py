"""Rows made of training rows: names of groups stand in harmless and in offending rows alike."""

import numpy as np

from streamtag.model.training.config import AugmentConfig
from streamtag.model.training.identity import TERMS, counterfactuals
from streamtag.model.training.made import disguised_copies

IDS = [str(i) for i in range(400)]
TEXTS = ["one two three four five six seven eight nine ten eleven twelve thirteen fourteen"] * 200 + ["red fish"] * 200
TARGETS = np.array([[0, 0]] * 200 + [[1, 0]] * 200, dtype=np.int8)


def named(text: str) -> bool:
    return any(f" {term} " in f" {text} " for term in TERMS)


def test_as_many_are_made_of_harmless_rows_as_of_offending_ones() -> None:
    made = counterfactuals(IDS, TEXTS, TARGETS, share=0.5, salt="1")
    offending = (TARGETS[made.of] == 1).any(axis=1)
    assert 60 < offending.sum() == (~offending).sum() < 140
    assert all(map(named, made.texts))


def test_pieces_of_harmless_rows_are_short_and_offending_rows_are_whole() -> None:
    made = counterfactuals(IDS, TEXTS, TARGETS, share=0.5, salt="1")
    for i, text in zip(made.of.tolist(), made.texts, strict=True):
        if TARGETS[i, 0]:
            assert "red" in text
            assert "fish" in text
        else:
            assert len(text.split()) <= 8 + 2  # "african american" is two words


def test_rows_with_an_unknown_label_are_not_called_harmless() -> None:
    targets = np.where(TARGETS == 0, -1, TARGETS).astype(np.int8)
    assert counterfactuals(IDS, TEXTS, targets, share=1.0, salt="1").texts == []


def test_the_same_salt_makes_the_same_rows() -> None:
    one, two = (counterfactuals(IDS, TEXTS, TARGETS, share=0.3, salt="1") for _ in range(2))
    assert one.texts == two.texts
    assert one.texts != counterfactuals(IDS, TEXTS, TARGETS, share=0.3, salt="2").texts


def test_the_kinds_of_disguise_come_in_turn() -> None:
    made = disguised_copies(IDS, TEXTS, AugmentConfig(share=1.0, kinds=["leet", "emoji"]), "1")
    assert made.of.tolist() == list(range(400))
    assert all(text.isascii() == (turn % 2 == 0) for turn, text in enumerate(made.texts))
