"""What a batch gives back, the next one takes again."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # parameters of mallopt(3)
_KEPT = 32 * 2**20
_LARGEST = 8 * 2**20
_ARENAS = 4


def keep_freed_memory() -> None:
    """Has the C library keep what arrays free, up to 32 MiB an arena, instead of returning it to the kernel.

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


def give_memory_back() -> None:
    """Returns to the kernel what is free, wherever it stands: after an outage, whose backlog has been through the heap.

    Takes milliseconds, and what comes next is faulted in anew: not for every batch.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
