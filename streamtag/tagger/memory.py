"""What a batch gives back, the next one takes again; what an outage has piled up goes back to the kernel."""

import ctypes
import gc
import time
from collections.abc import Callable

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # parameters of mallopt(3)
_KEPT = 8 * 2**20  # of each arena's end; below 4 MiB a thousand characters cost a page fault, at 8 MiB none
_LARGEST = 8 * 2**20
_ARENAS = 4
EVERY_S = 15.0


def keep_freed_memory() -> None:
    """Has the C library keep what arrays free, up to 8 MiB an arena, instead of returning it to the kernel.

    A run of the model frees a few megabytes, and the next one asks for as much again. glibc would give them back and
    have them faulted in anew, page by page: 0.6 to 1.8 faults an event. Where the C library has no ``mallopt``, nothing
    changes.

    Four arenas at most, for all threads together: by default there are eight a core, every client that is made anew
    after an outage has threads that open others, and each keeps its own. In an hour with a fault a minute that was
    265 MiB (docs/reliability.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_ARENA_MAX, _ARENAS)


class FreedMemory:
    """What the heap keeps, given back to the kernel every 15 s, wherever it stands; before, what cycles keep.

    The backlog of an outage goes through the heap when the outage is over, and leaves room behind between what stays:
    in an hour with a fault a minute 154 MiB (docs/reliability.md). Giving it back takes milliseconds, and what comes
    next is faulted in anew: not for every batch.

    Records make no cycles, errors do: the frames that one was raised through hold what was in hand, a transaction's
    records included. The collector seldom looks (`streamtag.stream.worker.settle_garbage`), and after minutes hardly
    ever at what is old.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock() + EVERY_S

    def give_back(self) -> bool:
        """Does it where its time has come; says whether it did. Where the C library cannot, nothing changes."""
        if self._clock() < self._next:
            return False
        self._next = self._clock() + EVERY_S
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        return trim is not None and bool(trim(0))
