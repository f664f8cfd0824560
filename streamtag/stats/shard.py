"""One partition of the stats topic, folded into panes. Pure: all that decides is in the log, and a restart redoes it.

A pane is *closed* once the watermark has passed its end: it is published, and again with every change. It is *final*
once the watermark has passed its end by the lateness: it is dropped from memory, and counts that come later are
published as addenda. The horizon, up to which panes are final, depends on the log alone, never on the wall clock; and
where the broker dates the log, not on the clock of whoever writes it.

There is no store. What is committed is the position of the oldest summary that still matters, and in the metadata how
far the log was read and the horizon. From there on the same records lead to the same state: those read before are
added to panes that are not final, and decide nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from streamtag.errors import StreamtagError
from streamtag.events.panes import Pane
from streamtag.events.summary import CommitSummary
from streamtag.stats.cells import Columns, InvalidCellError, all_columns
from streamtag.stats.panes import OpenPane
from streamtag.stats.watermark import Watermark
from streamtag.stream.processor import Commit, Partition


@dataclass(frozen=True)
class ShardOptions:
    """When panes close; milliseconds.

    Attributes:
        idle_ms: a source that is silent for longer does not hold the watermark back.
        lateness_ms: a pane is final when the watermark lies this far behind its end.
        max_open: more panes than this are not kept open: the earliest become final.
    """

    idle_ms: int = 2_000
    lateness_ms: int = 20_000
    max_open: int = 360


class Checkpoint(msgspec.Struct, frozen=True):
    """Metadata of a commit.

    Attributes:
        version: of this struct.
        end: offset behind the last record read.
        horizon_ms: panes that end by then are final; None when none is.
    """

    version: int
    end: int
    horizon_ms: int | None


_VERSION = 1
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Checkpoint).decode


class _Seen(NamedTuple):
    """A summary of one source: where it stands, where its range ends, and its newest pane."""

    offset: int
    to: int
    newest_ms: int | None


class Break(NamedTuple):
    """A summary does not touch the one before it, or covers once more what another has covered.

    Attributes:
        before: offset of the oldest summary that this follows from.
        missing_from_ms: positions are missing: the newest pane of the summary before them, if it has one.
        start, end: positions of the source that are missing (``gap``) or counted twice; none where it only goes on
            where an earlier one had ended.
    """

    before: int
    missing_from_ms: int | None
    kind: Literal["gap", "overlap"]
    start: int
    end: int


class Shard:
    """Folds the records of one partition of the stats topic, fed in offset order.

    Args:
        number: the partition.
        start: position of the first record that it is fed, and the metadata of that commit (empty: there was none).
        options: when panes close.
        expired: records from ``start`` on that it needs may be missing. Whatever was added up before is left as it was
            published, and of panes that may have been, later counts become addenda.

    Raises:
        StreamtagError: the metadata cannot be read.
    """

    def __init__(self, number: int, start: Commit, options: ShardOptions, *, expired: bool = False) -> None:
        checkpoint = _read(start, number)
        self._number = number
        self._options = options
        self._expired = expired
        self._start = start.position
        self._next = start.position
        self._end = max(checkpoint.end, start.position)
        self._horizon_ms = checkpoint.horizon_ms
        self._watermark = Watermark(options.idle_ms)
        self._panes: dict[tuple[int, int], OpenPane] = {}  # by end and start
        self._seen: dict[Partition, list[_Seen]] = {}
        self.broken: Break | None = None
        """What the last summary broke; None: nothing, or nothing that was not known before a restart."""

    # -- feeding -----------------------------------------------------------------------------------------------------

    def fold(
        self,
        offset: int,
        summary: CommitSummary,
        cells: Sequence[Columns] | None = None,
        *,
        taken_ms: int | None = None,
    ) -> list[Pane]:
        """Folds the summary at ``offset``; returns what has to be published now: final panes and addenda.

        Args:
            offset: of its record.
            summary: what it says.
            cells: its cells, where they have been taken apart and checked before.
            taken_ms: when the broker took it, Unix milliseconds: it was closed no later than that. None: nobody but
                itself says.

        Raises:
            InvalidCellError: its counts contradict each other, or it has no panes' width; nothing was folded.
        """
        if summary.pane_ms < 1:
            raise InvalidCellError(f"its panes are {summary.pane_ms} ms wide")
        by_start: dict[int, list[Columns]] = {}
        cells = all_columns(summary.panes) if cells is None else cells
        for cell, found in zip(summary.panes, cells, strict=True):
            by_start.setdefault(cell.start_ms, []).append(found)
        newest_ms = max(by_start, default=None)
        taken_ms = summary.committed_at_ms if taken_ms is None else taken_ms
        closed_ms = min(summary.committed_at_ms, taken_ms)
        broken = self._cover(offset, summary, newest_ms)
        again = self._advance(offset)
        self.broken = None if again else broken
        if self._expired:
            if again:
                return []
            self._leave_published(taken_ms)
        self._watermark.observe(offset, (summary.topic, summary.partition), closed_ms, newest_ms)
        late = []
        for start_ms, cells in sorted(by_start.items()):
            final = self._is_final(start_ms + summary.pane_ms)
            if again and final:
                continue  # it was counted then
            pane = self._pane(start_ms, summary.pane_ms, keep=not final)
            pane.add(offset, summary, cells)
            if broken is not None:
                pane.doubt(offset, broken.before)
            if final:
                late.append(pane.as_addendum())
        if broken is not None and broken.missing_from_ms is not None:
            for (_, start_ms), pane in self._panes.items():
                if start_ms >= broken.missing_from_ms:  # where the missing ones belong is anybody's guess
                    pane.doubt(offset, broken.before)
        return [] if again else [*late, *self._finish()]

    def skip(self, offset: int) -> bool:
        """The record at ``offset`` cannot be folded; returns whether that was so before a restart, too."""
        return self._advance(offset)

    # -- publishing --------------------------------------------------------------------------------------------------

    def publish(self) -> list[Pane]:
        """Revisions of closed panes that have changed; to be called before every commit."""
        watermark = self._watermark.time()
        if self._catching_up() or watermark is None:
            return []
        return [pane.publish() for pane in self._unpublished() if pane.end_ms <= watermark]

    def publish_idle(self, now_ms: int) -> list[Pane]:
        """Early revisions, by the wall clock: of panes that are over and wait to be published for ``idle_ms``.

        Needed where no record comes that would move the watermark, or a source that lags holds it back. Changes
        nothing else: what is final is decided by the log.
        """
        if self._catching_up():
            return []
        idle_ms = self._options.idle_ms
        waiting = [pane for pane in self._unpublished() if pane.waiting_ms(now_ms) >= idle_ms]
        return [pane.publish() for pane in waiting if pane.end_ms + idle_ms <= now_ms]

    def open(self) -> int:
        """How many panes are kept open."""
        return len(self._panes)

    def commit(self) -> Commit:
        """Where to read on after a restart, and what to remember."""
        checkpoint = Checkpoint(_VERSION, self._end, self._horizon_ms)
        # Until a record comes that was not read before, a restart must find that records have expired: with a commit
        # that the log still holds it would take what is left of a pane for all of it, and publish that in its place.
        position = max(0, self._start - 1) if self._expired else self._oldest_needed()
        return Commit(position, _encode(checkpoint).decode())

    # -- inside ------------------------------------------------------------------------------------------------------

    def _catching_up(self) -> bool:
        """Whether what comes next was read before the restart."""
        return self._next < self._end

    def _oldest_needed(self) -> int:
        """Never goes back."""
        if self._catching_up():
            return self._start  # what is needed is not all known yet
        needed = [self._watermark.oldest, *(pane.oldest for pane in self._panes.values())]
        return min((offset for offset in needed if offset is not None), default=self._end)

    def _advance(self, offset: int) -> bool:
        """Moves on behind ``offset``; returns whether it was read before the restart."""
        if offset < self._next:
            raise ValueError(f"offset {offset} of shard {self._number} lies before {self._next}, which comes next")
        again = offset < self._end
        self._next = offset + 1
        self._end = max(self._end, self._next)
        return again

    def _cover(self, offset: int, summary: CommitSummary, newest_ms: int | None) -> Break | None:
        """Notes what the summary covers of its source, and whether that touches what is known to be covered."""
        source = summary.topic, summary.partition
        now, seen = _Seen(offset, summary.to_offset, newest_ms), self._seen.get(source, [])
        if not seen or (len(seen) == 1 and seen[0].to == summary.from_offset):  # as it should be
            self._seen[source] = [now]
            return None
        if not self._catching_up():
            # What is older would not be read again after a restart: nothing may follow from it.
            oldest = self._oldest_needed()
            seen = [one for one in seen if one.offset >= oldest]
        # The last one, and before it those that reach further.
        self._seen[source] = [*(one for one in seen if one.to > now.to), now]
        if not seen or seen[0].to == seen[-1].to == summary.from_offset:
            return None
        start, reach = summary.from_offset, max(one.to for one in seen)
        missing_from_ms = seen[-1].newest_ms if start > seen[-1].to else None
        if start > reach:
            return Break(seen[0].offset, missing_from_ms, "gap", reach, start)
        return Break(seen[0].offset, missing_from_ms, "overlap", start, min(reach, summary.to_offset))

    def _is_final(self, end_ms: int) -> bool:
        return self._horizon_ms is not None and end_ms <= self._horizon_ms

    def _pane(self, start_ms: int, pane_ms: int, *, keep: bool) -> OpenPane:
        place = start_ms + pane_ms, start_ms
        pane = self._panes.get(place) or OpenPane(self._number, start_ms, pane_ms)
        if keep:
            self._panes[place] = pane
        return pane

    def _finish(self) -> list[Pane]:
        """Moves the horizon; returns the last revisions of what has become final, where they are not published."""
        reached = []
        watermark = self._watermark.time()
        if watermark is not None:
            reached.append(watermark - self._options.lateness_ms)
        excess = len(self._panes) - self._options.max_open
        if excess > 0:
            reached.append(sorted(self._panes)[excess - 1][0])
        horizon_ms = max(reached, default=None)
        if horizon_ms is None or (self._horizon_ms is not None and horizon_ms <= self._horizon_ms):
            return []
        self._horizon_ms = horizon_ms
        final = sorted(place for place in self._panes if place[0] <= horizon_ms)
        panes = [self._panes.pop(place) for place in final]
        return [pane.publish() for pane in panes if pane.unpublished()]

    def _unpublished(self) -> list[OpenPane]:
        return [pane for _, pane in sorted(self._panes.items()) if pane.unpublished()]

    def _leave_published(self, taken_ms: int) -> None:
        """Of panes whose first part has expired, what comes is added to what was published."""
        self._expired = False
        behind_ms = taken_ms + self._options.lateness_ms
        self._horizon_ms = behind_ms if self._horizon_ms is None else max(self._horizon_ms, behind_ms)


def read_to(metadata: str) -> int:
    """Offset behind the last record that a shard had read when it committed this; 0 where nobody can tell."""
    try:
        found = _decode(metadata)
    except msgspec.DecodeError:
        return 0
    return found.end if found.version == _VERSION else 0


def _read(start: Commit, number: int) -> Checkpoint:
    if not start.metadata:
        return Checkpoint(_VERSION, start.position, None)
    try:
        found = _decode(start.metadata)
    except msgspec.DecodeError as error:
        reason = str(error)
    else:
        if found.version == _VERSION:
            return found
        reason = f"it is of version {found.version}"
    raise StreamtagError(
        f"the commit of shard {number} holds metadata that this version cannot read: {reason}",
        hint="A newer streamtag, or another program, has committed for this group: run that one, or use another group.",
    )
