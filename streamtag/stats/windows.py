"""Windows of 1 min, 5 min, 1 h and 1 day as sums of panes. Pure: steps of the log in, documents out.

A window says up to which position of the log it was added up, so a step that comes again changes nothing. The same log
makes the same documents, byte for byte. One that says more than the log has is of another log, from before this one was
made anew: what it counted stays, and as some of that may come again, it is not exact any more.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from streamtag.events.panes import Cell, Pane
from streamtag.stats.cells import CellSums, Columns, Identity, all_columns
from streamtag.stats.revisions import Step

__all__ = ["SIZES", "WindowDocument", "Windows", "hour_before", "start_of"]

SIZES: Mapping[str, int] = MappingProxyType({"1m": 60_000, "5m": 300_000, "1h": 3_600_000, "1d": 86_400_000})
"""Name to width in milliseconds; days are those of UTC."""

VERSION = 1
Load = Callable[[str, int], "WindowDocument | None"]


class WindowDocument(msgspec.Struct, frozen=True, gc=False):
    """One window.

    Attributes:
        version: of this struct.
        size: a name of `SIZES`.
        start_ms: the window is ``[start_ms, start_ms + width)`` of record time, Unix milliseconds.
        position: all records of the panes topic before this offset are added up in it.
        exact: no source position in it was counted twice, or is known to be missing.
        positions: ``topic/partition`` of the source to the range of positions that its summaries span.
        cells: one per release, arm and shadow; rows of experiments are left out.
    """

    version: int
    size: str
    start_ms: int
    position: int
    exact: bool
    positions: dict[str, tuple[int, int]]
    cells: list[Cell]

    @property
    def end_ms(self) -> int:
        """Where it ends, Unix milliseconds."""
        return self.start_ms + SIZES[self.size]


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(WindowDocument).decode


def start_of(size: str, at_ms: int) -> int:
    """Start of the window of this size that holds a moment."""
    return at_ms // SIZES[size] * SIZES[size]


def hour_before(start_ms: int) -> int:
    """Start of the full hour before the hour that a window begins in: what the window is compared with."""
    return start_of("1h", start_ms) - SIZES["1h"]


class _Window:
    def __init__(self, size: str, start_ms: int, document: WindowDocument | None, end: int) -> None:
        self._size, self._start_ms = size, start_ms
        self._sums: dict[Identity, CellSums] = {}
        self._positions: dict[str, tuple[int, int]] = {}
        self._exact = True
        self.position = 0
        if document is not None:
            self.position, self._exact, self._positions = document.position, document.exact, dict(document.positions)
            self._count(all_columns(document.cells), 1)
            if document.position > end:
                self.position, self._exact = 0, False

    def replace(self, position: int, pane: Pane, now: Sequence[Columns], before: Sequence[Columns]) -> bool:
        """Puts the cells of a pane in the place of those that were counted before."""
        if position < self.position:
            return False
        self._count(now, 1)
        self._count(before, -1)
        for source, (start, end) in pane.positions.items():
            low, high = self._positions.get(source, (start, end))
            self._positions[source] = min(low, start), max(high, end)
        self._exact = self._exact and pane.exact
        self.position = position + 1
        return True

    def _count(self, cells: Sequence[Columns], times: int) -> None:
        for one in cells:
            sums = self._sums.get(one.identity)
            if sums is None:
                sums = self._sums[one.identity] = CellSums(one.identity)
            sums.count(one, times)

    def document(self) -> WindowDocument:
        cells = [sums.cell() for _, sums in sorted(self._sums.items(), key=lambda item: item[0])]
        positions = dict(sorted(self._positions.items()))
        return WindowDocument(VERSION, self._size, self._start_ms, self.position, self._exact, positions, cells)


class Windows:
    """All windows that change, as many as fit; those that were let go of are loaded again when they change.

    Args:
        load: a window (by size and start) as it was last written, None where there is none.
        end: where the log ended when this began; windows that say more, and more than the step applied, are of another.
        keep: windows in memory.
    """

    def __init__(self, load: Load, end: int = 0, keep: int = 64) -> None:
        self._load = load
        self._end = end
        self._keep = keep
        self._open: dict[tuple[str, int], _Window] = {}  # the one that changed last comes last
        self._touched: set[tuple[str, int]] = set()

    def apply(self, position: int, step: Step) -> None:
        """Adds what a step of the log changes.

        Raises:
            StreamtagError: a window cannot be loaded; nothing of this window has changed, others may have: the same
                step can be applied again.
        """
        now = all_columns(step.pane.cells)  # once for all sizes: taking cells apart is most of the work
        before = [] if step.before is None else all_columns(step.before.cells)
        for size in SIZES:
            place = size, start_of(size, step.pane.start_ms)
            window = self._open.pop(place, None) or _Window(*place, self._load(*place), max(self._end, position))
            self._open[place] = window
            if window.replace(position, step.pane, now, before):
                self._touched.add(place)

    def changed(self) -> list[WindowDocument]:
        """Windows that have changed since the last `written`, in order of size and start."""
        return [self._open[place].document() for place in sorted(self._touched)]

    def written(self) -> None:
        """What `changed` gave is stored."""
        self._touched.clear()
        for place in list(self._open)[: max(0, len(self._open) - self._keep)]:
            del self._open[place]
