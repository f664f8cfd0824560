"""Waiting before the next attempt, on a thread that must still notice when it should give up."""

import time
from collections.abc import Callable

_LOOK_S = 0.1
_MOST_DOUBLINGS = 16  # attempts are counted for hours; 2**1024 is no float


def wait(seconds: float, stopping: Callable[[], bool]) -> None:
    """Sleeps, but not past ``stopping``."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stopping():
        time.sleep(min(left, _LOOK_S))


def back_off(attempt: int, stopping: Callable[[], bool], *, first_s: float, most_s: float) -> None:
    """Sleeps ``first_s`` after attempt 0, then twice as long each time, up to ``most_s``; not past ``stopping``."""
    wait(min(first_s * 2 ** min(attempt, _MOST_DOUBLINGS), most_s), stopping)
