"""Bisection: exactly the offenders are found, cheaply, and their neighbours get their results."""

import gc
import math
import weakref
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.stream.bisect import bisect


class Batches:
    """A batch function that fails on some items, and remembers what it was given."""

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, items: Sequence[int]) -> Sequence[str]:
        self.seen.append(tuple(items))
        for item in items:
            if item in self.bad:
                raise ValueError(item)
        return [str(item) for item in items]


@settings(deadline=None)
@given(st.integers(0, 600), st.data())
def test_exactly_the_offenders_fail_and_each_costs_a_logarithm(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, count - 1), max_size=8)) if count else set()
    run, splits = Batches(bad), []
    results, failures = bisect(run, range(count), lambda: splits.append(1))
    assert results == [None if i in bad else str(i) for i in range(count)]
    assert {i: error.args for i, error in failures.items()} == {i: (i,) for i in bad}
    levels = math.ceil(math.log2(count)) if count > 1 else 0
    assert len(run.seen) <= (count > 0) + 2 * len(bad) * levels
    assert len(splits) == sum(len(batch) > 1 and not bad.isdisjoint(batch) for batch in run.seen)


@settings(deadline=None)
@given(st.integers(1, 100), st.sets(st.integers(0, 99)))
def test_every_part_is_run_once_in_order(count: int, bad: set[int]) -> None:
    run = Batches(bad)
    bisect(run, range(count))
    assert len(set(run.seen)) == len(run.seen)
    done = [batch for batch in run.seen if len(batch) == 1 or bad.isdisjoint(batch)]
    assert [item for batch in done for item in batch] == list(range(count))


def test_a_batch_that_fails_as_a_whole_only_loses_nothing() -> None:
    def crowded(items: Sequence[int]) -> Sequence[int]:
        if len(items) > 3:
            raise MemoryError
        return items

    results, failures = bisect(crowded, range(10))
    assert (results, failures) == (list(range(10)), {})


def test_a_request_to_end_the_program_is_not_taken_for_a_bad_item() -> None:
    def interrupted(items: Sequence[int]) -> Sequence[int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bisect(interrupted, range(4))


def test_what_failed_holds_nothing_of_the_batch() -> None:
    class Item:
        pass

    def fail(items: Sequence[Item]) -> Sequence[str]:
        try:
            return [str(int("no number")) for _ in items]
        except ValueError as error:
            raise RuntimeError from error

    gc.disable()
    try:
        items = [Item()]
        gone = weakref.ref(items[0])
        _, failures = bisect(fail, items)
        assert list(failures) == [0]
        del items
        assert gone() is None
    finally:
        gc.enable()
