"""Makes windows again from the commit summaries, beside the live ones, and puts them in their place.

The panes say only which summaries of which pane had been counted at which position of their log; what was counted is
taken from the summaries. So where nothing is wrong the new windows equal the live ones byte for byte.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

import msgspec
from confluent_kafka import Message

from streamtag.control.store import ControlStore
from streamtag.errors import ConflictError, NotFoundError, RefusedError, UnavailableError
from streamtag.events.panes import Pane
from streamtag.events.summary import PaneCounts
from streamtag.stats.cells import InvalidCellError, all_columns
from streamtag.stats.lease import Lease, forget_abandoned
from streamtag.stats.ledger import UnreadableSummaryError
from streamtag.stats.pane_log import PaneLog, UnreadablePaneError
from streamtag.stats.read_model import Checkpoint, ReadModel
from streamtag.stats.recompute import CLOCKS_MS
from streamtag.stats.revisions import Revisions, Step
from streamtag.stats.summaries import read_counted
from streamtag.stats.windows import SIZES, WindowDocument, Windows, start_of
from streamtag.stream.topic_reader import TopicReader

__all__ = ["Rebuild", "Rebuilt", "day_touched"]

log = logging.getLogger(__name__)

_PANES_AT_ONCE = 500  # records, with what the summaries have of them
_WINDOWS_AT_ONCE = 100  # compared; each has a histogram of every label
_TRIES = 30

T = TypeVar("T")
OnProgress = Callable[[int, int], None]
"""Told the positions of the panes topic that are done, and their end."""


@dataclass
class Rebuilt:
    """What was made.

    Attributes:
        generation: its name.
        since_ms: windows that begin earlier were left as they are, Unix milliseconds.
        summaries: read.
        windows: made again, by size and start.
        differing: those of them that are not what the live ones are, and live ones that should not be there.
        swapped: they count now.
    """

    generation: str
    since_ms: int
    summaries: int = 0
    windows: set[tuple[str, int]] = field(default_factory=set)
    differing: list[tuple[str, int]] = field(default_factory=list)
    swapped: bool = False


@dataclass(frozen=True)
class _Due:
    """A record of the panes topic whose contents are to be taken from the summaries at ``[first, pane.n)``."""

    position: int
    pane: Pane
    first: int


class Rebuild:
    """One making. Of the summaries it holds those that no pane read so far has counted.

    Args:
        store: the control plane.
        panes: the log.
        reader: of the stats topic.
        stats_topic: its name.
        since_ms: windows that begin earlier are left as they are, Unix milliseconds.
        keep: see `Revisions`.
        max_future_ms: a summary may count events dated so much later than it was written.
        max_age_s: see `ReadModel`.
        on_progress: told how far it is.
        now_ms: Unix milliseconds.
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
        max_future_ms: int,
        max_age_s: int,
        on_progress: OnProgress = lambda _done, _end: None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._live = ReadModel(store)
        self._new = ReadModel(store, str(now_ms()), max_age_s=max_age_s)
        self._lease = Lease(self._new)
        self._panes = panes
        self._reader = reader
        self._topic = stats_topic
        self._since_ms = since_ms
        self._read_from_ms = since_ms - max_future_ms - CLOCKS_MS
        self._on_progress = on_progress
        self._now_ms = now_ms
        self._windows = Windows(self._new.load)
        self._revisions = Revisions(keep)
        self._next = 0  # position of the panes topic
        self._sources: dict[int, int] = {}  # per shard, the summary that comes next
        self._counts: dict[tuple[int, int], list[tuple[int, PaneCounts]]] = {}  # (shard, start) to offset and counts
        self._result = Rebuilt(self._new.generation(), since_ms)

    def run(self, *, swap: bool) -> Rebuilt:
        """Makes the windows, compares them, and with ``swap`` puts them in the place of the live ones.

        Whatever ends it before that, the live windows are what they were, and nothing of the new ones is left; after a
        SIGKILL the next making, or the next app that starts, removes them (`forget_abandoned`).

        Raises:
            NotFoundError: there are no live windows.
            RefusedError: summaries or panes that are needed have expired.
            ConflictError: the live ones ran ahead again and again, or nothing was heard of the new ones for too long.
        """
        try:
            self._begin()
            return self._swap() if swap else self._look()
        finally:
            self._leave_nothing()

    def _begin(self) -> None:
        forget_abandoned(self._live.store)
        self._lease.take()
        low, _ = self._panes.bounds()
        self._next = max(low, self._panes.position_at(self._read_from_ms))
        starts = self._reader.from_time(self._topic, self._read_from_ms)
        self._sources = {shard: start for shard, (start, _) in starts.items()}
        expired = [f"{self._topic}/{p}" for p, (low, _) in self._bounds().items() if 0 < low >= self._sources[p]]
        if 0 < low >= self._next:
            expired.append("panes")
        if expired:
            raise RefusedError(
                f"windows from {datetime.fromtimestamp(self._since_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC on cannot be "
                f"made again: some of what they count may have expired in {', '.join(expired)}",
                hint="Give a later --from. How long records are kept is retention.ms of the topics.",
            )

    def _look(self) -> Rebuilt:
        self._follow(self._checkpoint())
        self._compare()
        return self._result

    def _swap(self) -> Rebuilt:
        for _ in range(_TRIES):
            checkpoint = self._checkpoint()
            self._follow(checkpoint)
            self._compare()
            self._lease.renew()
            before = self._live.generation()
            self._live.copy_to(self._new, lambda _, start: start < self._since_ms)
            if self._live.swap(self._new, checkpoint):
                self._result.swapped = True
                ReadModel(self._live.store, before).forget()
                return self._result
        raise ConflictError("live windows changed faster than they could be followed; nothing was swapped")

    def _leave_nothing(self) -> None:
        # The alias says which generation counts, also where the answer to the swap was lost.
        try:
            if self._live.generation() != self._new.generation():
                self._new.forget()
        except UnavailableError as error:
            log.warning("windows that do not count may remain in Redis at %s: %s", self._result.generation, error)

    def _checkpoint(self) -> Checkpoint:
        found = self._live.checkpoint()
        if found is None:
            raise NotFoundError("there are no windows in Redis", hint="`streamtag stats` makes them.")
        return found

    # -- making ------------------------------------------------------------------------------------------------------

    def _follow(self, checkpoint: Checkpoint) -> None:
        """Up to where the live windows are."""
        end = max(self._next, checkpoint.position)
        bounds = self._bounds()
        for some in _batched(self._panes.read(self._next, end), _PANES_AT_ONCE):
            due = [one for position, pane in some if (one := self._due(position, pane)) is not None]
            self._read_summaries(bounds, due)
            for one in due:
                pane = msgspec.structs.replace(one.pane, cells=self._take(one))
                self._windows.apply(one.position, Step(pane, None, ()))
            self._write()
            self._next = some[-1][0] + 1
            self._on_progress(self._next, end)

    def _due(self, position: int, pane: Pane | UnreadablePaneError) -> _Due | None:
        step = None if isinstance(pane, UnreadablePaneError) else self._revisions.apply(position, pane)
        if step is None or step.pane.start_ms < self._since_ms:
            return None
        pane = step.pane
        first = pane.n - 1 if pane.addendum else 0 if step.before is None else step.before.n
        return _Due(position, msgspec.structs.replace(pane, cells=[]), first)

    def _read_summaries(self, bounds: Mapping[int, tuple[int, int]], due: Sequence[_Due]) -> None:
        """As far as these panes have counted them."""
        ends = dict[int, int]()
        for one in due:
            ends[one.pane.shard] = max(one.pane.n, ends.get(one.pane.shard, 0))
        ranges = {}
        for shard, end in ends.items():
            if shard not in bounds or end > bounds[shard][1]:
                raise RefusedError(
                    f"panes have counted {self._topic}/{shard} up to offset {end:,}, where that topic never was",
                    hint="The topic was made anew; windows from before that cannot be made again. Give a later --from.",
                )
            ranges[shard] = (self._sources[shard], max(end, self._sources[shard]))
        for batch in self._reader.batches(self._topic, ranges):
            for record in batch:
                shard, offset = record.partition() or 0, record.offset() or 0
                self._result.summaries += 1
                for counts in _counts(record):
                    if counts.start_ms >= self._since_ms:
                        self._counts.setdefault((shard, counts.start_ms), []).append((offset, counts))
        self._sources |= {shard: end for shard, (_, end) in ranges.items()}

    def _take(self, due: _Due) -> list[PaneCounts]:
        """What the summaries have that is new in a record of the log; no later record counts any of it again."""
        place = due.pane.shard, due.pane.start_ms
        found = self._counts.pop(place, [])
        if later := [one for one in found if one[0] >= due.pane.n]:
            self._counts[place] = later
        return [counts for offset, counts in found if due.first <= offset < due.pane.n]

    def _write(self) -> None:
        self._lease.renew()
        made = [one for one in self._windows.changed() if one.start_ms >= self._since_ms]
        self._new.put(made)
        self._windows.written()
        self._result.windows |= {(one.size, one.start_ms) for one in made}

    def _bounds(self) -> dict[int, tuple[int, int]]:
        return self._reader.bounds(self._topic)

    # -- comparing ---------------------------------------------------------------------------------------------------

    def _compare(self) -> None:
        live = {(size, start) for size, start in self._live.places() if start >= self._since_ms}
        self._result.differing = []
        for some in _batched(sorted(live | self._result.windows), _WINDOWS_AT_ONCE):
            self._lease.renew()
            for place, old, new in zip(some, self._read_live(some), self._new.read(some), strict=True):
                if old != new and not (old is None and self._has_expired(place)):
                    self._result.differing.append(place)

    def _read_live(self, places: Sequence[tuple[str, int]]) -> list[WindowDocument | None]:
        """Live windows; one that cannot be read is as good as none."""
        try:
            return self._live.read(places)
        except RefusedError:
            if len(places) == 1:
                return [None]
            return [one for place in places for one in self._read_live([place])]

    def _has_expired(self, place: tuple[str, int]) -> bool:
        size, start_ms = place
        return start_ms + SIZES[size] + self._new.keep_s(size) * 1000 <= self._now_ms()


def day_touched(reader: TopicReader, stats_topic: str, offsets: Mapping[int, int]) -> int:
    """Start of the day (UTC) of the earliest pane that summaries from these offsets on count in, Unix milliseconds.

    So each window that any of them touches begins then or later.

    Args:
        reader: of the stats topic.
        stats_topic: its name.
        offsets: by partition; of those that are not named, no summary is looked at.

    Raises:
        NotFoundError: no such partition, or nothing is counted from there on.
        RefusedError: some of these summaries have expired.
    """
    bounds = reader.bounds(stats_topic)
    for partition, offset in offsets.items():
        if partition not in bounds:
            raise NotFoundError(f"{stats_topic} has no partition {partition}; it has {len(bounds)}")
        if offset < bounds[partition][0]:
            raise RefusedError(
                f"{stats_topic}/{partition}: summaries before offset {bounds[partition][0]:,} have expired",
                hint="Give that offset, or a later one.",
            )
    ranges = {partition: (offset, bounds[partition][1]) for partition, offset in offsets.items()}
    earliest: int | None = None
    for batch in reader.batches(stats_topic, ranges):
        for record in batch:
            for counts in _counts(record):
                earliest = counts.start_ms if earliest is None else min(earliest, counts.start_ms)
    if earliest is None:
        raise NotFoundError(f"{stats_topic}: nothing is counted from there on")
    return start_of("1d", earliest)


def _batched(every: Iterable[T], n: int) -> Iterator[list[T]]:
    rest = iter(every)
    while some := list(islice(rest, n)):
        yield some


def _counts(record: Message) -> Iterator[PaneCounts]:
    """Of a summary that the windower has counted, too."""
    try:
        summary = read_counted(record)
        all_columns(summary.panes)
    except (UnreadableSummaryError, InvalidCellError):
        return
    yield from summary.panes
