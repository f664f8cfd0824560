"""Following the breakers in a worker, on a thread of its own: the hot path reads one attribute between batches.

While Redis is away the last known ones hold. A worker that starts without Redis knows of none.
"""

import logging

from streamtag.control.breakers import NO_BREAKERS, ActiveBreakers, BreakerLog
from streamtag.control.follower import Follower
from streamtag.control.metrics import MetricSink
from streamtag.control.store import ControlStore
from streamtag.errors import StreamtagError
from streamtag.settings import Settings
from streamtag.telemetry.repeats import Repeats

__all__ = ["BreakerWatcher"]

log = logging.getLogger(__name__)


class BreakerWatcher:
    """Follows the breakers of one namespace.

    Args:
        settings: ``redis`` counts.
        metrics: counts what cannot be read.
        store: instead of one of its own.
    """

    def __init__(self, settings: Settings, *, metrics: MetricSink, store: ControlStore | None = None) -> None:
        store = store or ControlStore(settings.redis)
        self._log = BreakerLog(store)
        self._metrics = metrics
        self._current = NO_BREAKERS
        self._repeats = Repeats()
        # Where Redis is away, the watcher of the champion says so.
        self._follower = Follower(store, settings.redis, self.look, failed=self._failed, name="breaker-watcher")

    def start(self) -> None:
        """Returns at once."""
        self._follower.start()

    def current(self) -> ActiveBreakers:
        """What is open; the same object until something changes."""
        return self._current

    def close(self) -> None:
        """Ends the thread."""
        self._follower.close()

    def look(self) -> None:
        """One look.

        Raises:
            StreamtagError: Redis does not answer, or holds what cannot be read: what was known holds.
        """
        found = self._log.active()
        if found.number < self._current.number:
            self._metrics.add("streamtag.redis.errors", operation="breakers")
            log.error(
                "Redis went back from change %d of breakers to %d: one may be closed that was open "
                "(`streamtag breaker list`)",
                self._current.number,
                found.number,
            )
        if found != self._current:
            log.warning("tags ask for review only: %s", ", ".join(sorted(found.labels)) or "none any more")
            self._current = found

    def _failed(self, error: Exception) -> None:
        self._metrics.add("streamtag.redis.errors", operation="breakers")
        if not isinstance(error, StreamtagError):
            log.error("the breaker watcher met an unexpected error; it goes on", exc_info=error)
        elif self._repeats.left_out(error.message) is not None:
            log.error("%s", error.message)
