"""Order of the outcomes of one key, tag events and tombstones alike."""

import numpy as np
from numpy.typing import NDArray

from .corpus import NO_KEY
from .findings import Findings
from .tag_columns import Places


class Order:
    """Of one key in one partition of the tags topic, source offsets only grow.

    Args:
        partitions: of the tags topic.
        findings: takes what goes back.
    """

    def __init__(self, partitions: int, findings: Findings) -> None:
        self._findings = findings
        self._last: NDArray[np.int64] = np.full(partitions * (NO_KEY + 1), -1, dtype=np.int64)

    def check(self, places: Places) -> None:
        """More outcomes, in the order of the tags topic."""
        keyed = np.flatnonzero(places.entity < NO_KEY)
        group = places.into[keyed] * (NO_KEY + 1) + places.entity[keyed]
        order = np.argsort(group, kind="stable")
        group, offset = group[order], places.offset[keyed][order]
        first = np.ones(len(group), dtype=np.bool_)
        first[1:] = group[1:] != group[:-1]
        before = np.where(first, self._last[group], np.concatenate([[-1], offset[:-1]]))
        back = offset <= before
        if back.any():
            i = int(np.flatnonzero(back)[0])
            self._findings.add("order", f"offset {offset[i]} after {before[i]} of one key", int(back.sum()))
        np.maximum.at(self._last, group, offset)
