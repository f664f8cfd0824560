"""What a record of the panes topic changes: the revision it replaces, and the rows of experiments that are new in it.

The panes topic is one log. Whatever is added up from it takes `Step`s in the order of the log, and comes to the same
numbers whoever reads it, wherever they were restarted, and however often records stand in it: a windower that goes on
from its last commit writes some of them again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
from msgspec import UNSET

from streamtag.events.panes import Pane, PlacedRows

__all__ = ["Memory", "Revisions", "Step"]

Place = tuple[int, int]
"""(end, start) of a pane: panes become final in this order."""


@dataclass(frozen=True)
class Step:
    """What one record changes.

    Attributes:
        pane: the record.
        before: the revision of the same pane that it replaces; None for the first one, and for an addendum.
        rows: rows of experiments that no earlier revision held, with the arm of its cell, by offset of their
            summary.
    """

    pane: Pane
    before: Pane | None
    rows: tuple[tuple[str, PlacedRows], ...]


class ShardMemory(msgspec.Struct):
    """Of one shard.

    Attributes:
        forgotten: the last pane whose revision is not kept any more; it and all before it are final.
        addendum: largest ``n`` of its addenda.
        starts: of the panes that were added to with that ``n``.
    """

    forgotten: Place | None = None
    addendum: int = 0
    starts: list[int] = []


class Memory(msgspec.Struct):
    """What is needed to go on after a restart: feed the records from ``position`` on again, whatever comes of them.

    Attributes:
        position: of the first record that may yet matter; None when none was kept.
        shards: by number.
    """

    position: int | None = None
    shards: dict[int, ShardMemory] = {}


@dataclass
class _Shard:
    memory: ShardMemory
    kept: dict[Place, tuple[int, Pane]] = field(default_factory=dict)  # position and revision


class Revisions:
    """The latest revision of each pane that may get another one.

    Args:
        keep: revisions of each shard, at least one more than `ShardOptions.max_open` of its windower. A pane that gets
            another revision is not final, nor is any that ends later, so it is among the last ``max_open`` to end.
        memory: of an earlier one, to go on from.
    """

    def __init__(self, keep: int = 720, memory: Memory | None = None) -> None:
        self._keep = keep
        self._shards = {number: _Shard(shard) for number, shard in (memory.shards if memory else {}).items()}

    def memory(self) -> Memory:
        """What to go on from, after the records applied so far."""
        kept = (position for shard in self._shards.values() for position, _ in shard.kept.values())
        shards = {number: msgspec.structs.replace(shard.memory) for number, shard in sorted(self._shards.items())}
        return Memory(min(kept, default=None), shards)

    def apply(self, position: int, pane: Pane) -> Step | None:
        """Takes the next record of the log; None where it changes nothing, as all of it was known."""
        shard = self._shards.get(pane.shard)
        if shard is None:
            shard = self._shards[pane.shard] = _Shard(ShardMemory())
        return _add(shard.memory, pane) if pane.addendum else self._replace(shard, position, pane)

    def _replace(self, shard: _Shard, position: int, pane: Pane) -> Step | None:
        place = pane.start_ms + pane.pane_ms, pane.start_ms
        forgotten = shard.memory.forgotten
        if forgotten is not None and place <= forgotten:
            return None
        _, before = shard.kept.get(place, (0, None))
        if before is not None and before.n >= pane.n:
            return None
        shard.kept[place] = position, pane
        if len(shard.kept) > self._keep:
            shard.memory.forgotten = min(shard.kept)
            del shard.kept[shard.memory.forgotten]
        return Step(pane, before, tuple(_rows(pane, since=0 if before is None else before.n)))


def _add(memory: ShardMemory, pane: Pane) -> Step | None:
    # A windower writes addenda in the order of their summaries, and all of them again from where it goes on.
    if pane.n < memory.addendum or (pane.n == memory.addendum and pane.start_ms in memory.starts):
        return None
    memory.starts = [*(memory.starts if pane.n == memory.addendum else ()), pane.start_ms]
    memory.addendum = pane.n
    return Step(pane, None, tuple(_rows(pane, since=0)))


def _rows(pane: Pane, *, since: int) -> Iterator[tuple[str, PlacedRows]]:
    found = [
        (cell.arm, rows)
        for cell in pane.cells
        if cell.experiments is not UNSET
        for rows in cell.experiments
        if rows.offset >= since
    ]
    yield from sorted(found, key=lambda one: one[1].offset)
