"""Every integer of panes, and of the summaries that they were made of, counted one by one: to be compared."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from confluent_kafka import Message

from streamtag.events import panes
from streamtag.events.panes import Cell, Pane
from streamtag.events.summary import CommitSummary

Numbers = Counter[tuple[Any, ...]]

_IDENTITY = {
    "release",
    "release_sha256",
    "bundle",
    "bundle_sha256",
    "revision",
    "revision_sha256",
    "arm",
    "shadow",
}


def of_panes(every: Iterable[Pane]) -> Numbers:
    """Of panes and addenda, to be given the newest revision of each only."""
    found: Numbers = Counter()
    for pane in every:
        for cell in pane.cells:
            _count(found, (pane.start_ms, pane.pane_ms), msgspec.to_builtins(cell), pane.shard, None)
    return Counter({where: n for where, n in found.items() if n})


def of_summaries(placed: Iterable[tuple[int, int, CommitSummary]]) -> Numbers:
    """Of summaries as the stats topic has them: (partition, offset, summary)."""
    found: Numbers = Counter()
    for shard, offset, summary in placed:
        for cell in summary.panes:
            facts = msgspec.to_builtins(cell)
            start_ms = facts.pop("start_ms")
            _count(found, (start_ms, summary.pane_ms), facts, shard, offset)
    return Counter({where: n for where, n in found.items() if n})


def count_cell(found: Numbers, where: tuple[Any, ...], cell: Cell) -> None:
    """Counts a cell under a name of the caller's; rows of experiments are left out."""
    facts = {k: v for k, v in msgspec.to_builtins(cell).items() if k not in _IDENTITY | {"experiments"}}
    _count_rest(found, where, facts)


def _count(found: Numbers, pane: tuple[int, int], cell: dict[str, Any], shard: int, offset: int | None) -> None:
    where = *pane, *(str(cell.pop(name, None)) for name in sorted(_IDENTITY))
    for rows in cell.pop("experiments", ()):
        # Where a row came from and what it says is one fact: it is there once.
        at = rows.pop("offset", offset)
        found[*where, "rows", shard, at, str(sorted(rows.items()))] += 1
    _count_rest(found, where, cell)


def _count_rest(found: Numbers, where: tuple[Any, ...], cell: dict[str, Any]) -> None:
    for label, one in cell.pop("labels").items():
        for place, n in zip(one.pop("bins"), one.pop("counts"), strict=True):
            found[*where, label, "bin", place] += n
        _add(found, (*where, label), one)
    _add(found, where, cell)


def _add(found: Numbers, where: tuple[Any, ...], tree: Mapping[str, Any]) -> None:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            _add(found, (*where, name), value)
        else:
            found[*where, name] += value


@dataclass
class PaneReader:
    """What a reader of the panes topic holds who follows its rules; each breach of them is a problem."""

    revisions: dict[tuple[int, int, int], Pane] = field(default_factory=dict)
    addenda: dict[tuple[int, int, int, int], Pane] = field(default_factory=dict)
    written: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    first_ms: dict[tuple[int, int, int], int] = field(default_factory=dict)
    repeated: int = 0
    problems: list[str] = field(default_factory=list)

    def read(self, record: Message) -> None:
        """Takes a record of the topic."""
        key, value = record.key() or b"", record.value() or b""
        pane = panes.decode(value)
        if panes.key(pane) != key:
            self.problems.append(f"offset {record.offset()}: key {key!r} of {panes.key(pane)!r}")
        before = self.written.setdefault((key, pane.n), value)
        if before is not value:
            self.repeated += 1
            if before != value:
                self.problems.append(f"offset {record.offset()}: {key!r} n {pane.n} with other bytes than before")
        where = pane.shard, pane.start_ms, pane.pane_ms
        self.first_ms.setdefault(where, record.timestamp()[1])
        if pane.addendum:
            self.addenda[*where, pane.n] = pane
        elif where not in self.revisions or self.revisions[where].n < pane.n:
            self.revisions[where] = pane

    def first_written(self) -> list[tuple[int, int]]:
        """When the first revision of each pane was written, and the pane's end; Unix milliseconds."""
        return [(ms, start_ms + pane_ms) for (_, start_ms, pane_ms), ms in self.first_ms.items()]

    def every(self) -> list[Pane]:
        """What has to be added up."""
        return [*self.revisions.values(), *self.addenda.values()]
