"""The recount of the read side finds each kind of difference that is planted, and nothing where nothing is."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from faults import statistics_recount
from faults.findings import Findings
from faults.progress import Recoveries
from made_up_read_side import ReadSide

from streamtag.domain.verdict import State
from streamtag.events.panes import Cell, Pane
from streamtag.events.summary import ExperimentRows, PaneCounts
from streamtag.stats.windows import WindowDocument

change = msgspec.structs.replace


def test_a_right_read_side_has_no_findings() -> None:
    side = ReadSide()
    assert side.findings() == {}
    assert side.verdict.state is State.FAIL
    assert {window.size for window in side.windows} == {"1m", "5m", "1h", "1d"}
    assert sum(pane.addendum for pane in side.panes) > 10
    assert len(side.verdict.phases) == 2


@pytest.mark.parametrize("own_bundle", [False, True])
def test_a_right_split_has_no_findings(own_bundle: bool) -> None:
    side = ReadSide("split", own_bundle=own_bundle)
    assert side.findings() == {}
    assert len(side.verdict.phases) == 2
    assert (side.verdict.shed > 0) == own_bundle
    assert side.verdict.state is not State.INVALID  # an assignment is sound, whatever a late candidate misses


def test_a_right_shadow_of_another_bundle_has_no_findings() -> None:
    side = ReadSide(own_bundle=True)
    assert side.findings() == {}
    assert side.verdict.shed > 50


# -- panes -----------------------------------------------------------------------------------------------------------


def of_panes(spoil: Callable[[list[Pane]], Any]) -> dict[str, int]:
    side = ReadSide()
    spoil(side.panes)
    return side.findings()


def last_revision(panes: list[Pane]) -> int:
    return max(position for position, pane in enumerate(panes) if not pane.addendum)


def first_addendum(panes: list[Pane]) -> int:
    return next(position for position, pane in enumerate(panes) if pane.addendum)


@pytest.mark.parametrize("which", [last_revision, first_addendum])
def test_a_pane_that_is_missing_is_found(which: Callable[[list[Pane]], int]) -> None:
    found = of_panes(lambda panes: panes.pop(which(panes)))
    assert {"panes", "panes of events"} <= found.keys()


def test_an_addendum_that_counts_twice_is_found() -> None:
    def again(panes: list[Pane]) -> None:
        one = panes[first_addendum(panes)]
        panes.append(change(one, n=one.n + 1))

    assert "panes" in of_panes(again)


def test_the_same_revision_with_other_bytes_is_found() -> None:
    def again(panes: list[Pane]) -> None:
        one = panes[last_revision(panes)]
        panes.append(change(one, positions={}))

    assert "panes" in of_panes(again)


def test_a_pane_that_is_not_exact_is_found() -> None:
    def doubt(panes: list[Pane]) -> None:
        panes[-1] = change(panes[-1], exact=False)

    assert of_panes(doubt) == {"inexact": 1}


def cells_changed() -> Iterator[tuple[str, Callable[[Cell], Cell]]]:
    """Each integer of a cell, one more."""
    yield "events", lambda cell: change(cell, events=cell.events + 1)
    yield "by arrival", lambda cell: change(cell, by_arrival=cell.by_arrival + 1)
    yield "alerts", lambda cell: _label(cell, lambda one: change(one, alerts=one.alerts + 1))
    yield "sum", lambda cell: _label(cell, lambda one: change(one, sum_micro=one.sum_micro + 1))
    yield "a bin", lambda cell: _label(cell, lambda one: change(one, counts=[one.counts[0] + 1, *one.counts[1:]]))
    yield "another bin", lambda cell: _label(cell, lambda one: change(one, bins=[*one.bins[:-1], one.bins[-1] + 1]))
    yield "pairs", lambda cell: change(cell, pairs={"greeting": {"spam": _pairs(cell) + 1}})
    yield "a segment", lambda cell: _segment(cell, lambda one: change(one, events=one.events + 1))
    yield "alerts of a segment", lambda cell: _segment(cell, lambda one: change(one, alerts={}))
    yield "release", lambda cell: change(cell, release_sha256="9" * 64)
    yield "arm", lambda cell: change(cell, arm="candidate" if cell.arm == "control" else "control")


def _pairs(cell: Cell) -> int:
    assert isinstance(cell.pairs, dict)
    return cell.pairs["greeting"]["spam"]


def _label(cell: Cell, spoil: Callable[[Any], Any]) -> Cell:
    return change(cell, labels={**cell.labels, "spam": spoil(cell.labels["spam"])})


def _segment(cell: Cell, spoil: Callable[[Any], Any]) -> Cell:
    lang = {**cell.segments["lang"], "de": spoil(cell.segments["lang"]["de"])}
    return change(cell, segments={"lang": lang})


CHANGES = dict(cells_changed())


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("cell", [0, 1])
def test_each_integer_of_a_pane_that_differs_is_found(what: str, cell: int) -> None:
    def spoil(panes: list[Pane]) -> None:
        at = last_revision(panes)
        cells = list(panes[at].cells)
        cells[cell] = CHANGES[what](cells[cell])
        panes[at] = change(panes[at], cells=cells)

    assert {"panes", "panes of events"} <= of_panes(spoil).keys()


# -- windows ---------------------------------------------------------------------------------------------------------


def of_windows(spoil: Callable[[list[WindowDocument]], Any]) -> dict[str, int]:
    side = ReadSide()
    spoil(side.windows)
    return side.findings()


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize(("size", "cell"), [("1m", 0), ("1d", 1)])
def test_each_integer_of_a_window_that_differs_is_found(size: str, what: str, cell: int) -> None:
    def spoil(windows: list[WindowDocument]) -> None:
        at = next(i for i, one in enumerate(windows) if one.size == size)
        cells = list(windows[at].cells)
        cells[cell] = CHANGES[what](cells[cell])
        windows[at] = change(windows[at], cells=cells)

    assert of_windows(spoil).keys() == {"windows"}


@pytest.mark.parametrize("size", ["1m", "5m", "1h", "1d"])
def test_a_window_that_is_missing_is_found(size: str) -> None:
    def lose(windows: list[WindowDocument]) -> None:
        windows.remove(next(one for one in windows if one.size == size))

    assert of_windows(lose).keys() == {"windows"}


def test_a_window_of_nothing_is_found() -> None:
    def invent(windows: list[WindowDocument]) -> None:
        windows.append(change(windows[0], start_ms=0))

    assert of_windows(invent).keys() == {"windows"}


def test_a_window_that_is_not_exact_is_found() -> None:
    def doubt(windows: list[WindowDocument]) -> None:
        windows[0] = change(windows[0], exact=False)

    assert of_windows(doubt) == {"inexact": 1}


# -- who took part ---------------------------------------------------------------------------------------------------


def of_rows(spoil: Callable[[ExperimentRows], ExperimentRows]) -> dict[str, int]:
    """The rows of one summary, in a pane that has several; the panes hold the right ones."""
    side = ReadSide()
    cell: PaneCounts = side.summaries[5].panes[-2]
    assert isinstance(cell.experiments, list)
    cell.experiments = [spoil(cell.experiments[0])]
    return side.findings()


def bits(raw: bytes) -> bytes:
    return bytes([raw[0] ^ 1, *raw[1:]])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: change(rows, units=change(rows.units, control=bits(rows.units.control))),
        lambda rows: change(rows, units=change(rows.units, candidate=bits(rows.units.candidate))),
        lambda rows: change(rows, units=change(rows.units, hashes=bits(rows.units.hashes))),
        lambda rows: change(rows, units=change(rows.units, hashes=rows.units.hashes[8:] + rows.units.hashes[:8])),
        lambda rows: change(rows, id="7-000000000000"),
        lambda rows: change(rows, shed=1),
        lambda rows: change(rows, mode="split"),
        lambda rows: change(rows, labels=["greeting", "spam"]),
    ],
    ids=["control", "candidate", "unit", "order", "experiment", "shed", "mode", "labels"],
)
def test_rows_that_are_not_of_the_tag_events_are_found(spoil: Callable[[ExperimentRows], ExperimentRows]) -> None:
    assert "rows" in of_rows(spoil)


def test_rows_that_stop_in_the_middle_are_found_by_what_was_counted_of_them() -> None:
    def cut(rows: ExperimentRows) -> ExperimentRows:
        units = rows.units
        return change(
            rows,
            units=change(units, hashes=units.hashes[:-8], control=units.control[:-1], candidate=units.candidate[:-1]),
        )

    assert {"panes", "panes of events"} <= of_rows(cut).keys()


Spoil = Callable[[ExperimentRows], ExperimentRows]


def of_split(arm: str, spoil: Spoil, *, own_bundle: bool = False) -> dict[str, int]:
    """Likewise of one arm of a split, in a summary for which the candidate was late now and then."""
    side = ReadSide("split", own_bundle=own_bundle)
    cells = [cell for cell in side.summaries[4].panes if cell.arm == arm and cell.experiments]
    cell = max(cells, key=lambda one: one.events)
    assert isinstance(cell.experiments, list)
    cell.experiments = [spoil(cell.experiments[0]), *cell.experiments[1:]]
    return side.findings()


ARMS = ("control", "candidate")


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: change(rows, units=change(rows.units, control=bits(rows.units.control))),
        lambda rows: change(rows, units=change(rows.units, candidate=bits(rows.units.candidate))),
        lambda rows: change(rows, units=change(rows.units, hashes=bits(rows.units.hashes))),
        lambda rows: change(rows, shed=rows.shed + 1_000),
        lambda rows: change(rows, mode="shadow"),
    ],
    ids=["control", "candidate", "unit", "shed", "mode"],
)
def test_rows_of_a_split_that_are_not_of_the_tag_events_are_found(arm: str, spoil: Spoil) -> None:
    assert "rows" in of_split(arm, spoil)
    assert "rows" in of_split(arm, spoil, own_bundle=True)


def test_a_candidate_that_decides_units_beyond_its_share_is_found() -> None:
    assert "rows" in of_split("candidate", lambda rows: change(rows, phase=1 - rows.phase))


@pytest.mark.parametrize("mode", ["shadow", "split"])
def test_a_late_candidate_that_is_passed_over_in_silence_is_found(mode: Literal["shadow", "split"]) -> None:
    """Events between its rows have none, and nothing says that they were shed."""
    side = ReadSide(mode, own_bundle=True)
    spoilt = 0
    for one in side.summaries:
        for cell in one.panes:
            if isinstance(cell.experiments, list) and any(
                rows.shed and len(rows.units.hashes) for rows in cell.experiments
            ):
                cell.experiments = [change(rows, shed=0) for rows in cell.experiments]
                spoilt += 1
    assert spoilt > 0
    assert "rows" in side.findings()


@pytest.mark.parametrize("arm", ARMS)
def test_an_event_that_is_said_to_have_an_arm_or_to_have_none_is_found(arm: str) -> None:
    side = ReadSide("split")
    mine = np.flatnonzero(side.events.candidate == (arm == "candidate"))
    side.events.split[mine[100]] = -1
    assert "rows" in side.findings()
    side = ReadSide("split", own_bundle=True)
    side.events.split[np.flatnonzero(side.events.split < 0)[0]] = 0
    assert "rows" in side.findings()


def test_a_candidate_that_decides_beside_its_experiment_is_found() -> None:
    side = ReadSide()
    side.events.candidate[7] = True
    assert "rows" in side.findings()


# -- verdicts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda v: change(v, units=v.units + 1),
        lambda v: change(v, state=State.PASS),
        lambda v: change(v, reasons=()),
        lambda v: change(v, panes_to=v.panes_to + 1),
        lambda v: change(v, panes_to=v.panes_to - 1),
        lambda v: change(v, panes_from=5),
        lambda v: change(v, shards={0: v.shards[0] - 1}),
        lambda v: change(v, shed=1),
        lambda v: change(v, conflicts=1),
        lambda v: change(v, decided_at=v.decided_at.replace(year=2020)),
        lambda v: change(v, peaks=change(v.peaks, worse={"spam": (1.0).hex()})),
        lambda v: change(v, phases=(v.phases[0], _one_more(v.phases[1]))),
        lambda v: change(v, phases=()),
    ],
    ids=[
        "units", "state", "reasons", "too far", "too short", "from", "shards", "shed", "conflicts", "moment", "peaks",
        "counts", "phases",
    ],
)  # fmt: skip
def test_each_part_of_a_verdict_that_differs_is_found(spoil: Callable[[Any], Any]) -> None:
    side = ReadSide()
    side.verdict = spoil(side.verdict)
    assert side.findings().keys() == {"verdicts"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda v: change(v, units=v.units - 1),
        lambda v: change(v, conflicts=1),
        lambda v: change(v, shed=v.shed - 1),
        lambda v: change(v, phases=(v.phases[0], replace(v.phases[1], control_units=v.phases[1].control_units + 1))),
        lambda v: change(v, phases=(v.phases[0], replace(v.phases[1], candidate_units=0))),
        lambda v: change(v, peaks=change(v.peaks, assignment=(1.0).hex())),
    ],
    ids=["units", "conflicts", "shed", "units of the control", "units of the candidate", "assignment"],
)
def test_each_part_of_the_verdict_on_a_split_that_differs_is_found(spoil: Callable[[Any], Any]) -> None:
    side = ReadSide("split", own_bundle=True)
    side.verdict = spoil(side.verdict)
    assert side.findings().keys() == {"verdicts"}


@pytest.mark.parametrize("late", [1, 20])
def test_evidence_that_begins_too_late_is_found(late: int) -> None:
    """Though all of it is what follows from the panes that it names."""
    side = ReadSide()
    with_rows = (i for i, pane in enumerate(side.panes) if any(isinstance(c.experiments, list) for c in pane.cells))
    start = next(with_rows) + late
    _, side.verdict = side.followed(start)
    assert side.verdict.panes_from == start
    assert side.findings() == {"verdicts": 1}


def test_evidence_may_begin_behind_panes_without_rows_of_its_experiment() -> None:
    side = ReadSide()
    side.panes.insert(0, change(side.panes[0], shard=7, cells=[]))
    _, side.verdict = side.followed(1)
    assert "verdicts" not in side.findings()


def _one_more(phase: Any) -> Any:
    alone, missed, both = phase.labels["spam"]
    return type(phase)(
        phase.share, phase.control_units, phase.candidate_units, {**phase.labels, "spam": (alone, missed + 1, both)}
    )


def test_a_unit_that_counts_twice_is_found() -> None:
    """Ids come twice in the input; a verdict that counts rows instead of units has other numbers."""
    side = ReadSide()
    units = len(np.unique(side.events.ordinal))
    assert units < len(side.events)
    side.events.ordinal[:] = np.arange(len(side.events))  # as if all of them were different
    assert {"rows"} <= side.findings().keys()


# -- commands --------------------------------------------------------------------------------------------------------


def test_a_ledger_that_is_not_in_order_or_adds_up_to_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    side, found = ReadSide(), Findings()
    sums = {name: sum(getattr(one, name) for one in side.summaries) for name in ("tagged", "clean", "dead", "skipped")}
    said: dict[str, Any] = {"ok": True, "partitions": [{**sums, "in": sum(sums.values())}]}
    monkeypatch.setattr(statistics_recount, "command", lambda *_: said)
    statistics_recount.check_ledger({}, side.logs(), found)
    assert found.violations() == {}
    said["partitions"][0]["clean"] += 1
    statistics_recount.check_ledger({}, side.logs(), found)
    assert found.violations() == {"ledger": 1}
    said["ok"] = False
    statistics_recount.check_ledger({}, side.logs(), found)
    assert found.violations() == {"ledger": 2}


def test_a_verdict_that_is_not_verified_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found, said = Findings(), {"equal": True}
    monkeypatch.setattr(statistics_recount, "command", lambda *_: said)
    assert statistics_recount.check_commands({}, [1, 2], found) == 4
    assert found.violations() == {}
    said["equal"] = False
    statistics_recount.check_commands({}, [1], found)
    monkeypatch.setattr(statistics_recount, "command", lambda *_: "exit code 4: Kafka does not answer")
    statistics_recount.check_commands({}, [1], found)
    assert found.violations() == {"verify": 4}


# -- recovery --------------------------------------------------------------------------------------------------------


def test_who_does_not_recover_in_time_is_found_once() -> None:
    now, found = [1.0], Findings()
    recoveries = Recoveries(60, found, clock=lambda: now[0], longest_look_s=100)
    back = {"windows": False, "stats": False}
    recoveries.add("killed", "windows", lambda: back["windows"])
    recoveries.add("frozen", "stats", lambda: back["stats"])
    recoveries.look()
    now[0] = 6.0
    back["windows"] = True
    assert not recoveries.look()
    assert recoveries.took_s == {"killed": [5.0]}
    assert (recoveries.waits_s("windows"), recoveries.waits_s("stats")) == (0.0, 5.0)
    now[0] = 61.0
    assert recoveries.look()
    assert recoveries.look()
    assert found.violations() == {"unrecovered": 1}


def test_a_machine_that_has_no_time_to_look_has_none_to_recover() -> None:
    now, found = [1.0], Findings()
    recoveries = Recoveries(60, found, clock=lambda: now[0])
    recoveries.add("killed", "windows", lambda: False)
    recoveries.look()
    for _ in range(100):
        now[0] += 2.0  # where 0.2 s were meant
        recoveries.look()
    assert found.violations() == {}
    assert (recoveries.patience_s, recoveries.starved_s) == (50.0, 150.0)
    for _ in range(100):
        now[0] += 0.2
        recoveries.look()
    assert found.violations() == {"unrecovered": 1}
