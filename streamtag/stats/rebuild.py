"""Makes windows again from the commit summaries, beside the live ones, and puts them in their place.

The panes say only which summaries of which pane had been counted at which position of their log; what was counted is
taken from the summaries. So where nothing is wrong the new windows equal the live ones byte for byte.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from streamtag.control.store import ControlStore
from streamtag.errors import ConflictError, NotFoundError
from streamtag.events.summary import PaneCounts
from streamtag.stats.cells import InvalidCellError, all_columns
from streamtag.stats.ledger import UnreadableSummaryError, contradictions, read_summary
from streamtag.stats.pane_log import PaneLog, UnreadablePaneError
from streamtag.stats.read_model import Checkpoint, ReadModel
from streamtag.stats.revisions import Revisions, Step
from streamtag.stats.windows import Windows
from streamtag.stream.topic_reader import TopicReader

__all__ = ["Rebuild", "Rebuilt"]

_WRITE_EVERY = 500  # steps
_TRIES = 30
# Summaries and panes are written after the events that they count, but hosts' clocks differ.
_CLOCKS_MS = 120_000

OnProgress = Callable[[int, int], None]
"""Told the positions of the panes topic that are done, and their end."""


@dataclass
class Rebuilt:
    """What was made.

    Attributes:
        generation: its name.
        summaries: read.
        windows: made again, by size and start.
        differing: those of them that are not what the live ones are.
        swapped: they count now.
    """

    generation: str
    summaries: int = 0
    windows: set[tuple[str, int]] = field(default_factory=set)
    differing: list[tuple[str, int]] = field(default_factory=list)
    swapped: bool = False


class Rebuild:
    """One making.

    Args:
        store: the control plane.
        panes: the log.
        reader: of the stats topic.
        stats_topic: its name.
        since_ms: windows that begin earlier are left as they are, Unix milliseconds.
        keep: see `Revisions`.
        on_progress: told how far it is.
    """

    def __init__(
        self,
        store: ControlStore,
        panes: PaneLog,
        reader: TopicReader,
        stats_topic: str,
        since_ms: int,
        *,
        keep: int,
        on_progress: OnProgress = lambda _done, _end: None,
    ) -> None:
        self._live = ReadModel(store)
        self._new = ReadModel(store, str(time.time_ns() // 1_000_000))
        self._panes = panes
        self._reader = reader
        self._topic = stats_topic
        self._since_ms = since_ms
        self._on_progress = on_progress
        self._windows = Windows(self._new.load)
        self._revisions = Revisions(keep)
        self._next = 0  # position of the panes topic
        self._sources: dict[int, int] = {}  # per shard, the summary that comes next
        self._cells: dict[tuple[int, int], list[tuple[int, PaneCounts]]] = {}  # (shard, start) to offset and counts
        self._result = Rebuilt(self._new.generation())

    def run(self, *, swap: bool) -> Rebuilt:
        """Makes the windows, compares them, and with ``swap`` puts them in the place of the live ones.

        Raises:
            NotFoundError: there are no live windows.
            ConflictError: the live ones ran ahead again and again.
        """
        low, _ = self._panes.bounds()
        self._next = max(low, self._panes.position_at(self._since_ms - _CLOCKS_MS))
        starts = self._reader.from_time(self._topic, self._since_ms - _CLOCKS_MS)
        self._sources = {shard: start for shard, (start, _) in starts.items()}
        for _ in range(_TRIES):
            checkpoint = self._live.checkpoint()
            if checkpoint is None:
                raise NotFoundError("there are no windows in Redis", hint="`streamtag stats` makes them.")
            self._follow(checkpoint)
            self._compare()
            if not swap:
                break
            before = self._live.generation()
            self._live.copy_to(self._new, lambda size, start: (size, start) not in self._result.windows)
            if self._live.swap(self._new, checkpoint):
                self._result.swapped = True
                ReadModel(self._live.store, before).forget()
                return self._result
        self._new.forget()
        if swap:
            raise ConflictError("live windows changed faster than they could be followed; nothing was swapped")
        return self._result

    def _follow(self, checkpoint: Checkpoint) -> None:
        """Up to where the live windows are."""
        self._read_summaries()
        applied = 0
        for position, pane in self._panes.read(self._next, max(self._next, checkpoint.position)):
            self._next = position + 1
            step = None if isinstance(pane, UnreadablePaneError) else self._revisions.apply(position, pane)
            if step is None or step.pane.start_ms < self._since_ms:
                continue
            self._windows.apply(position, self._made_again(step))
            applied += 1
            if applied % _WRITE_EVERY == 0:
                self._write()
                self._on_progress(position, checkpoint.position)
        self._write()

    def _write(self) -> None:
        made = [one for one in self._windows.changed() if one.start_ms >= self._since_ms]
        self._new.put(made)
        self._windows.written()
        self._result.windows |= {(one.size, one.start_ms) for one in made}

    def _made_again(self, step: Step) -> Step:
        """The same step, adding what the summaries have that are new in it, and taking nothing away."""
        pane = step.pane
        first = pane.n - 1 if pane.addendum else 0 if step.before is None else step.before.n
        found = self._cells.get((pane.shard, pane.start_ms), [])
        new = [counts for offset, counts in found if first <= offset < pane.n]
        return Step(msgspec.structs.replace(pane, cells=new), None, ())

    def _read_summaries(self) -> None:
        bounds = self._reader.bounds(self._topic)
        ranges = {shard: (self._sources.get(shard, low), high) for shard, (low, high) in bounds.items()}
        for batch in self._reader.batches(self._topic, ranges):
            for record in batch:
                shard, offset = record.partition() or 0, record.offset() or 0
                self._result.summaries += 1
                for counts in _counts(record.key(), record.value()):
                    if counts.start_ms >= self._since_ms:
                        self._cells.setdefault((shard, counts.start_ms), []).append((offset, counts))
        self._sources = {shard: high for shard, (_, high) in ranges.items()}

    def _compare(self) -> None:
        places = sorted(self._result.windows)
        live, new = self._live.read(places), self._new.read(places)
        self._result.differing = [place for place, a, b in zip(places, live, new, strict=True) if a != b]


def _counts(key: bytes | None, value: bytes | None) -> Iterator[PaneCounts]:
    """Of a summary that the windower has counted, too."""
    try:
        summary = read_summary(key, value)
        all_columns(summary.panes)
    except (UnreadableSummaryError, InvalidCellError):
        return
    if not contradictions(summary):
        yield from summary.panes
