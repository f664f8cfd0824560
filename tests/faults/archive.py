"""All tag events of a campaign as columns: what everything behind the tagger is recounted from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .tag_columns import Columns, Row

_PARTITION_SHIFT = 48
"""Above every offset: a source position as one number that sorts."""


@dataclass(frozen=True, eq=False)
class Events:
    """Tag events; every attribute has one row per event.

    Attributes:
        partition, offset: source position.
        ordinal: of the input record, which is its id, too.
        start_ms: of its pane, Unix milliseconds.
        row: index into `Checker.rows`: the release that decided.
        lang: index into `corpus.LANGS`.
        split: index into `Checker.splits`: the experiment that gave it to its arm; -1 for none.
        candidate: the arm that decided.
        by_arrival: its timestamp was not believed.
        micro: scores in millionths, int64 [n, labels].
        tagged: bool [n, labels].
    """

    partition: NDArray[np.int64]
    offset: NDArray[np.int64]
    ordinal: NDArray[np.int64]
    start_ms: NDArray[np.int64]
    row: NDArray[np.int64]
    lang: NDArray[np.int64]
    split: NDArray[np.int64]
    candidate: NDArray[np.bool_]
    by_arrival: NDArray[np.bool_]
    micro: NDArray[np.int64]
    tagged: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.offset)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "Events":
        """Some of them, in this order; one may come again."""
        return Events(*(getattr(self, field.name)[index] for field in fields(self)))

    def in_order(self) -> "Events":
        """By source position, as `between` needs them."""
        return self.take(np.argsort(self._places, kind="stable"))

    def between(self, partition: int, start: int, end: int) -> NDArray[np.int64]:
        """Indices of the events of source positions ``[start, end)``; they must be in order."""
        low, high = np.searchsorted(self._places, (np.array([start, end]) | partition << _PARTITION_SHIFT))
        return np.arange(low, high)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        return self.partition << _PARTITION_SHIFT | self.offset


@dataclass(frozen=True, eq=False)
class Outcomes:
    """All that was decided, and what it takes to decide it again.

    Attributes:
        events: in order.
        rows: what ``events.row`` points to.
        splits: what ``events.split`` points to.
        scored: hash of a bundle, and ordinals [n], to what it must say of them: millionths, int64 [n, labels].
    """

    events: Events
    rows: Sequence[Row]
    splits: Sequence[str]
    scored: Callable[[str, NDArray[np.int64]], NDArray[np.int64]]


class Archive:
    """Keeps what it is called with; one thread calls it.

    Args:
        pane_ms: width of panes.
    """

    def __init__(self, pane_ms: int) -> None:
        self._pane_ms = pane_ms
        self._chunks: list[Events] = []

    def __call__(self, columns: Columns) -> None:
        """More tag events."""
        placed = np.where(columns.by_arrival, columns.processed_ms, columns.stamp)
        found = Events(
            partition=columns.partition,
            offset=columns.offset,
            ordinal=columns.ordinal,
            start_ms=placed // self._pane_ms * self._pane_ms,
            row=columns.row,
            lang=columns.lang,
            split=columns.split,
            candidate=columns.candidate,
            by_arrival=columns.by_arrival,
            micro=columns.micro,
            tagged=columns.tagged,
        )
        self._chunks.append(found.take(np.arange(len(found))))  # copies: what they were cut from is larger

    def events(self) -> Events:
        """All of them, by source position."""
        columns = (np.concatenate([getattr(chunk, field.name) for chunk in self._chunks]) for field in fields(Events))
        return Events(*columns).in_order()
