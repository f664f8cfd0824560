"""Adding up cells: in any order, of any labels, and nothing that contradicts itself."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_log import NOW, counts, numbers

from streamtag.domain.scores import MICRO
from streamtag.events.panes import Cell, PlacedRows
from streamtag.events.summary import ExperimentRows, LabelCounts, PaneCounts, UnitRows
from streamtag.stats.cells import CellSums, Columns, Identity, InvalidCellError, add_to, all_columns, columns

ROWS = ExperimentRows("3-0123456789ab", 0, "shadow", ["spam"], UnitRows(b"8 bytes.", b"\x01", b"\x00"), shed=2)


def added(cells: Sequence[PaneCounts | Cell]) -> list[Cell]:
    sums: dict[Identity, CellSums] = {}
    for offset, cell in enumerate(cells):
        add_to(sums, [columns(cell)], offset)
    return [sums[identity].cell() for identity in sorted(sums)]


def cells_of(labels: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[PaneCounts]]:
    scores = st.lists(st.integers(0, MICRO), min_size=1, max_size=5)
    arm = st.sampled_from(["control", "candidate"])
    return st.lists(st.builds(counts, st.just(NOW), scores, labels, arm=arm), max_size=6)


CELLS = cells_of(st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True))
OF_ONE_BUNDLE = cells_of(st.permutations(["a", "b", "c"]))


@given(CELLS, st.randoms(use_true_random=False))
def test_sums_hold_every_integer_and_do_not_depend_on_order(cells: list[PaneCounts], random: object) -> None:
    found = added(cells)
    assert numbers((NOW, cell) for cell in found) == sum((numbers([(NOW, cell)]) for cell in cells), Counter())
    random.shuffle(cells)  # type: ignore[attr-defined]
    assert added(cells) == found


@given(CELLS)
def test_cells_taken_apart_together_are_as_each_by_itself(cells: list[PaneCounts]) -> None:
    def facts(one: Columns) -> tuple[object, ...]:
        arrays = (one.alerts, one.sum_micro, one.places, one.counts)
        return one.identity, one.cell, one.labels, *(array.tolist() for array in arrays)

    assert [facts(one) for one in all_columns(cells)] == [facts(columns(cell)) for cell in cells]


def test_a_cell_without_events_may_have_labels_without_bins() -> None:
    empty = counts(NOW, [])
    [first, second] = all_columns([empty, GOOD])
    assert (first.counts.tolist(), second.counts.tolist()) == ([], columns(GOOD).counts.tolist())
    with pytest.raises(InvalidCellError, match="is empty"):
        all_columns([GOOD, msgspec.structs.replace(empty, events=1)])


@given(OF_ONE_BUNDLE, OF_ONE_BUNDLE)
def test_sums_of_sums_are_the_sums(some: list[PaneCounts], others: list[PaneCounts]) -> None:
    assert added([*added(some), *added(others)]) == added([*some, *others])


def test_rows_of_experiments_keep_the_offsets_of_their_summaries() -> None:
    plain, taking = counts(NOW, [1]), counts(NOW, [1])
    taking.experiments = [ROWS]
    [found] = added([plain, taking, plain, taking])
    assert found.experiments == [
        PlacedRows("3-0123456789ab", 0, "shadow", ["spam"], ROWS.units, 2, offset=offset) for offset in (1, 3)
    ]
    [again] = added([found])
    assert again.experiments == found.experiments
    assert b"experiments" not in msgspec.json.encode(added([plain])[0])


GOOD = counts(NOW, [600_000, 700_000], ["a", "b"])


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (LabelCounts(2, 0, [1, 2], [2]), "as many counts"),
        (LabelCounts(2, 0, [2, 1], [1, 1]), "ascend"),
        (LabelCounts(2, 0, [1, 1], [1, 1]), "ascend"),
        (LabelCounts(2, 0, [1024], [2]), "none of a histogram"),
        (LabelCounts(2, 0, [-1], [2]), "none of a histogram"),
        (LabelCounts(2, 0, [1, 2], [0, 2]), "is empty"),
        (LabelCounts(2, 0, [], []), "is empty"),
        (LabelCounts(2, 0, [1], [3]), "does not hold the 2 events"),
        (LabelCounts(3, 0, [1], [2]), "more alerts than 2"),
        (LabelCounts(-1, 0, [1], [2]), "negative"),
        (LabelCounts(2, -1, [1], [2]), "negative"),
        (LabelCounts(2, 2 * MICRO + 1, [1], [2]), "more than 2 events"),
        (LabelCounts(2, 2**64 - 1, [1], [2]), "63 bits"),
    ],
)
@pytest.mark.parametrize("labels", [("a", "bad"), ("bad", "a"), ("bad",)])
def test_a_label_that_contradicts_its_cell_is_refused(wrong: LabelCounts, why: str, labels: tuple[str, ...]) -> None:
    cell = msgspec.structs.replace(GOOD, labels={name: wrong if name == "bad" else GOOD.labels["a"] for name in labels})
    with pytest.raises(InvalidCellError, match=why):
        columns(cell)


@pytest.mark.parametrize("by_arrival", [-1, 3])
def test_no_more_events_are_placed_by_arrival_than_there_are(by_arrival: int) -> None:
    with pytest.raises(InvalidCellError, match="of 2 events were placed by arrival"):
        columns(msgspec.structs.replace(GOOD, by_arrival=by_arrival))


def test_a_cell_without_labels_or_events_is_fine() -> None:
    empty = msgspec.structs.replace(GOOD, events=0, labels={"a": LabelCounts(0, 0, [], [])})
    bare = msgspec.structs.replace(GOOD, labels={})
    [found] = added([empty, bare])
    assert (found.events, found.labels) == (2, {"a": LabelCounts(0, 0, [], [])})
