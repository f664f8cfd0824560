"""Place and order of the outcomes of one key, tag events and tombstones alike."""

import numpy as np
from numpy.typing import NDArray

from .corpus import NO_KEY
from .findings import Findings
from .tag_columns import Places


class Order:
    """A key keeps its partition, and of one key source offsets only grow.

    Input and tags topic have as many partitions, and whoever writes to them has the partitioner of the Java clients.

    Args:
        partitions: of the tags topic.
        findings: takes what goes astray, or back.
    """

    def __init__(self, partitions: int, findings: Findings) -> None:
        self._findings = findings
        self._last: NDArray[np.int64] = np.full(partitions * (NO_KEY + 1), -1, dtype=np.int64)

    def partitions(self, places: Places) -> None:
        """More outcomes, in any order."""
        astray = np.flatnonzero(_keyed(places) & (places.into != places.partition))
        if len(astray):
            i = int(astray[0])
            what = f"{places.partition[i]}/{places.offset[i]} went to partition {places.into[i]}"
            self._findings.add("partition", what, len(astray))

    def check(self, places: Places, count: NDArray[np.bool_]) -> None:
        """More outcomes, in the order of the tags topic; some of them count."""
        keyed = np.flatnonzero(_keyed(places) & count)
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


def _keyed(places: Places) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (places.entity >= 0) & (places.entity < NO_KEY)
    return found
