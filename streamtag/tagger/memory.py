"""What a batch gives back, the next one takes again."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3)
_KEPT = 32 * 2**20
_LARGEST = 8 * 2**20


def keep_freed_memory() -> None:
    """Has the C library keep what arrays free, up to 32 MiB a thread, instead of returning it to the kernel.

    A run of the model frees a few megabytes, and the next one asks for as much again. glibc would give them back and
    have them faulted in anew, page by page: 0.6 to 1.8 faults an event. Where the C library has no ``mallopt``, nothing
    changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_MMAP_THRESHOLD, _LARGEST)
