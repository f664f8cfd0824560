"""Parts of a stored window, for who needs a few numbers of many windows: the rest is skipped, not decoded.

A histogram has up to 1,024 numbers, and a week of hourly windows of 50 labels holds 8,400 of them.
"""

from collections.abc import Iterator

import msgspec

from streamtag.events.summary import SegmentCounts
from streamtag.stats.label_figures import traffic

__all__ = ["Counted", "Rates", "ScoreCell", "Scores", "SegmentEvents", "SegmentRates"]


class _Window(msgspec.Struct, frozen=True, gc=False):
    version: int
    size: str
    start_ms: int
    exact: bool


class Counted(msgspec.Struct, frozen=True, gc=False):
    """Of one label in one cell: how many events were tagged with it."""

    alerts: int


class _RateCell(msgspec.Struct, frozen=True, gc=False):
    events: int
    labels: dict[str, Counted]
    shadow: bool | msgspec.UnsetType = msgspec.UNSET


class Rates(_Window, frozen=True, gc=False):
    """A window without histograms and segments; see `streamtag.stats.windows.WindowDocument`."""

    cells: list[_RateCell]

    def labels(self) -> dict[str, tuple[int, int]]:
        """Label to events and alerts of all that decided, in order of label."""
        found: dict[str, tuple[int, int]] = {}
        for cell in self.cells:
            if traffic(cell):
                for label, counted in cell.labels.items():
                    events, alerts = found.get(label, (0, 0))
                    found[label] = events + cell.events, alerts + counted.alerts
        return dict(sorted(found.items()))


class SegmentEvents(msgspec.Struct, frozen=True, gc=False):
    """How many events a segment had."""

    events: int


class ScoreCell(msgspec.Struct, frozen=True, gc=False):
    """Of one bundle: ``labels`` hold `streamtag.events.summary.LabelCounts`, to be decoded where they are needed."""

    bundle_sha256: str
    events: int
    labels: dict[str, msgspec.Raw]
    segments: dict[str, dict[str, SegmentEvents]]
    shadow: bool | msgspec.UnsetType = msgspec.UNSET


class Scores(_Window, frozen=True, gc=False):
    """A window whose histograms are decoded one by one."""

    cells: list[ScoreCell]


class _SegmentCell(msgspec.Struct, frozen=True, gc=False):
    labels: dict[str, msgspec.Raw]
    segments: dict[str, dict[str, SegmentCounts]]
    shadow: bool | msgspec.UnsetType = msgspec.UNSET


class SegmentRates(_Window, frozen=True, gc=False):
    """A window with its segments alone."""

    cells: list[_SegmentCell]

    def of(self, label: str) -> Iterator[tuple[str, str, int, int]]:
        """Dimension, value, events, and alerts of a label, of each segment of what scored it and decided."""
        for cell in self.cells:
            if traffic(cell) and label in cell.labels:
                for dimension, values in cell.segments.items():
                    for value, counts in values.items():
                        yield dimension, value, counts.events, counts.alerts.get(label, 0)
