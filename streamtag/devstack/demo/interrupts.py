"""Ctrl-C and its kin, so that the demo ends in order whenever they come."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupts"]


class Interrupts:
    """SIGINT, SIGTERM and SIGHUP alike; a context manager for the main thread. Those ignored (nohup, say) stay so.

    They raise KeyboardInterrupt until `defer` is called, and are only noted from then on: an exception in the middle
    of a turn would lose what has been read, and one in the middle of cleaning up would leave processes behind.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None] = {}
        self._deferred = False
        self.asked = False
        """Somebody wants it to end."""

    def defer(self) -> None:
        """From now on `asked` tells."""
        self._deferred = True

    def _arrived(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        if not self._deferred:
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        for number in self._SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
