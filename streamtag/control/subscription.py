"""Waiting for word of a change: Redis pub/sub, for speed only. Messages may be lost; the poll covers that."""

import threading
import time

from redis.client import PubSub

from streamtag.control.connection import guarded
from streamtag.control.store import ControlStore

__all__ = ["Subscription"]

# How soon a wait notices that the follower is being closed.
_SLICE_S = 0.25


class Subscription:
    """A follower's subscription to the channel of changes. Used by one thread."""

    def __init__(self, store: ControlStore, stop: threading.Event) -> None:
        self._store = store
        self._stop = stop
        self._pubsub: PubSub | None = None

    def ensure(self) -> None:
        """Subscribes, where it is not.

        To be called *before* looking: a change right after the look then finds us listening.

        Raises:
            UnavailableError: Redis does not answer in time.
        """
        if self._pubsub is None:
            with guarded(self._store.where, "subscribe"):
                pubsub = self._store.client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
                pubsub.subscribe(self._store.keys.channel)
            self._pubsub = pubsub

    def wait(self, timeout_s: float) -> None:
        """Returns at the next message, after ``timeout_s``, or soon after the stop event; raises as `ensure`."""
        if self._pubsub is None:
            self._stop.wait(timeout_s)
            return
        deadline = time.monotonic() + timeout_s
        while not self._stop.is_set() and (left_s := deadline - time.monotonic()) > 0:
            with guarded(self._store.where, "listen for changes"):
                if self._pubsub.get_message(timeout=min(left_s, _SLICE_S)) is not None:
                    return

    def close(self) -> None:
        """Drops the connection; `ensure` makes a new one."""
        if self._pubsub is not None:
            self._pubsub.close()
            self._pubsub = None
