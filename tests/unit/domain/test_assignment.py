"""Who takes part in an experiment depends on the unit and the salt alone."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.domain.assignment import below, unit_hashes

SALT, OTHER = "00" * 16, "01" * 16
UNITS = [f"author {i}".encode() for i in range(20_000)]


def test_a_unit_has_one_hash_everywhere() -> None:
    whole = unit_hashes(UNITS[:100], SALT)
    assert [unit_hashes([unit], SALT)[0] for unit in UNITS[:100]] == whole.tolist()
    assert whole.dtype == np.uint64


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5).map(sorted))
def test_a_larger_share_keeps_everybody_who_was_in(shares: list[float]) -> None:
    hashes = unit_hashes(UNITS[:500], SALT)
    inside = [below(hashes, share) for share in shares]
    for smaller, larger in itertools.pairwise(inside):
        assert not (smaller & ~larger).any()


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9])
def test_a_share_is_what_it_says(share: float) -> None:
    n = len(UNITS)
    inside = int(below(unit_hashes(UNITS, SALT), share).sum())
    assert abs(inside - share * n) < 5 * np.sqrt(n * share * (1 - share))


def test_experiments_do_not_assign_alike() -> None:
    first, second = (below(unit_hashes(UNITS, salt), 0.5) for salt in (SALT, OTHER))
    assert abs(int((first == second).sum()) - len(UNITS) / 2) < 5 * np.sqrt(len(UNITS)) / 2


def test_everybody_and_nobody() -> None:
    edges = np.array([0, 2**64 - 1], dtype=np.uint64)
    assert below(edges, 1.0).all()
    assert not below(edges, 0.0).any()
    assert len(unit_hashes([], SALT)) == 0
