"""Panes on the wire."""

from streamtag.events import panes
from streamtag.events.panes import Pane


def pane(*, addendum: bool) -> Pane:
    return Pane(panes.VERSION, 3, 1_700_000_000_000, 10_000, 42, addendum, True, {"content/0": (5, 9)}, [])


def test_revisions_of_a_pane_share_a_key_and_an_addendum_has_its_own() -> None:
    assert panes.key(pane(addendum=False)) == b"3/1700000000000"
    assert panes.key(pane(addendum=True)) == b"3/1700000000000/a41"


def test_what_is_written_is_read_back() -> None:
    one = pane(addendum=True)
    assert panes.decode(panes.encode(one)) == one
