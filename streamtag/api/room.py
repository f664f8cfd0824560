"""Room for slow readers: each holds a thread of those that all routes share, so there are only so many at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from streamtag.api.scoring import OverloadedError

__all__ = ["Room"]


class Room:
    """Lets ``most`` in at once and turns the others away, who would only make all of them slower.

    Args:
        most: at once.
        what: they are doing, for those who are told to come again.
    """

    def __init__(self, most: int, what: str) -> None:
        self._places = threading.BoundedSemaphore(most)
        self._full = f"{most} others are {what}"

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place until the end of the block; `OverloadedError` where there is none."""
        if not self._places.acquire(blocking=False):
            raise OverloadedError(self._full, hint="Come again a little later.")
        try:
            yield
        finally:
            self._places.release()
