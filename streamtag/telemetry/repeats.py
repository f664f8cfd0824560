"""Saying once a minute what happens a thousand times."""

import time
from collections.abc import Callable, Hashable

_EVERY_S = 60.0


class Repeats:
    """Lets one message of each kind through a minute, and counts the others.

    Example:
        >>> repeats = Repeats(clock=lambda: 0.0)
        >>> repeats.left_out("connection refused")
        0
        >>> repeats.left_out("connection refused") is None
        True
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[Hashable, tuple[float, int]] = {}  # when last, and how often not since

    def left_out(self, kind: Hashable) -> int | None:
        """None when this message is to be left out; else how many of its kind were, since the last one."""
        now = self._clock()
        at, missed = self._said.get(kind, (-_EVERY_S, 0))
        if now - at < _EVERY_S:
            self._said[kind] = at, missed + 1
            return None
        self._said[kind] = now, 0
        return missed
