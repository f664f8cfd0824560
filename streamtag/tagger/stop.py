"""The dead-letter stop of this worker's group: set by a worker, kept over restarts, lifted by a person.

The processing thread only reads an attribute; a thread of its own talks to Redis.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from streamtag.control.stops import Pardon, StopMark, StopStore
from streamtag.errors import UnavailableError
from streamtag.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class Stop:
    """Knows whether the group is stopped.

    Args:
        store: where marks are kept.
        group: Kafka consumer group.
        worker: named in marks this worker sets.
        metrics: ``streamtag.dead_letters.stop``.
        poll_interval_s: how often a mark or its lifting is looked for.
    """

    def __init__(self, store: StopStore, *, group: str, worker: str, metrics: Metrics, poll_interval_s: float) -> None:
        self._store = store
        self._group = group
        self._worker = worker
        self._metrics = metrics
        self._poll_interval_s = poll_interval_s
        self._mark: StopMark | None = None
        self._unsaved: StopMark | None = None
        self._pardon: Pardon | None = None
        self._granted = False
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stop-watch", daemon=True)

    def start(self) -> None:
        """Looks once, so that a restart does not lift a stop, then keeps looking in the background."""
        self._look()
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; a mark not yet written is written first."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout=10)

    def reason(self) -> str | None:
        """Why the group is stopped, or None; never blocks."""
        mark = self._mark
        if mark is None:
            return None
        return f"stopped for dead letters at {mark.at:%Y-%m-%dT%H:%M:%SZ} by {mark.worker}: {mark.reason}"

    def pardon(self) -> Pardon | None:
        """What a person who lifted a stop lets pass: told once, and after every start."""
        with self._lock:
            granted, self._granted = self._granted, False
            return self._pardon if granted else None

    def set(self, reason: str, **counts: int) -> None:
        """Stops this worker now, and the group as soon as the mark is written. Never blocks on Redis."""
        mark = StopMark(group=self._group, reason=reason, at=datetime.now(UTC), worker=self._worker, counts=counts)
        with self._lock:
            self._mark = self._unsaved = mark
        self._metrics.set("streamtag.dead_letters.stop", 1)
        self._wake.set()

    def _run(self) -> None:
        closing = False
        while not closing:
            self._wake.wait(self._poll_interval_s)
            self._wake.clear()
            closing = self._closing.is_set()  # before the look: a mark that was set during the last one is written
            try:
                self._look()
            except Exception:
                # A defect must not end the thread: neither stops nor their lifting would be heard of any more.
                log.exception("the watch for stop marks met an unexpected error")
                self._metrics.add("streamtag.redis.errors", operation="stops")

    def _look(self) -> None:
        with self._lock:
            unsaved = self._unsaved
        if unsaved is not None and not self._attempt(lambda: self._store.set(unsaved)):
            return
        with self._lock:
            if self._unsaved is unsaved:
                self._unsaved = None
            held = self._mark
        mark, pardon = self._store.look(self._group, held)
        if mark is not None and mark != self._mark:
            # Set by another host: kept on this one, too, or Redis being away would lift it here.
            self._attempt(lambda: self._store.set(mark))
        with self._lock:
            if pardon is not None and pardon != self._pardon:
                self._pardon, self._granted = pardon, True
            if self._unsaved is not None:
                return
            self._mark = mark
        self._metrics.set("streamtag.dead_letters.stop", int(mark is not None))

    def _attempt(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except UnavailableError as error:
            log.warning("stop mark not kept yet", extra={"error": error.message})
            self._metrics.add("streamtag.redis.errors", operation="stops")
            return False
        return True
