"""Scores on the grid of millionths: what is compared is what a reader reads and what the histogram counts."""

import json
from fractions import Fraction

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.domain.scores import BINS, MICRO, bin_of, from_micro, to_micro

micros = st.integers(0, MICRO)
probabilities = st.floats(0, 1, width=32)


def as_array(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@settings(deadline=None)
@given(st.lists(micros, min_size=1))
def test_a_reader_of_the_json_gets_exactly_the_number_that_was_compared(values: list[int]) -> None:
    compared = from_micro(as_array(values)).tolist()
    assert json.loads(msgspec.json.encode(compared)) == compared
    assert [float(f"{value // MICRO}.{value % MICRO:06d}") for value in values] == compared


@settings(deadline=None)
@given(st.lists(micros, min_size=1))
def test_the_millionths_can_be_read_back_from_the_published_decimal(values: list[int]) -> None:
    published = msgspec.json.decode(msgspec.json.encode(from_micro(as_array(values)).tolist()))
    assert [round(score * MICRO) for score in published] == values


@settings(deadline=None)
@given(st.lists(st.tuples(micros, micros), min_size=1))
def test_floats_compare_as_their_millionths_do(pairs: list[tuple[int, int]]) -> None:
    left, right = (from_micro(as_array([pair[side] for pair in pairs])) for side in (0, 1))
    assert (left >= right).tolist() == [a >= b for a, b in pairs]


@settings(deadline=None)
@given(st.lists(probabilities, min_size=1))
def test_rounding_moves_a_score_by_at_most_half_a_millionth(values: list[float]) -> None:
    scores = np.array(values, dtype=np.float32)
    micro = to_micro(scores)
    assert micro.dtype == np.int64
    for score, rounded in zip(scores.tolist(), micro.tolist(), strict=True):
        assert 0 <= rounded <= MICRO
        # a double holds the product of a float32 and a million almost exactly
        assert abs(Fraction(score) * MICRO - rounded) <= Fraction(1, 2) + Fraction(1, 10**9)


@settings(deadline=None)
@given(micros)
def test_the_bin_is_the_exact_floor_and_the_last_is_closed(value: int) -> None:
    [found] = bin_of(as_array([value])).tolist()
    assert found == min(int(Fraction(value, MICRO) * BINS), BINS - 1)


def test_every_bin_begins_at_its_edge() -> None:
    bins = np.arange(1, BINS)
    first = -(-bins * MICRO // BINS)  # the first millionth at or above the edge
    assert (bin_of(first) == bins).all()
    assert (bin_of(first - 1) == bins - 1).all()
    assert bin_of(as_array([0, MICRO - 1, MICRO])).tolist() == [0, BINS - 1, BINS - 1]


def test_shapes_are_kept() -> None:
    scores = np.zeros((3, 2), dtype=np.float32)
    assert to_micro(scores).shape == from_micro(to_micro(scores)).shape == bin_of(to_micro(scores)).shape == (3, 2)
    assert to_micro(scores[:0]).shape == (0, 2)
