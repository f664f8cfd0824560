"""Watchdog: tells a worker that makes no progress from one that has nothing to do."""

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

from streamtag.telemetry.health import Health
from streamtag.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

_CHECK = "progress"
# Looks this many times within the allowed silence, so that a stall is noticed at most a tenth late.
_LOOKS = 10


class StuckDetector:
    """Reports a stall when work is at hand and the progress counter has not moved for too long.

    A stall is logged once with the stacks of all threads (names, files and lines; no variables, which may hold
    content), sets ``streamtag.stuck`` and fails ``/livez``; progress, or the end of the work, lifts it.

    Args:
        progress: a counter that moves with every step of work (its value means nothing), and whether work is at hand.
            Called from the watchdog's thread: it must not block.
        stuck_after_s: the longest silence.
        metrics: where ``streamtag.stuck`` is set.
        health: where liveness is reported.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        progress: Callable[[], tuple[int, bool]],
        *,
        stuck_after_s: float,
        metrics: Metrics,
        health: Health,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._stuck_after_s = stuck_after_s
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._count: int | None = None
        self._since = clock()
        self._stuck = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stuck-detector", daemon=True)
        metrics.set("streamtag.stuck", 0)
        health.set_live(_CHECK, True)

    def start(self) -> None:
        """Starts the watchdog's thread."""
        self._thread.start()

    def close(self) -> None:
        """Stops it; returns at once when it was never started."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> bool:
        """One look: updates metric, health and log; returns whether the worker is stuck."""
        count, work_at_hand = self._progress()
        now = self._clock()
        if count != self._count or not work_at_hand:
            self._count, self._since = count, now
        silent_s = now - self._since
        stuck = silent_s >= self._stuck_after_s
        if stuck and not self._stuck:
            log.error("no progress with work at hand; stacks follow", extra={"silent_s": round(silent_s, 1)})
            for name, stack in stacks().items():
                log.error("stack", extra={"thread_name": name, "stack": stack})
        elif self._stuck and not stuck:
            log.warning("progress resumed")
        if stuck != self._stuck:
            self._stuck = stuck
            self._metrics.set("streamtag.stuck", int(stuck))
        reason = f"no progress for {silent_s:.0f} s with work at hand; stacks are in the log"
        self._health.set_live(_CHECK, not stuck, reason)
        return stuck

    def _watch(self) -> None:
        while not self._closed.wait(self._stuck_after_s / _LOOKS):
            self.look()


def stacks() -> dict[str, list[str]]:
    """Where every thread of the process is, innermost frame last: ``file:line in function``."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        f"{names.get(ident, '?')} ({ident})": [
            f"{f.filename}:{f.lineno} in {f.name}" for f in traceback.extract_stack(frame)
        ]
        for ident, frame in sys._current_frames().items()
    }
