"""What a window says of each label, and of each in a segment: what the command, the web view and the metrics show."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from msgspec import UnsetType
from numpy.typing import NDArray

from streamtag.domain.evalues import rate_interval
from streamtag.domain.scores import BINS, MICRO
from streamtag.events.panes import Cell
from streamtag.stats.windows import WindowDocument

__all__ = [
    "LabelFigures",
    "SegmentFigures",
    "counted_apart",
    "events_of",
    "label_figures",
    "segment_figures",
    "traffic",
]

Choose = Callable[[Cell], bool]


class _Shadowable(Protocol):
    @property
    def shadow(self) -> bool | UnsetType: ...


def traffic(cell: _Shadowable) -> bool:
    """Cells that decided: a candidate's shadow is none of the traffic."""
    return cell.shadow is not True


@dataclass(frozen=True, eq=False)
class LabelFigures:
    """One label in one window.

    Attributes:
        label: id.
        events: scored.
        alerts: tagged with it.
        mean_score: of all events; None without any.
        bins: events per score bin, int64 [1024].
    """

    label: str
    events: int
    alerts: int
    mean_score: float | None
    bins: NDArray[np.int64]

    @property
    def rate(self) -> float | None:
        """Share of events that were tagged; None without events."""
        return self.alerts / self.events if self.events else None

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Confidence sequence of the rate: it holds at every moment at once, however often one looks."""
        return rate_interval(self.alerts, self.events, alpha=alpha)


def label_figures(document: WindowDocument, choose: Choose = traffic) -> list[LabelFigures]:
    """Each label of the chosen cells, in order of label; the counts of all chosen cells together."""
    events: dict[str, int] = {}
    alerts: dict[str, int] = {}
    sums: dict[str, int] = {}
    bins: dict[str, NDArray[np.int64]] = {}
    for cell in filter(choose, document.cells):
        for label, counts in cell.labels.items():
            events[label] = events.get(label, 0) + cell.events
            alerts[label] = alerts.get(label, 0) + counts.alerts
            sums[label] = sums.get(label, 0) + counts.sum_micro
            into = bins.setdefault(label, np.zeros(BINS, np.int64))
            into[counts.bins] += np.array(counts.counts, np.int64)
    return [
        LabelFigures(label, n, alerts[label], sums[label] / n / MICRO if n else None, bins[label])
        for label, n in sorted(events.items())
    ]


def events_of(document: WindowDocument, choose: Choose = traffic) -> int:
    """Events of the chosen cells."""
    return sum(cell.events for cell in filter(choose, document.cells))


@dataclass(frozen=True)
class SegmentFigures:
    """One segment, e.g. ``lang=de``, in one window.

    Attributes:
        events: of the segment.
        alerts: of each label of the chosen cells, also where none was tagged in the segment.
    """

    events: int
    alerts: Mapping[str, int]

    def rate(self, label: str) -> float | None:
        """Share of the segment's events that were tagged; None without events, or where the label was not scored."""
        return self.alerts[label] / self.events if self.events and label in self.alerts else None


def counted_apart(document: WindowDocument, dimension: str) -> list[str]:
    """Values of a dimension that have events of their own in a window."""
    return sorted({value for cell in document.cells for value in cell.segments.get(dimension, {})})


def segment_figures(document: WindowDocument, dimension: str, value: str, choose: Choose = traffic) -> SegmentFigures:
    """One segment of the chosen cells together, labels in order."""
    events, alerts = 0, dict[str, int]()
    for cell in filter(choose, document.cells):
        counts = cell.segments.get(dimension, {}).get(value)
        events += counts.events if counts else 0
        for label in cell.labels:
            alerts[label] = alerts.get(label, 0) + (counts.alerts.get(label, 0) if counts else 0)
    return SegmentFigures(events, dict(sorted(alerts.items())))
