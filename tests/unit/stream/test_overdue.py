"""Calls that may hang: given up in time, and nothing that was called stays longer than it must."""

import contextlib
import gc
import threading
import weakref
from collections.abc import Iterator

import pytest
from services import wait_until

from streamtag.stream.overdue import OverdueError, call_within


class Client:
    """Something to be let go of."""

    def __init__(self) -> None:
        self.back = threading.Event()

    def fail(self) -> None:
        raise ValueError("no")

    def hang_and_fail(self) -> None:
        assert self.back.wait(20)
        raise ValueError("no")


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_what_a_call_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="no"):
        call_within(5, Client().fail)


@pytest.mark.usefixtures("no_collector")
def test_a_client_whose_call_failed_is_let_go_of_at_once() -> None:
    client = Client()
    gone = weakref.ref(client)
    with contextlib.suppress(ValueError):
        call_within(5, client.fail)
    del client
    wait_until(lambda: gone() is None, 5, "let go of")


@pytest.mark.usefixtures("no_collector")
def test_a_client_that_hung_is_let_go_of_when_its_call_returns() -> None:
    client = Client()
    gone, back = weakref.ref(client), client.back
    with contextlib.suppress(OverdueError):
        call_within(0.01, client.hang_and_fail)
    del client
    assert gone() is not None
    back.set()
    wait_until(lambda: gone() is None, 5, "let go of")
