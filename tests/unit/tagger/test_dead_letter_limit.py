"""The dead-letter limit: it sees streams of dead letters, not accidents, and forgets what was undone."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.settings import DeadLetterSettings
from streamtag.stream.processor import Partition
from streamtag.tagger.limit import DeadLetterLimit

ZERO: Partition = ("content", 0)
ONE: Partition = ("content", 1)
Outcomes = list[tuple[Partition, bool]]


def limit(**settings: Any) -> DeadLetterLimit:
    loose = {"max_consecutive": 10**6, "max_ratio": 1.0, "window": 100, "min_records": 10}
    return DeadLetterLimit(DeadLetterSettings.model_validate({**loose, **settings}))


def outcomes(dead: int, clean: int = 0, partition: Partition = ZERO) -> Outcomes:
    return [(partition, True)] * dead + [(partition, False)] * clean


# -- in a row ----------------------------------------------------------------------------------------------------------


def test_a_row_counts_over_batches_and_transactions_and_per_partition() -> None:
    found = limit(max_consecutive=5)
    found.report(outcomes(3) + outcomes(3, partition=ONE))
    found.committed()
    found.report(outcomes(2) + outcomes(2, partition=ONE))
    assert found.exceeded() is None
    found.report(outcomes(1))
    assert found.exceeded() == "6 dead letters in a row on content/0 (dead_letters.max_consecutive is 5)"


@pytest.mark.parametrize("how", ["in the batch", "in a clean batch"])
def test_one_good_record_ends_a_row(how: str) -> None:
    found = limit(max_consecutive=5)
    found.report(outcomes(5, clean=1 if how == "in the batch" else 0))
    if how == "in a clean batch":
        found.report_clean({ZERO}, 1)
    found.report(outcomes(5))
    assert found.exceeded() is None
    found.committed()
    found.report(outcomes(1))
    assert found.exceeded() is not None


def test_a_row_is_too_long_whatever_follows_it_in_the_batch() -> None:
    """Else it would depend on where batches are cut."""
    found = limit(max_consecutive=5)
    found.report(outcomes(6, clean=1))
    assert found.exceeded() == "6 dead letters in a row on content/0 (dead_letters.max_consecutive is 5)"
    found.undo()
    assert found.exceeded() is None


def test_a_good_record_of_another_partition_does_not_end_a_row() -> None:
    found = limit(max_consecutive=5)
    found.report(outcomes(5))
    found.report_clean({ONE}, 100)
    found.report(outcomes(1))
    assert "content/0" in (found.exceeded() or "")


# -- partitions that come and go ---------------------------------------------------------------------------------------


def committed(found: DeadLetterLimit, dead: int, end: int) -> None:
    found.report(outcomes(dead))
    found.closing({ZERO: end})
    found.committed()


def test_a_row_does_not_go_on_over_what_another_worker_has_read() -> None:
    found = limit(max_consecutive=5)
    committed(found, dead=4, end=4)
    found.assigned({ZERO: 1_000_000}, {})
    found.report(outcomes(5))
    assert found.exceeded() is None
    found.report(outcomes(1))
    assert found.exceeded() == "6 dead letters in a row on content/0 (dead_letters.max_consecutive is 5)"


def test_a_row_goes_on_where_it_was_left() -> None:
    """A rebalance that takes other partitions, and an undone transaction, have all of them assigned anew."""
    found = limit(max_consecutive=5)
    committed(found, dead=4, end=4)
    found.report(outcomes(1))
    found.closing({ZERO: 5})
    found.undo()
    found.assigned({ZERO: 4, ONE: 7}, {})
    found.report(outcomes(1))
    assert found.exceeded() is None
    found.report(outcomes(1))
    assert found.exceeded() is not None


def test_what_is_read_again_before_its_transaction_is_undone_counts_once() -> None:
    """A worker that was slow finds out at its next commit that the transaction is doomed, and reads on until then."""
    found = limit(max_consecutive=5)
    committed(found, dead=2, end=2)
    found.report(outcomes(3))
    found.assigned({ZERO: 2}, {})
    found.report(outcomes(3))
    assert found.exceeded() is None
    found.report(outcomes(1))
    assert found.exceeded() is not None


def test_only_the_rows_of_partitions_that_were_elsewhere_are_forgotten() -> None:
    found = limit(max_consecutive=5)
    committed(found, dead=4, end=4)
    found.assigned({ONE: 9}, {})
    found.report(outcomes(2))
    assert found.exceeded() is not None


# -- the ratio ---------------------------------------------------------------------------------------------------------


def test_the_ratio_counts_from_the_minimum_on_and_over_the_window_only() -> None:
    found = limit(max_ratio=0.5, window=100, min_records=10)
    found.report(outcomes(9))
    assert found.exceeded() is None
    found.report(outcomes(1))
    assert found.exceeded() == "10 of the last 10 records are dead letters (dead_letters.max_ratio is 0.5)"
    found.report_clean({ZERO}, 10)
    assert found.exceeded() is None
    found.committed()
    for _ in range(10):
        found.report_clean({ZERO}, 10)
        found.committed()
    found.report(outcomes(51, clean=49))
    assert found.exceeded() is not None


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from([ZERO, ONE]), st.booleans()), max_size=12),
            st.sampled_from(["commit", "commit", "undo", "nothing"]),
        ),
        max_size=20,
    )
)
def test_it_agrees_with_a_naive_recount(steps: list[tuple[Outcomes, str]]) -> None:
    found = limit(max_consecutive=4, max_ratio=0.4, window=20, min_records=10)
    committed: list[Outcomes] = []
    opened: list[Outcomes] = []
    for batch, end in steps:
        if any(dead for _, dead in batch):
            found.report(batch)
        else:
            found.report_clean({partition for partition, _ in batch}, len(batch))
        opened.append(batch)
        assert (found.exceeded() is not None) == _exceeded(committed, opened)
        if end == "commit":
            found.committed()
            committed += opened
        elif end == "undo":
            found.undo()
        if end != "nothing":
            opened = []


def _exceeded(committed: list[Outcomes], opened: list[Outcomes]) -> bool:
    batches = committed + opened
    for touched in {partition for batch in opened for partition, _ in batch}:
        row = 0
        for number, batch in enumerate(batches):
            for dead in [dead for partition, dead in batch if partition == touched]:
                row = row + 1 if dead else 0
                if row > 4 and number >= len(committed):
                    return True
    recent: Outcomes = []
    for batch in reversed(batches):
        recent += batch
        if len(recent) >= 20:
            break
    return len(recent) >= 10 and sum(dead for _, dead in recent) > 0.4 * len(recent)


# -- undone, lifted ----------------------------------------------------------------------------------------------------


def test_what_was_undone_comes_again_and_counts_once() -> None:
    found = limit(max_consecutive=5)
    for _ in range(3):
        found.report(outcomes(4))
        assert found.exceeded() is None
        found.undo()
    found.report(outcomes(5))
    assert found.exceeded() is None


def test_what_was_there_when_a_stop_was_lifted_does_not_count() -> None:
    found = limit()
    assert found.counts(ZERO, 0)
    found.pardon({ZERO: 6})
    assert [found.counts(ZERO, offset) for offset in (0, 5, 6)] == [False, False, True]
    assert found.counts(ONE, 0)
    found.report(outcomes(1))
    found.committed()
    found.undo()
    assert not found.counts(ZERO, 5), "however many transactions it takes"


def test_a_pardon_is_over_once_it_is_passed() -> None:
    found = limit()
    found.pardon({ZERO: 6, ONE: 9})
    assert found.pardons({ZERO})
    found.closing({ZERO: 6, ONE: 8})
    found.committed()
    assert [found.pardons({ZERO}), found.pardons({ONE})] == [False, True]


def test_a_pardon_does_not_hold_for_a_topic_that_was_made_anew() -> None:
    found = limit()
    found.pardon({ZERO: 6, ONE: 9})
    found.assigned({ZERO: 0, ONE: 0}, {ZERO: 5, ONE: 9})
    assert [found.counts(ZERO, 0), found.counts(ONE, 0)] == [True, False]


def test_a_lifted_stop_counts_anew() -> None:
    found = limit(max_consecutive=5)
    committed(found, dead=4, end=4)
    found.report(outcomes(2))
    assert found.exceeded()
    found.undo()  # the runner, as the tagger held
    found.pardon({})
    found.report(outcomes(5))
    assert found.exceeded() is None
    found.report(outcomes(1))
    assert found.exceeded() is not None


def test_a_lifted_stop_forgets_the_bad_stretch_before_it() -> None:
    found = limit(max_ratio=0.5, window=100, min_records=10)
    found.report(outcomes(40, clean=20))
    found.committed()
    found.pardon({})
    found.report_clean({ZERO}, 10)
    found.committed()
    found.report(outcomes(1))
    assert found.exceeded() is None
