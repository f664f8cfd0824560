"""The list of releases: the same on every page as in one piece, and no dearer for all that came before the page."""

from contextlib import suppress
from typing import Any

import pytest
from control_plane import ANNA, BUNDLE, DEFAULTS, LABELS, new_changes, new_store
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.release_list import listed_releases
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import ConflictError, NotFoundError, RefusedError

STRICTER = NewCandidate(thresholds=ThresholdSet({"spam": 0.6, "insult": 0.6}))
ALL = 10_000


class Plane:
    """A control plane on which experiments begin and end."""

    def __init__(self) -> None:
        self.store = new_store()
        self.log = ExperimentLog(self.store)
        self.releases = new_changes(self.store)
        self.experiments = ExperimentChanges(self.log)
        self.releases.seed(BUNDLE, LABELS, DEFAULTS)

    def step(self, action: str, number: int) -> None:
        """What is not possible now is left out."""
        with suppress(RefusedError, ConflictError, NotFoundError):
            if action in LABELS:
                self.experiments.start(judging(action), STRICTER, ANNA)
            elif action == "again":
                self.experiments.start(judging("spam"), self.experiments.release(number), ANNA)
            elif action == "move":
                self.releases.set_thresholds({"spam": 0.4 + number / 100}, ANNA)
            else:
                for experiment in self.log.running()[:1]:
                    self.experiments.stop(experiment.id.number, ANNA)


def judging(label: str) -> Request:
    return Request(ExperimentPlan("shadow", {label: LabelPolicy()}), 0.5, others=LabelPolicy(muted=True))


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([*LABELS, "again", "again", "move", "stop", "stop"]), st.integers(1, 9)), max_size=18
    )
)
@settings(max_examples=40, deadline=None)
def test_every_page_is_a_piece_of_the_whole_list(steps: list[tuple[str, int]]) -> None:
    plane = Plane()
    for action, number in steps:
        plane.step(action, number)
    whole = listed_releases(plane.log, ALL)
    numbers = [one.stored.document.number for one in whole]
    assert numbers == list(range(len(numbers), 0, -1))
    for limit in (1, 2, 4):
        for below in range(2, len(whole) + 2):
            page = listed_releases(plane.log, limit, below=below)
            assert page == [one for one in whole if one.stored.document.number < below][:limit]


@pytest.mark.parametrize("moves", [False, True])
def test_a_page_reads_no_more_for_all_the_experiments_before_it(moves: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = Plane()
    for n in range(20):
        plane.step("spam", 0)
        plane.step("stop", 0)
        if moves:
            plane.step("move", n)
    read: list[str] = []
    get = plane.store.client.get

    def counted(key: str) -> Any:
        read.append(key)
        return get(key)

    monkeypatch.setattr(plane.store.client, "get", counted)
    found = listed_releases(plane.log, 2)
    assert len(found) == 2
    assert len([key for key in read if "experiment-change:" in key]) <= 6
