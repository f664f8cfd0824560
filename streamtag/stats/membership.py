"""Whether the group still gives the panes to anybody: what Faust's client does not notice by itself."""

import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Neglect", "check_membership", "watch_membership"]

_LOOK_S = 1.0


class Neglect:
    """Notices, from the side, that a log grows and nobody adds it up.

    Faust's leader hands out the topics that its client knows. Of a broker that has just come back it may know none:
    then everybody stands by, and nothing makes the group think again (seen in a fault campaign).

    Args:
        most: looks in a row that may find nothing done; each may be an app that takes over.
    """

    def __init__(self, most: int = 5) -> None:
        self._most = most
        self._looks, self._position = 0, -1

    def seen(self, position: int, end: int) -> bool:
        """Whether it is so, by one more look: the log is added up to ``position``, and ends at ``end``."""
        idle = position == self._position and position < end
        self._looks, self._position = self._looks + 1 if idle else 0, position
        return self._looks >= self._most


def check_membership(consumer: Any) -> None:
    """Whether the client still follows its group.

    Its routine for that ends for good on what it does not expect, such as a broker that wakes from a freeze and names
    no brokers. Faust asks for errors only where it fetches: an app that stands by would do so for ever, unseen.

    Raises:
        Exception: what has ended it.
    """
    client = getattr(getattr(consumer, "_thread", None), "_consumer", None)
    coordinator = getattr(client, "_coordinator", None)
    task = getattr(coordinator, "_coordination_task", None)
    if task is not None and task.done() and not task.cancelled() and task.exception() is not None:
        raise task.exception()


def watch_membership(
    consumer: Callable[[], Any], give_up: Callable[[BaseException], object], every_s: float = _LOOK_S
) -> threading.Thread:
    """Looks at the membership on a thread of its own, from now on, until it is lost for good.

    Args:
        consumer: the present one; None: there is none yet.
        give_up: told what has ended it, once.
        every_s: seconds between two looks.
    """

    def watch() -> None:
        while True:
            try:
                check_membership(consumer())
            except BaseException as error:  # noqa: BLE001 - the client's routine may end on anything
                give_up(error)
                return
            time.sleep(every_s)

    thread = threading.Thread(target=watch, name="membership", daemon=True)
    thread.start()
    return thread
