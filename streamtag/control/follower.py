"""Following what Redis holds, on a thread of its own: what every watcher does, whatever it looks at."""

import threading
import time
from collections.abc import Callable

from streamtag.control.store import ControlStore
from streamtag.control.subscription import Subscription
from streamtag.errors import UnavailableError
from streamtag.settings import RedisSettings

__all__ = ["Follower"]


class Follower:
    """A daemon thread that looks at once, at every word of a change, and at every poll. Only `close` ends it.

    Args:
        store: whose channel brings word of changes, for speed; the poll is the safety net.
        settings: ``poll_interval_s`` and ``timeout_s`` count.
        look: one look.
        failed: told what a look raised, unless it is that Redis does not answer. Must not raise.
        away: told that Redis does not answer a look, or ended the channel; gives the seconds until the next try. None:
            nothing is said, and it is tried again after a poll interval.
        deaf: told after each look why changes cannot be listened for, where only the poll is left; ``""``: they can.
            Must not raise.
        name: of the thread.
    """

    def __init__(
        self,
        store: ControlStore,
        settings: RedisSettings,
        look: Callable[[], None],
        *,
        failed: Callable[[Exception], None],
        away: Callable[[UnavailableError], float] | None = None,
        deaf: Callable[[str], None] = lambda _why: None,
        name: str,
    ) -> None:
        self._interval_s, self._timeout_s = settings.poll_interval_s, settings.timeout_s
        self._look = look
        self._failed = failed
        self._away = away or (lambda _error: self._interval_s)
        self._deaf = deaf
        self._stop = threading.Event()
        self.turned_at = time.monotonic()
        """When the present turn began, seconds: one look, and the wait after it. Long ago where something hangs."""
        self._subscription = Subscription(store, self._stop)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; one stuck in a frozen Redis or a slow disk ends with the process."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * self._timeout_s + 1)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.turned_at = time.monotonic()
            try:
                self._once()
            except Exception as error:  # noqa: BLE001 - a defect must not end it: what it follows would stand still unseen
                self._failed(error)
                self._stop.wait(self._interval_s)
        self._subscription.close()

    def _once(self) -> None:
        try:
            why = self._listen()
            self._look()
            self._deaf(why)
            self._subscription.wait(self._interval_s)
        except UnavailableError as error:
            self._subscription.close()
            self._stop.wait(self._away(error))

    def _listen(self) -> str:
        """Why not, where it cannot: Redis may have room for no more clients, and answer those it has."""
        try:
            self._subscription.ensure()
        except UnavailableError as error:
            return error.message
        return ""
