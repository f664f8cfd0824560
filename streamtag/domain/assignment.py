"""Which units take part in an experiment, and which arm they have: by a keyed hash of the unit, and nothing else.

The same unit has the same hash on every worker and in every batch. Whoever had the candidate at a small share has it at
every larger one: a ramp moves units in one direction only.
"""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

__all__ = ["below", "unit_hashes"]

_BYTES = 8


def unit_hashes(units: Iterable[bytes], salt: str) -> NDArray[np.uint64]:
    """A hash of each unit: BLAKE2b of 64 bits, keyed by the salt of its experiment. 1 µs each.

    Args:
        units: what is counted once: ids of events, authors, …
        salt: hexadecimal, at most 128 digits.
    """
    key = bytes.fromhex(salt)
    digests = b"".join([blake2b(unit, digest_size=_BYTES, key=key).digest() for unit in units])
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64, copy=False)


def below(hashes: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """Whether each unit belongs to the first ``share`` of all units.

    >>> below(np.array([0, 2**62, 2**64 - 1], dtype=np.uint64), 0.25).tolist()
    [True, False, False]
    """
    if share >= 1:
        return np.ones(len(hashes), dtype=np.bool_)
    return hashes < np.uint64(share * 2.0**64)
