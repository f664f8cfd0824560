"""Rows that are made of training rows; the plainest: copies in disguised spelling."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamtag.model.training.config import AugmentConfig
from streamtag.model.training.obfuscate import obfuscate
from streamtag.model.training.split import unit_hash


class Made(NamedTuple):
    """Rows in addition to those of the sets.

    Attributes:
        of: intp [n], number of the row that each was made of.
        texts: n of them.
    """

    of: NDArray[np.intp]
    texts: list[str]


def disguised_copies(ids: list[str], texts: list[str], augment: AugmentConfig, salt: str) -> Made:
    """A share of the rows, by the hash of their id, the kinds of disguise in turn."""
    copied = np.flatnonzero(unit_hash(ids, salt + "/augment") < augment.share)
    return Made(
        copied,
        [
            obfuscate(texts[i], augment.kinds[turn % len(augment.kinds)], seed=salt)
            for turn, i in enumerate(copied.tolist())
        ],
    )
