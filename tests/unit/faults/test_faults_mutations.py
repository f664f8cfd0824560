"""What counts as a deliberate defect that was noticed."""

import pytest
from faults import defects
from faults.mutations import _right

DEFECT = defects.BY_NAME["no_rewind"]


@pytest.mark.parametrize("found", ["gap", "lost"])
def test_what_a_defect_leads_to_shows_that_it_was_noticed(found: str) -> None:
    assert _right(DEFECT, {found: 1, "unrecovered": 1})


@pytest.mark.parametrize("found", [{}, {"unrecovered": 2, "exited": 9}, {"threshold": 1}, {"gap": 1, "harness": 1}])
def test_a_worker_that_falls_over_a_defect_has_not_shown_it(found: dict[str, int]) -> None:
    assert not _right(DEFECT, found)


def test_without_a_defect_nothing_may_be_found() -> None:
    assert _right(None, {})
    assert not _right(None, {"unrecovered": 1})
