"""A call that hangs does not take its caller along."""

import threading
import time

import pytest

from streamtag.stream.overdue import OverdueError, call_within


def test_a_call_that_hangs_is_given_up_in_time() -> None:
    never = threading.Event()
    looks: list[int] = []
    begun = time.monotonic()
    with pytest.raises(OverdueError):
        call_within(0.6, never.wait, lambda: looks.append(1))
    assert 0.5 < time.monotonic() - begun < 20
    assert looks
    never.set()


def test_what_a_call_raises_is_raised_even_where_it_is_a_timeout() -> None:
    def fail() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        call_within(5, fail)


def test_a_call_that_returns_is_waited_for_no_longer() -> None:
    done: list[int] = []
    begun = time.monotonic()
    call_within(30, lambda: done.append(1))
    assert done == [1]
    assert time.monotonic() - begun < 20
