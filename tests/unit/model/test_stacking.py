"""Margins of all labels and further features, put together: better where they say something, and one linear model."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from streamtag.model.training.masked import LinearModel
from streamtag.model.training.stacking import Stack, Stacking

RANDOM = np.random.default_rng(7)
ONCE = np.ones(20_000, dtype=np.float32)
STACKING = Stacking(np.zeros(2, dtype=np.bool_))
BOTH = np.ones(2, dtype=np.bool_)


def rows(n: int) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.int8]]:
    """Two labels: the first is as its margin says, the second hangs on the first, and is rarer in long texts."""
    margins = RANDOM.normal(size=(n, 2))
    length = RANDOM.uniform(0, 3, size=(n, 1)).astype(np.float32)
    logits = np.column_stack([2 * margins[:, 0], margins[:, 1] + 2 * margins[:, 0] - 2 * length[:, 0]])
    targets = (RANDOM.random((n, 2)) < 1 / (1 + np.exp(-logits))).astype(np.int8)
    return margins, length, targets


def test_it_finds_what_the_labels_hang_on() -> None:
    stack = STACKING.fit(*rows(20_000), ONCE[:20_000], BOTH)
    np.testing.assert_allclose(stack.across, [[2, 0], [2, 1]], atol=0.15)
    np.testing.assert_allclose(stack.more, [[0], [-2]], atol=0.15)


def test_of_a_silent_label_the_others_hear_nothing() -> None:
    stack = Stacking(np.array([True, False])).fit(*rows(2_000), ONCE[:2_000], BOTH)
    assert stack.across[1, 0] == 0
    assert stack.across[0, 0] > 1
    assert stack.across[0, 1] != 0


def test_what_a_set_does_not_annotate_has_no_part_in_it() -> None:
    margins, length, targets = rows(400)
    masked = np.where(np.arange(400)[:, None] < 200, targets, -1).astype(np.int8)
    whole = STACKING.fit(margins, length, masked, ONCE[:400], BOTH)
    half = STACKING.fit(margins[:200], length[:200], targets[:200], ONCE[:200], BOTH)
    np.testing.assert_allclose(whole.across, half.across, atol=1e-6)


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    margins, length, targets = rows(6_000)
    twice = np.arange(6_000) < 2_000
    weighed = STACKING.fit(margins, length, targets, np.where(twice, 2, 1).astype(np.float32), BOTH)
    repeated = STACKING.fit(
        np.concatenate([margins, margins[twice]]),
        np.concatenate([length, length[twice]]),
        np.concatenate([targets, targets[twice]]),
        ONCE[:8_000],
        BOTH,
    )
    # nearly, as targets are smoothed by the number of rows
    np.testing.assert_allclose(weighed.across, repeated.across, atol=0.01)
    assert not np.allclose(weighed.across, STACKING.fit(margins, length, targets, ONCE[:6_000], BOTH).across, atol=0.01)


def test_folded_into_the_model_it_gives_the_same_margins() -> None:
    model = LinearModel(RANDOM.normal(size=(5, 2)).astype(np.float32), np.array([0.5, -1.0]))
    stack = Stack(RANDOM.normal(size=(2, 2)), RANDOM.normal(size=(2, 1)), np.array([0.1, 0.2]))
    inputs, length = RANDOM.normal(size=(7, 5)), RANDOM.random((7, 1)).astype(np.float32)
    apart = stack.apply(model.margins(csr_matrix(inputs)), length)  # type: ignore[no-untyped-call]
    together = stack.onto(model).margins(csr_matrix(np.column_stack([inputs, length])))  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_out_of_fold_a_row_has_no_part_in_its_own_margin() -> None:
    margins, length, targets = rows(300)
    folds, use = np.arange(300) % 3, np.arange(300) % 5 > 0
    stack, unseen = STACKING.fit_out_of_fold(margins, length, targets, ONCE[:300], folds, use)
    turned = targets.copy()
    turned[folds == 1] = 1 - turned[folds == 1]
    _, again = STACKING.fit_out_of_fold(margins, length, turned, ONCE[:300], folds, use)
    np.testing.assert_array_equal(unseen[folds == 1], again[folds == 1])
    assert not np.allclose(unseen[folds == 2], again[folds == 2])
    ignored = targets.copy()
    ignored[~use] = 1 - ignored[~use]
    again_stack, _ = STACKING.fit_out_of_fold(margins, length, ignored, ONCE[:300], folds, use)
    np.testing.assert_array_equal(again_stack.across, stack.across)


def test_of_a_label_that_the_rows_say_too_little_about_everything_stays_as_it_is() -> None:
    margins, length, targets = rows(300)
    folds, use = np.arange(300) % 3, np.ones(300, dtype=np.bool_)
    for said in (
        np.full(300, -1),  # a set that does not annotate it
        np.where(targets[:, 1] == 1, 1, -1),  # one that says yes only
        (folds == 0) & (targets[:, 0] == 1),  # all positives in one fold
    ):
        stack, unseen = STACKING.fit_out_of_fold(
            margins, length, np.column_stack([targets[:, 0], said]).astype(np.int8), ONCE[:300], folds, use
        )
        np.testing.assert_array_equal(unseen[:, 1], margins[:, 1])
        assert stack.across[1].tolist() == [0, 1]
        assert (stack.more[1].tolist(), stack.bias[1]) == ([0], 0)
        assert not np.allclose(unseen[:, 0], margins[:, 0])
