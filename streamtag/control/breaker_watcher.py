"""Following the breakers in a worker, on a thread of its own: the hot path reads one attribute between batches.

While Redis is away the last known ones hold. A worker that starts without Redis knows of none.
"""

import logging
import threading

from streamtag.control.breakers import NO_BREAKERS, ActiveBreakers, BreakerLog
from streamtag.control.metrics import MetricSink
from streamtag.control.store import ControlStore
from streamtag.control.subscription import Subscription
from streamtag.errors import StreamtagError, UnavailableError
from streamtag.settings import Settings
from streamtag.telemetry.repeats import Repeats

__all__ = ["BreakerWatcher"]

log = logging.getLogger(__name__)


class BreakerWatcher:
    """Follows the breakers of one namespace: pub/sub for speed, a poll as the safety net.

    Args:
        settings: ``redis`` counts.
        metrics: counts what cannot be read.
        store: instead of one of its own.
    """

    def __init__(self, settings: Settings, *, metrics: MetricSink, store: ControlStore | None = None) -> None:
        self._interval_s, self._timeout_s = settings.redis.poll_interval_s, settings.redis.timeout_s
        self._store = store or ControlStore(settings.redis)
        self._log = BreakerLog(self._store)
        self._metrics = metrics
        self._stop = threading.Event()
        self._subscription = Subscription(self._store, self._stop)
        self._current = NO_BREAKERS
        self._repeats = Repeats()
        self._thread = threading.Thread(target=self._run, name="breaker-watcher", daemon=True)

    def start(self) -> None:
        """Returns at once."""
        self._thread.start()

    def current(self) -> ActiveBreakers:
        """What is open; the same object until something changes."""
        return self._current

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * self._timeout_s + 1)

    def look(self) -> None:
        """One look.

        Raises:
            StreamtagError: Redis does not answer, or holds what cannot be read: what was known holds.
        """
        found = self._log.active()
        if found != self._current:
            log.warning("tags ask for review only: %s", ", ".join(sorted(found.labels)) or "none any more")
            self._current = found

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._subscription.ensure()
                self.look()
                self._subscription.wait(self._interval_s)
            except UnavailableError:  # the watcher of the champion says so
                self._subscription.close()
                self._stop.wait(self._interval_s)
            except StreamtagError as error:
                self._metrics.add("streamtag.redis.errors", operation="breakers")
                if self._repeats.left_out(error.message) is not None:
                    log.error("%s", error.message)
                self._stop.wait(self._interval_s)
            except Exception:
                log.exception("the breaker watcher met an unexpected error; it goes on")
                self._stop.wait(self._interval_s)
        self._subscription.close()
