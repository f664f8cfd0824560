"""Rows of a shadow are found among the events that could take part, whatever its candidate was late for."""

from itertools import combinations

from faults.subsequence import narrowest
from hypothesis import given
from hypothesis import strategies as st

few = st.lists(st.integers(0, 3), max_size=9)


@given(few, st.lists(st.integers(0, 3), max_size=4))
def test_the_narrowest_place_is_the_one_that_trying_all_of_them_finds(where: list[int], what: list[int]) -> None:
    every = [at for at in combinations(range(len(where)), len(what)) if [where[i] for i in at] == what]
    found = narrowest(where, what)
    assert (found is None) == (not every)
    if found:
        assert tuple(found) in every
        assert found[-1] - found[0] == min(at[-1] - at[0] for at in every)
