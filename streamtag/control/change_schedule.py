"""What change requests do by themselves: going live at their hour, going back when their time has ended.

Nothing is remembered that matters: every look starts from Redis, and what it does is one compare-and-set. A lease only
keeps several processes from doing the same work in vain.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from streamtag.control.approval import policy_of
from streamtag.control.change_log import ChangeLog
from streamtag.control.change_requests import SCHEDULER, ChangeRequests, Published
from streamtag.control.connection import guarded
from streamtag.control.metrics import MetricSink
from streamtag.control.store import ControlStore
from streamtag.domain.change import State
from streamtag.errors import StreamtagError, UnavailableError
from streamtag.settings import Settings
from streamtag.telemetry.repeats import Repeats

__all__ = ["ChangeSchedule", "ScheduleThread"]

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_LEASE_MS = 5_000


class ChangeSchedule:
    """The schedule of one namespace.

    Args:
        requests: makes a fresh `ChangeRequests`: the taxonomy may have another version by the next look.
        metrics: counts what is done, and shows what is held up.
        now: the clock that says what is due.
    """

    def __init__(
        self,
        requests: Callable[[], ChangeRequests],
        store: ControlStore,
        metrics: MetricSink,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._requests = requests
        self._store = store
        self._log = ChangeLog(store)
        self._metrics = metrics
        self._now = now
        self._name = uuid.uuid4().hex
        self._repeats = Repeats()

    def step(self) -> list[Published]:
        """Does what is due, where nobody else does.

        Raises:
            UnavailableError: Redis does not answer in time. The next look does what this one could not.
        """
        due = self._log.due(self._now())
        if not due or not self._leads():
            self._metrics.set("streamtag.changes.held", 0)
            return []
        found = [self._do(number) for number in due]
        done = [one for one in found if one is not None]
        self._metrics.set("streamtag.changes.held", len(due) - len(done))
        return done

    def _do(self, number: int) -> Published | None:
        try:
            requests = self._requests()
            request, _ = self._log.find(number)
            if request.state is State.LIVE:
                done = requests.expire(number, warn=log.warning)
            else:
                done = requests.publish(number, SCHEDULER, warn=log.warning)
        except UnavailableError:
            raise
        except StreamtagError as error:
            problems: Sequence[str] = getattr(error, "problems", ())
            text = "; ".join([error.message, *problems])
            if self._repeats.left_out(text) is not None:
                log.warning("change %d is due, and held up: %s", number, text)
            return None
        self._metrics.add("streamtag.changes.done", action=done.request.steps[-1].action)
        log.info("change %d of %s is %s", number, done.request.author, done.request.state)
        for line in done.request.kept:
            log.warning("change %d: stays as it is: %s", number, line)
        return done

    def _leads(self) -> bool:
        """Whether this process may act now: one at a time does, and another once it has been silent for seconds."""
        key, client = self._store.keys.scheduler, self._store.client
        with guarded(self._store.where, "take the lease of the schedule"):
            if client.set(key, self._name, nx=True, px=_LEASE_MS):
                return True
            if client.get(key) != self._name.encode():
                return False
            return bool(client.set(key, self._name, xx=True, px=_LEASE_MS))


class ScheduleThread:
    """Looks once a second, on a thread of its own, until it is closed.

    Args:
        settings: ``redis``, ``changes``, ``thresholds`` and ``model.taxonomy`` count.
        metrics: see `ChangeSchedule`.
    """

    def __init__(self, settings: Settings, metrics: MetricSink) -> None:
        self._timeout_s = settings.redis.timeout_s
        self._store = ControlStore(settings.redis)
        max_step = settings.thresholds.max_step
        self._schedule = ChangeSchedule(
            lambda: ChangeRequests(self._store, policy=policy_of(settings), max_step=max_step), self._store, metrics
        )
        self._repeats = Repeats()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="change-schedule", daemon=True)

    def start(self) -> None:
        """Returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * self._timeout_s + 1)
        self._store.close()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                self._schedule.step()
            except StreamtagError as error:  # the next look does what this one could not
                if self._repeats.left_out(error.message) is not None:
                    log.warning("the schedule of changes: %s", error.message)
            except Exception:
                log.exception("the schedule of changes met an unexpected error; it goes on")
