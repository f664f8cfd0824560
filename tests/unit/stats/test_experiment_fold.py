"""What a fold says in words beside the verdict; that it always comes to the same one stands in `test_state.py`."""

from typing import cast

import msgspec
import numpy as np
import pytest
from test_state import LABELS, WHO, Rig, cell, follow, pane

from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.thresholds import ThresholdSet
from streamtag.domain.verdict import State
from streamtag.events.panes import Pane, PlacedRows
from streamtag.events.unit_rows import UnitColumns, pack
from streamtag.stats.pane_log import PaneLog
from streamtag.stats.recompute import recompute


def split(rig: Rig) -> Experiment:
    candidate = NewCandidate(thresholds=ThresholdSet({"spam": 0.4, "insult": 0.5}))
    plan = ExperimentPlan("split", dict.fromkeys(LABELS, LabelPolicy()))
    return rig.changes.start(Request(plan, 0.1), candidate, WHO)


def counted(experiment: Experiment, control: range, candidate: range, shed: int) -> Pane:
    """Units of both arms, none of them tagged."""

    def block(units: range, offset: int, shed: int) -> PlacedRows:
        none = np.zeros((len(units), len(LABELS)), np.bool_)
        columns = UnitColumns(np.array(units, np.uint64), none, none)
        return PlacedRows(str(experiment.id), 0, "split", list(LABELS), pack(columns), shed, offset=offset)

    mine, theirs = block(control, 0, shed), block(candidate, 1, 0)
    untagged = [False] * len(control)
    return pane(1, 0, [cell(untagged, [mine]), cell([False] * len(candidate), [theirs], arm="candidate", release=2)])


@pytest.mark.parametrize(
    ("candidate", "shed", "part"),
    [(700, 7, None), (700, 8, "1%"), (700, 300, "30%"), (0, 300, "100%"), (1_500, 300, "17%")],
)
def test_an_assignment_that_looks_broken_where_much_was_shed_is_said_to_come_of_that_perhaps(
    candidate: int, shed: int, part: str | None
) -> None:
    """Nothing is lost there: batches are left out as the candidate is late with them, which the assignment decides."""
    rig = Rig()
    experiment = split(rig)
    rig.write(counted(experiment, range(10_000), range(20_000, 20_000 + candidate), shed))
    follow(rig)
    [judged] = rig.state.look()
    first, *more = judged.verdict.reasons
    assert judged.verdict.state is State.INVALID
    assert first.startswith("units do not fall into the arms as assigned")
    assert [f"{shed:,} events, about {part} of those" in one for one in more] == ([] if part is None else [True])
    ended = ExperimentLog(rig.store).find(experiment.id.number)
    stored = ExperimentLog(rig.store).verdict(ended)
    assert stored is not None
    again = recompute(cast(PaneLog, rig.log), ended, stored.document.panes_from, stored.document.panes_to, keep=720)
    assert msgspec.json.encode(again.document()) == stored.raw


def test_units_in_both_arms_are_not_said_to_come_of_what_was_shed() -> None:
    rig = Rig()
    experiment = split(rig)
    rig.write(counted(experiment, range(9_000), range(8_500, 10_000), 1_000))
    follow(rig)
    [judged] = rig.state.look()
    assert judged.verdict.reasons == ("500 of 10,000 units were given to both arms",)


def test_a_split_that_goes_on_says_nothing_of_what_was_shed() -> None:
    rig = Rig()
    experiment = split(rig)
    rig.write(counted(experiment, range(900), range(1_000, 1_100), 500))
    follow(rig)
    assert rig.state.look() == []
    assert [one["reasons"] for one in rig.state.evidence()] == [[]]
