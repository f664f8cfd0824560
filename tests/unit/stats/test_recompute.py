"""What a verdict is computed from again: the panes, or the summaries, which must not be taken from the panes' word."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any, cast

import pytest
import summary_factory
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE
from hypothesis import given, settings
from hypothesis import strategies as st
from test_state import LABELS, NOW, Log, Rig, cell, follow, pane, rows

from streamtag.control.experiment_log import Experiment
from streamtag.domain.verdict import State
from streamtag.errors import RefusedError
from streamtag.events import panes as wire
from streamtag.events.panes import Pane, PlacedRows
from streamtag.events.summary import CommitSummary, ExperimentRows, LabelCounts
from streamtag.stats.pane_log import PaneLog
from streamtag.stats.recompute import recompute, recompute_from_source
from streamtag.stream.topic_reader import TopicReader

KEEP = 720
START_MS = NOW // 60_000 * 60_000


class Record:
    """Of the stats topic."""

    def __init__(self, offset: int, one: CommitSummary, taken_ms: int | None = None) -> None:
        self._offset = offset
        self._stamp = (TIMESTAMP_NOT_AVAILABLE, -1) if taken_ms is None else (TIMESTAMP_LOG_APPEND_TIME, taken_ms)
        self._key, self._value = summary_factory.record(one)

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return self._stamp

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset


class Source:
    """A stats topic of one partition; the experiment begins with the third record; those before ``low`` are gone."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.low = 0

    def bounds(self, _topic: str) -> dict[int, tuple[int, int]]:
        return {0: (self.low, len(self.records))}

    def from_time(self, _topic: str, _at_ms: int) -> dict[int, tuple[int, int]]:
        return {0: (max(2, self.low), len(self.records))}

    def batches(self, _topic: str, ranges: Mapping[int, tuple[int, int]]) -> Iterator[list[Record]]:
        for low, high in ranges.values():
            yield self.records[low:high]


def written(offset: int, start_s: int, found: PlacedRows | None, events: int, *, ahead_s: int = 0) -> Record:
    """A summary with these rows in one cell; of a tagger whose clock is so much ahead of the broker's."""
    labels = {label: LabelCounts(0, 0, [0], [events]) for label in LABELS}
    one = summary_factory.make(offset, offset + events, pane_ms=10_000, tagged=0, clean=events, in_=events)
    counted = one.panes[0]
    counted.start_ms, counted.labels = START_MS + 1000 * (start_s + ahead_s), labels
    if found is not None:
        counted.experiments = [ExperimentRows(found.id, found.phase, found.mode, found.labels, found.units, found.shed)]
    return Record(offset, one, START_MS + 1000 * start_s if ahead_s else None)


Moves = list[tuple[int, list[bool]]]
MOVES = st.lists(st.tuples(st.integers(0, 4), st.lists(st.booleans(), min_size=1, max_size=4)), min_size=3, max_size=20)


def both(experiment: Experiment, moves: Moves, *, groups: int = 3, ahead_s: int = 0) -> tuple[list[Pane], Source]:
    """The panes, a revision for each summary, and these; units come again after every ``groups`` summaries."""
    held: dict[int, list[PlacedRows]] = {}
    events: dict[int, list[bool]] = {}
    found, records = [], []
    for offset, (place, alerts) in enumerate(moves):
        units = [offset % groups * 10 + i for i in range(len(alerts))]
        mine = rows(experiment, offset, units, alerts, [not a for a in alerts]) if offset >= 2 else None
        held.setdefault(place, []).extend([mine] if mine else [])
        events.setdefault(place, []).extend(alerts)
        found.append(pane(offset + 1, place * 10, [cell(list(events[place]), list(held[place]))]))
        records.append(written(offset, place * 10, mine, len(alerts), ahead_s=ahead_s))
    return found, Source(records)


def document(rig: Rig, experiment: Experiment, source: Source | None = None) -> Any:
    log, start, end = cast(PaneLog, rig.log), rig.log.low, len(rig.log.values)
    facts: Any = {"keep": KEEP, "expired": start > 0}
    if source is None:
        return recompute(log, experiment, start, end, **facts).document()
    reader = cast(TopicReader, source)
    return recompute_from_source(log, reader, "stats", experiment, start, end, **facts).document()


@settings(max_examples=40, deadline=None)
@given(MOVES, st.sampled_from([0, 30 * 86_400]))
def test_panes_and_the_summaries_they_were_made_of_come_to_the_same_document(moves: Moves, ahead_s: int) -> None:
    rig = Rig()
    experiment = rig.start(alpha=1e-9)
    panes, source = both(experiment, moves, ahead_s=ahead_s)
    rig.write(*panes)
    follow(rig)
    assert document(rig, experiment) == document(rig, experiment, source)
    [fold] = rig.state.evidence()
    assert fold["units"] == document(rig, experiment).units


@settings(max_examples=40, deadline=None)
@given(MOVES, st.data())
def test_both_come_to_the_same_where_the_first_panes_have_expired(moves: Moves, data: st.DataObject) -> None:
    rig = Rig()
    experiment = rig.start(alpha=1e-9)
    panes, source = both(experiment, moves)
    rig.write(*panes)
    rig.log.low = data.draw(st.integers(1, len(panes)))
    found = document(rig, experiment)
    assert found == document(rig, experiment, source)
    assert (found.state, found.expired) == (State.INCONCLUSIVE, True)


@settings(max_examples=40, deadline=None)
@given(MOVES, st.data())
def test_repeats_change_no_integer_and_no_bit(moves: Moves, data: st.DataObject) -> None:
    once, more = Rig(), Rig()
    experiment = once.start(alpha=1e-9)
    panes, _ = both(experiment, moves)
    once.write(*panes)
    for i, one in enumerate(panes):
        more.write(one, *(panes[j] for j in data.draw(st.lists(st.integers(0, i), max_size=2))))
    a, b = document(once, experiment), document(more, experiment)
    assert (a.phases, a.units, a.peaks, a.state, a.shards) == (b.phases, b.units, b.peaks, b.state, b.shards)


def test_rows_that_the_panes_left_out_are_found_in_the_summaries_wherever_they_stand() -> None:
    rig = Rig()
    experiment = rig.start(alpha=1e-9)
    moves: Moves = [(i // 4, [True, False]) for i in range(12)]
    panes, source = both(experiment, moves, groups=len(moves))
    honest = Log([wire.encode(one) for one in panes])
    for left_out in range(2, 12):
        cut = [pane_without(one, left_out) for one in panes]
        rig.log = Log([wire.encode(one) for one in cut])
        panes_say, summaries_say = document(rig, experiment), document(rig, experiment, source)
        rig.log = honest
        assert summaries_say == document(rig, experiment)
        assert panes_say != summaries_say


@pytest.mark.parametrize(("low", "there"), [(2, True), (3, False)])
def test_summaries_that_have_expired_are_named_and_not_taken_for_a_difference(low: int, there: bool) -> None:
    rig = Rig()
    experiment = rig.start(alpha=1e-9)
    panes, source = both(experiment, [(0, [True, False])] * 6)
    rig.write(*panes)
    source.low = low
    with nullcontext() if there else pytest.raises(RefusedError, match="stats/0: summaries from offset 2 on"):
        assert document(rig, experiment, source) == document(rig, experiment)


def pane_without(one: Pane, offset: int) -> Pane:
    """As if the windower had not seen the rows of a summary."""
    counted = one.cells[0]
    found = [] if not isinstance(counted.experiments, list) else [r for r in counted.experiments if r.offset != offset]
    return pane(one.n, (one.start_ms - START_MS) // 1000, [cell([False] * counted.events, found)])
