"""Covered positions, against a count position by position."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamtag.stats import coverage as room
from streamtag.stats.coverage import Coverage, Place

RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)).map(lambda r: (r[0], r[0] + r[1])), max_size=20)


def add_all(ranges: list[tuple[int, int]]) -> tuple[Coverage, Counter[int]]:
    """The coverage, and how often each position was said to be covered again."""
    coverage, again = Coverage(), Counter[int]()
    for number, (start, end) in enumerate(ranges):
        for low, high in coverage.add(start, end, Place(0, number)):
            again.update(range(low, high))
    return coverage, again


@given(RANGES)
def test_positions_are_covered_missing_and_doubled_as_counted_one_by_one(ranges: list[tuple[int, int]]) -> None:
    coverage, again = add_all(ranges)
    times = Counter(position for start, end in ranges for position in range(start, end))
    assert {p for span in coverage.spans for p in range(span.start, span.end)} == set(times)
    assert again == Counter({position: n - 1 for position, n in times.items() if n > 1})
    if ranges:
        everything = range(min(times), max(times) + 1)
        assert {p for h in coverage.holes() for p in range(h.start, h.end)} == set(everything) - set(times)
        assert coverage.missing() == len(set(everything) - set(times))
    for left, right in pairwise(coverage.spans):
        assert left.end < right.start


@given(RANGES)
def test_a_hole_lies_between_the_two_summaries_that_it_names(ranges: list[tuple[int, int]]) -> None:
    coverage, _ = add_all(ranges)
    for hole in coverage.holes():
        assert ranges[hole.before.offset][1] == hole.start
        assert ranges[hole.after.offset][0] == hole.end


@given(RANGES, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_change_what_is_covered(ranges: list[tuple[int, int]], random: object) -> None:
    shuffled = list(ranges)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    spans = [[(s.start, s.end) for s in add_all(given_)[0].spans] for given_ in (ranges, shuffled)]
    assert spans[0] == spans[1]


def test_holes_beyond_the_limit_are_written_off_and_stay_counted() -> None:
    coverage = Coverage()
    for number in range(room.MAX_SPANS + 5):
        coverage.add(number * 10, number * 10 + 7, Place(0, number))
    assert len(coverage.spans) == room.MAX_SPANS
    assert (coverage.written_off_holes, coverage.written_off) == (5, 15)
    assert coverage.missing() == (room.MAX_SPANS + 4) * 3
