"""What a window says of each label: the one function behind the command, the web view and the metrics."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamtag.domain.evalues import rate_interval
from streamtag.domain.scores import BINS, MICRO
from streamtag.events.panes import Cell
from streamtag.stats.windows import WindowDocument

__all__ = ["LabelFigures", "label_figures", "traffic"]

Choose = Callable[[Cell], bool]


def traffic(cell: Cell) -> bool:
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
