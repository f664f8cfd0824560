"""The bound on what at_least_once may repeat: one transaction, from where one began."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from faults.findings import Findings
from faults.repeats import Repeats
from faults.tag_columns import Places

from streamtag.events.summary import CommitSummary

BATCH = 10


class Watched:
    """One input partition, one partition of the tags topic; transactions of 100 records, committed up to 500."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.repeats = Repeats(BATCH, self.findings)
        for start in range(0, 500, 100):
            self.tags(range(start, start + 100))
            self.range(start, start + 100)

    def tags(self, offsets: range) -> None:
        found = SimpleNamespace(
            partition=np.zeros(len(offsets), dtype=np.int64),
            into=np.zeros(len(offsets), dtype=np.int64),
            offset=np.array(offsets),
        )
        self.repeats.outcomes(cast(Places, found))

    def range(self, start: int, end: int, writer: str = "w") -> None:
        found = SimpleNamespace(partition=0, from_offset=start, to_offset=end, writer=writer)
        self.repeats.summary(cast(CommitSummary, found))

    def violations(self) -> dict[str, int]:
        self.repeats.finish()
        return self.findings.violations()


def test_what_is_never_repeated_is_no_run() -> None:
    watched = Watched()
    assert watched.violations() == {}
    assert (watched.repeats.longest, watched.repeats.transaction) == (0, 100)


@pytest.mark.parametrize("step", [1, 7], ids=["all of it", "what came through"])
def test_a_killed_transaction_may_come_again(step: int) -> None:
    watched = Watched()
    watched.tags(range(500, 600, step))  # killed here, nothing committed
    watched.tags(range(500, 600))
    watched.range(500, 600)
    assert watched.violations() == {}
    assert 90 < watched.repeats.longest <= 100


def test_a_transaction_may_come_again_and_again() -> None:
    watched = Watched()
    for _ in range(5):
        watched.tags(range(500, 600))
        watched.range(500, 600)
    assert watched.violations() == {}
    assert watched.repeats.longest == 100


def test_a_zombie_may_publish_the_transaction_it_had_open_long_after() -> None:
    watched = Watched()
    watched.range(100, 210, "zombie")
    watched.tags(range(100, 210))
    watched.range(500, 600)
    watched.tags(range(500, 600))
    assert watched.violations() == {}


def test_more_outcomes_than_a_transaction_holds_are_unbounded() -> None:
    watched = Watched()
    watched.tags(range(350, 500))
    assert watched.violations() == {"unbounded": 1}


def test_a_transaction_may_come_again_in_pieces() -> None:
    watched = Watched()
    watched.range(500, 600)
    for start in range(500, 600, 20):
        watched.range(start, start + 20)
    assert watched.violations() == {}


def test_to_go_on_from_before_what_was_committed_is_unbounded() -> None:
    watched = Watched()
    watched.range(300, 410)  # 400 was committed: the next transaction began there
    watched.range(410, 500)
    assert watched.violations() == {"unbounded": 2}


def test_a_repetition_that_begins_where_no_transaction_began_is_unbounded() -> None:
    watched = Watched()
    watched.range(450, 500)
    assert watched.violations() == {"unbounded": 1}
