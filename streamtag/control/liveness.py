"""Asking both sides, Kafka's group and Redis' heartbeats, whether a release is live everywhere."""

import time

from streamtag.control.fleet import Liveness, live_everywhere, read_fleet, stale_after
from streamtag.control.group import GroupReader
from streamtag.control.shared_group import SharedGroup
from streamtag.control.store import ControlStore
from streamtag.domain.release import ReleaseRef
from streamtag.errors import UnavailableError
from streamtag.settings import Settings

__all__ = ["LivenessProbe"]

_ASK_AGAIN_S = 0.05
_KAFKA_TIMEOUT_S = 3.0


class LivenessProbe:
    """Answers for the tagger's group of the settings.

    Args:
        store: where the heartbeats are.
        settings: name group and Kafka.
        shared: many look at once, and none of them may wait for Kafka long.
    """

    def __init__(self, store: ControlStore, settings: Settings, *, shared: bool = False) -> None:
        self._store = store
        self._group = settings.tagger.group
        self._stale = stale_after(settings.redis.heartbeat_s)
        reader = GroupReader(settings.kafka, self._group)
        self._reader = SharedGroup(reader) if shared else reader

    def check(self, ref: ReleaseRef) -> Liveness:
        """The answer now. What cannot be asked makes it unknown; never raises for a service that is away."""
        return self._ask(ref)[0]

    def wait(self, ref: ReleaseRef, timeout_s: float) -> tuple[Liveness, float]:
        """Asks until the answer is yes, cannot become yes by waiting, or ``timeout_s`` have passed.

        Returns:
            The last answer, and the seconds it took.
        """
        started = time.monotonic()
        while True:
            found, may_change = self._ask(ref)
            waited_s = time.monotonic() - started
            if not may_change or waited_s >= timeout_s:
                return found, waited_s
            time.sleep(_ASK_AGAIN_S)

    def _ask(self, ref: ReleaseRef) -> tuple[Liveness, bool]:
        """The answer, and whether it may become yes soon."""
        try:
            fleet = read_fleet(self._store, self._group)
            # A worker on another release settles it; Kafka need not be asked.
            found = live_everywhere((), fleet.heartbeats, ref, fleet.now, stale=self._stale)
            if found.answer == "no":
                return found, True
            members = self._reader.members(_KAFKA_TIMEOUT_S)
        except UnavailableError as error:
            return Liveness("unknown", reasons=(error.message,)), False
        found = live_everywhere(members, fleet.heartbeats, ref, fleet.now, stale=self._stale)
        return found, found.answer != "yes" and bool(members)
