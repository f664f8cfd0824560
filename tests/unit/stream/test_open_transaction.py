"""What is open: ranges touch, and after a doom nothing of it can commit."""

import threading

import pytest

from streamtag.stream.open_transaction import OpenTransaction
from streamtag.stream.processor import Range
from streamtag.stream.sink import Undone

ZERO = ("content", 0)


@pytest.fixture
def transaction() -> OpenTransaction:
    made = OpenTransaction()
    made.assign({ZERO: 5})
    return made


def test_ranges_of_transactions_touch_and_what_was_undone_comes_again(transaction: OpenTransaction) -> None:
    assert not transaction
    transaction.begin(1, 0.0)
    transaction.advance({ZERO: 9})
    assert transaction
    assert (transaction.covered(), transaction.following()) == ({ZERO: Range(5, 9)}, {ZERO: 9})
    transaction.undone()
    assert (bool(transaction), transaction.following()) == (False, {ZERO: 5})
    transaction.begin(1, 0.0)
    transaction.advance({ZERO: 7})
    transaction.committed()
    transaction.begin(1, 0.0)
    transaction.advance({ZERO: 11})
    assert transaction.covered() == {ZERO: Range(7, 11)}


def test_a_doomed_transaction_can_only_be_undone(transaction: OpenTransaction) -> None:
    transaction.begin(1, 0.0)
    transaction.advance({ZERO: 9})
    transaction.doom(2)
    for attempt in (
        lambda: transaction.advance({ZERO: 10}),
        transaction.covered,
        lambda: transaction.unless_doomed(lambda: "membership"),
    ):
        with pytest.raises(Undone, match="revoked"):
            attempt()
    transaction.undone()
    transaction.begin(2, 0.0)
    assert transaction.unless_doomed(lambda: "membership") == "membership"


def test_a_doom_waits_for_a_reader_of_what_a_commit_needs(transaction: OpenTransaction) -> None:
    """Either the commit goes with what was read before the doom, or it sees the doom: nothing in between."""
    transaction.begin(1, 0.0)
    doomed = threading.Event()

    def doom() -> None:
        transaction.doom(2)
        doomed.set()

    def read() -> bool:
        threading.Thread(target=doom, daemon=True).start()
        return doomed.wait(0.05)

    assert transaction.unless_doomed(read) is False
    assert doomed.wait(30)
