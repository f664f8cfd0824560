"""Whoever reads the log of panes, from wherever, adds up the latest revision of each pane once, and each row once."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.events.panes import Cell, Pane, PlacedRows
from streamtag.events.summary import UnitRows
from streamtag.stats.revisions import Memory, Revisions

NO_UNITS = UnitRows(b"", b"", b"")
OPEN = 4
"""Panes that the windower below keeps open, at most."""


def pane(shard: int, start: int, offsets: list[int], *, addendum: bool = False) -> Pane:
    """A pane of the summaries at these offsets, one event each."""
    rows = [PlacedRows("1-000000000000", 0, "shadow", ["spam"], NO_UNITS, offset=offset) for offset in offsets]
    cell = Cell(1, "a", "b@1", "b", 1, "c", "control", len(offsets), 0, {}, {}, rows)
    n = offsets[-1] + 1
    return Pane(1, shard, start, 10, n, addendum, True, {}, [cell])


@st.composite
def logs(draw: st.DrawFn) -> list[Pane]:
    """What windowers write of one or two shards: panes in bounded disorder, revisions, addenda, and all of it again."""
    log: list[Pane] = []
    for shard in range(draw(st.integers(1, 2))):
        written: list[Pane] = []
        panes: dict[int, list[int]] = {}
        horizon, offset = -1, 0
        for _ in range(draw(st.integers(0, 40))):
            start = 10 * draw(st.integers(0, 12))
            if start <= horizon:
                written.append(pane(shard, start, [offset], addendum=True))
            else:
                panes.setdefault(start, []).append(offset)
                written.append(pane(shard, start, panes[start]))
            offset += draw(st.integers(1, 3))
            while len(panes) > OPEN:
                horizon = min(panes)
                del panes[horizon]
        at = 0
        while at < len(written):  # a windower goes on from somewhere behind, with the same bytes
            end = draw(st.integers(at + 1, len(written)))
            log += written[at:end]
            at = draw(st.integers(max(0, at), end)) if end < len(written) and draw(st.booleans()) else end
    return log


def expected(log: list[Pane]) -> tuple[Counter[tuple[int, int]], set[tuple[int, int, int]]]:
    """Events per pane by the words of the contract, and all rows."""
    latest: dict[tuple[int, int], Pane] = {}
    added: dict[tuple[int, int, int], Pane] = {}
    for one in log:
        if one.addendum:
            added[one.shard, one.start_ms, one.n] = one
        elif one.n > (latest[one.shard, one.start_ms].n if (one.shard, one.start_ms) in latest else 0):
            latest[one.shard, one.start_ms] = one
    events: Counter[tuple[int, int]] = Counter()
    rows = set()
    for one in (*latest.values(), *added.values()):
        events[one.shard, one.start_ms] += one.cells[0].events
        assert not isinstance(one.cells[0].experiments, msgspec.UnsetType)
        rows |= {(one.shard, one.start_ms, found.offset) for found in one.cells[0].experiments}
    return events, rows


class Adding:
    """Adds up steps."""

    def __init__(self) -> None:
        self.revisions = Revisions(OPEN + 1)
        self.events: Counter[tuple[int, int]] = Counter()
        self.rows: Counter[tuple[int, int, int]] = Counter()

    def take(self, position: int, one: Pane) -> None:
        step = self.revisions.apply(position, one)
        if step is None:
            return
        before = 0 if step.before is None else step.before.cells[0].events
        self.events[one.shard, one.start_ms] += one.cells[0].events - before
        self.rows.update((one.shard, one.start_ms, rows.offset) for _, rows in step.rows)


@given(logs())
def test_each_pane_counts_by_its_latest_revision_and_each_row_once(log: list[Pane]) -> None:
    adding = Adding()
    for position, one in enumerate(log):
        adding.take(position, one)
    events, rows = expected(log)
    assert adding.events == events
    assert set(adding.rows) == rows
    assert set(adding.rows.values()) <= {1}


@given(logs(), st.data())
def test_a_restart_anywhere_changes_nothing(log: list[Pane], data: st.DataObject) -> None:
    adding = Adding()
    for position, one in enumerate(log):
        if data.draw(st.booleans()):
            raw = msgspec.json.encode(adding.revisions.memory())
            memory = msgspec.json.decode(raw, type=Memory)
            adding.revisions = Revisions(OPEN + 1, memory)
            for again in range(position if memory.position is None else memory.position, position):
                adding.revisions.apply(again, log[again])
        adding.take(position, one)
    events, rows = expected(log)
    assert (adding.events, set(adding.rows)) == (events, rows)
    assert set(adding.rows.values()) <= {1}


def test_what_is_kept_is_bounded() -> None:
    revisions = Revisions(3)
    for start in range(0, 1_000, 10):
        revisions.apply(start, pane(0, start, [start]))
    assert revisions.memory().position == 970
    assert revisions.apply(1_000, pane(0, 0, [0])) is None


@pytest.mark.parametrize("second", [False, True])
def test_one_summary_can_add_to_several_final_panes(second: bool) -> None:
    revisions = Revisions()
    assert revisions.apply(0, pane(0, 0, [7], addendum=True)) is not None
    start = 10 if second else 0
    assert (revisions.apply(1, pane(0, start, [7], addendum=True)) is not None) is second
