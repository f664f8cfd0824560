"""Positions: whatever is redone, handed over or taken back, committed ranges of a partition touch."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamtag.stream.positions import Positions
from streamtag.stream.processor import Partition, Range

PARTITIONS: list[Partition] = [("content", 0), ("content", 1), ("other", 0)]
partitions = st.sampled_from(PARTITIONS)


class Log(RuleBasedStateMachine):
    """A broker that remembers commits, and a worker that gains, reads, loses and redoes partitions."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = Positions()
        self.committed = dict.fromkeys(PARTITIONS, 0)
        self.processed: dict[Partition, int] = {}  # of owned partitions: first position not processed

    @rule(partition=partitions)
    def assign(self, partition: Partition) -> None:
        self.positions.assign(partition, self.committed[partition])
        self.processed[partition] = self.committed[partition]

    @rule(partition=partitions)
    def revoke(self, partition: Partition) -> None:
        self.positions.revoke([partition])
        self.processed.pop(partition, None)

    @precondition(lambda self: self.processed)
    @rule(data=st.data(), records=st.integers(0, 5))
    def process(self, data: st.DataObject, records: int) -> None:
        partition = data.draw(st.sampled_from(sorted(self.processed)))
        self.processed[partition] += records
        self.positions.advance(partition, self.processed[partition])

    @precondition(lambda self: self.processed)
    @rule(data=st.data())
    def go_back(self, data: st.DataObject) -> None:
        partition = data.draw(st.sampled_from(sorted(self.processed)))
        with pytest.raises(ValueError, match="lies before"):
            self.positions.advance(partition, self.processed[partition] - 1)

    @rule(partition=partitions)
    def advance_what_is_not_owned(self, partition: Partition) -> None:
        if partition not in self.processed:
            with pytest.raises(ValueError, match="not assigned"):
                self.positions.advance(partition, 10**9)

    @rule()
    def commit(self) -> None:
        for partition, covered in self.positions.open().items():
            assert covered.start == self.committed[partition], "a gap or an overlap"
            assert covered.end > covered.start
            self.committed[partition] = covered.end
        self.positions.commit()
        assert self.positions.open() == {}

    @rule()
    def undo(self) -> None:
        self.positions.undo()
        self.processed = {partition: self.committed[partition] for partition in self.processed}
        assert self.positions.open() == {}

    @invariant()
    def it_knows_the_next_position_of_what_is_owned_and_nothing_else(self) -> None:
        assert self.positions.all() == self.processed


TestLog = Log.TestCase
TestLog.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)


def test_a_partition_that_did_not_move_is_not_in_the_transaction() -> None:
    positions = Positions()
    positions.assign(("content", 0), 5)
    positions.assign(("content", 1), 7)
    positions.advance(("content", 0), 5)
    positions.advance(("content", 1), 9)
    assert positions.open() == {("content", 1): Range(7, 9)}


def test_a_partition_assigned_anew_forgets_what_was_open() -> None:
    positions = Positions()
    positions.assign(("content", 0), 5)
    positions.advance(("content", 0), 9)
    positions.assign(("content", 0), 5)
    assert positions.open() == {}
    assert positions.all() == {("content", 0): 5}
