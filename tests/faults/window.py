"""The positions of one input partition that are not verified yet, as columns; what is verified is forgotten."""

import numpy as np
from numpy.typing import NDArray

LABELS = ("spam", "greeting")

CELL = np.dtype(
    [
        ("ordinal", "i8"),  # of the input record
        ("stamp", "i8"),  # its timestamp, Unix ms
        ("kind", "u1"),  # see `corpus`
        ("tags", "u1"),  # outcomes seen of each sort
        ("dead", "u1"),
        ("tombstones", "u1"),
        ("summaries", "u1"),  # that cover it; counted with at_least_once only
        ("claimed", "i8"),  # ordinal as the tag event says
        ("claimed_stamp", "i8"),  # timestamp as the tag event or the dead letter says
        ("content", "u4"),  # of the dead letter or the tombstone, see `corpus.checksum`
        ("release", "i4"),
        ("candidate", "?"),
        ("micro", "i4", (len(LABELS),)),
        ("tagged", "?", (len(LABELS),)),
        ("pane", "i8"),
        ("by_arrival", "?"),
        ("decided", "i8"),  # when, Unix ms; see `Columns`
    ]
)
_TRIM = 65_536


class Window:
    """Cells of the positions from `base` on. ``margin`` positions are kept behind what is verified."""

    def __init__(self, margin: int = 0) -> None:
        self.base = 0
        self.read_to = 0
        """Inputs below are known."""
        self.verified_to = 0
        self._margin = margin
        self._cells = np.zeros(_TRIM, dtype=CELL)

    def at(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Indices of ``offsets`` (none below `base`) into `cells`, which grows as needed."""
        if len(offsets) and int(offsets.max()) - self.base >= len(self._cells):
            more = max(len(self._cells), int(offsets.max()) - self.base + 1)
            self._cells = np.concatenate([self._cells, np.zeros(more, dtype=CELL)])
        return offsets - self.base

    @property
    def cells(self) -> NDArray[np.void]:
        """All of them; a view, to be written to."""
        return self._cells

    def span(self, start: int, end: int) -> NDArray[np.void]:
        """Cells of ``[start, end)``."""
        self.at(np.array([end]))
        return self._cells[start - self.base : end - self.base]

    def verified(self, to: int) -> None:
        """Everything below ``to`` is right; some of it is forgotten."""
        self.verified_to = max(self.verified_to, to)
        surplus = self.verified_to - self._margin - self.base
        if surplus >= _TRIM:
            self._cells = np.concatenate([self._cells[surplus:], np.zeros(surplus, dtype=CELL)])
            self.base += surplus
