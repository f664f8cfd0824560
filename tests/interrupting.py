"""Signals at the worst moments: whatever serves one is interrupted by the next."""

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_MOST_SIGNALS = 40


def interrupted(work: Callable[[], object], *, every: int) -> None:
    """Every so many lines ``work``, and what serves the signals, is interrupted by a signal; gives up after 20 s.

    Raises:
        TimeoutError: they wait for one another.
    """

    lines = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal lines
        if event == "line" and lines < _MOST_SIGNALS * every:
            lines += 1
            if lines % every == 0:
                signal.raise_signal(STOP_SIGNALS[lines // every % 2])
        return trace

    def too_late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(20)
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
