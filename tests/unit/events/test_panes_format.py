"""Panes on the wire."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.events import panes
from streamtag.events.panes import Cell, Pane, PlacedRows
from streamtag.events.summary import UnitRows

NO_UNITS = UnitRows(b"", b"", b"")


def pane(*, addendum: bool, cells: list[Cell] | None = None) -> Pane:
    return Pane(panes.VERSION, 3, 1_700_000_000_000, 10_000, 42, addendum, True, {"content/0": (5, 9)}, cells or [])


def cell(rows: list[PlacedRows]) -> Cell:
    return Cell(1, "0" * 64, "tiny@1", "1" * 64, 2, "2" * 64, "control", 0, 0, {}, {}, rows)


def rows(offset: int, labels: list[str], number: int = 1, phase: int = 0) -> PlacedRows:
    return PlacedRows(f"{number}-000000000000", phase, "shadow", labels, NO_UNITS, offset=offset)


ROWS = st.builds(
    rows,
    st.integers(0, 9),
    st.lists(st.sampled_from(["insult", "scam", "spam"]), min_size=1, unique=True),
    st.integers(1, 2),
    st.integers(0, 1),
)


def on_the_wire(one: Pane) -> Any:
    return msgspec.json.decode(panes.encode(one))


def test_revisions_of_a_pane_share_a_key_and_an_addendum_has_its_own() -> None:
    assert panes.key(pane(addendum=False)) == b"3/1700000000000"
    assert panes.key(pane(addendum=True)) == b"3/1700000000000/a41"


@given(st.lists(st.lists(ROWS, min_size=1).map(cell), max_size=3))
def test_what_is_written_is_read_back(cells: list[Cell]) -> None:
    one = pane(addendum=True, cells=cells)
    assert panes.decode(panes.encode(one)) == one


def test_labels_of_an_experiment_are_written_once_a_cell() -> None:
    found = [rows(offset, ["insult", "spam"]) for offset in range(3)]
    written = on_the_wire(pane(addendum=False, cells=[cell(found), cell(found[:1])]))
    assert [[one["labels"] for one in each["experiments"]] for each in written["cells"]] == [
        [["insult", "spam"], [], []],
        [["insult", "spam"]],
    ]


def test_rows_that_never_named_labels_are_refused() -> None:
    written = on_the_wire(pane(addendum=False, cells=[cell([rows(1, ["spam"])])]))
    written["cells"][0]["experiments"][0]["labels"] = []
    with pytest.raises(msgspec.ValidationError, match="name no labels"):
        panes.decode(msgspec.json.encode(written))
