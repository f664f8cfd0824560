"""A window beside what is normal: rates then and now, and signals that a label behaves differently. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec import UNSET

from streamtag.domain.behaviour import AlertCounts, Signal, same_set, stuck_labels
from streamtag.domain.cooccurrence import CoAlerts, association_changes
from streamtag.domain.drift import score_drift
from streamtag.events.panes import Cell
from streamtag.stats.label_figures import LabelFigures, label_figures, traffic
from streamtag.stats.windows import WindowDocument

__all__ = ["Compared", "compare", "comparisons", "signals"]

Choose = Callable[[Cell], bool]
_ALPHA = 0.05
"""Chance that any signal of a kind is raised by chance alone, at one look."""


@dataclass(frozen=True)
class Compared:
    """One label now and before.

    Attributes:
        now: in the window.
        hour, week: rate in the full hour before it, and in the same hour a week ago; None where nothing was counted.
    """

    now: LabelFigures
    hour: float | None
    week: float | None

    def facts(self) -> dict[str, Any]:
        """For programs: everything but the bins, which each writes in its own way."""
        return {
            "events": self.now.events,
            "alerts": self.now.alerts,
            "rate": self.now.rate,
            "interval": self.now.interval(),
            "rate_last_hour": self.hour,
            "rate_last_week": self.week,
            "mean_score": self.now.mean_score,
        }


def compare(
    window: WindowDocument, hour: WindowDocument | None, week: WindowDocument | None, choose: Choose = traffic
) -> list[Compared]:
    """Each label of the window."""
    before, long_ago = (
        {one.label: one.rate for one in label_figures(found, choose)} if found else {} for found in (hour, week)
    )
    return [Compared(one, before.get(one.label), long_ago.get(one.label)) for one in label_figures(window, choose)]


def signals(window: WindowDocument, reference: WindowDocument, choose: Choose = traffic) -> list[Signal]:
    """What differs from the reference by more than chance explains, most telling kinds first."""
    return [signal for signal in comparisons(window, reference, choose) if signal.raised]


def comparisons(window: WindowDocument, reference: WindowDocument, choose: Choose = traffic) -> list[Signal]:
    """Everything that was compared with the reference and may be a signal: the drift of each label's scores, suspects.

    Counts of both as one: where several releases decided in either, a change between them is a signal, too.
    """
    now, then = _counts(window, choose), _counts(reference, choose)
    found = [*stuck_labels(then, now, alpha=_ALPHA)]
    if (same := same_set(then, now, alpha=_ALPHA)) is not None:
        found.append(same)
    before = {one.label: one for one in label_figures(reference, choose)}
    both = [(before[one.label], one) for one in label_figures(window, choose) if one.label in before]
    share = _ALPHA / max(1, len(both))
    found += [score_drift(one.label, was.bins, one.bins, alpha=share) for was, one in both if was.events and one.events]
    labels = tuple(sorted(one.label for _, one in both))
    return found + association_changes(_pairs(reference, labels, choose), _pairs(window, labels, choose), alpha=_ALPHA)


def _counts(window: WindowDocument, choose: Choose) -> AlertCounts:
    figures = label_figures(window, choose)
    return AlertCounts(sum(cell.events for cell in filter(choose, window.cells)), {f.label: f.alerts for f in figures})


def _pairs(window: WindowDocument, labels: Sequence[str], choose: Choose) -> CoAlerts:
    index = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    events = 0
    for cell in filter(choose, window.cells):
        events += cell.events
        for label, found in cell.labels.items():
            if label in index:
                counts[index[label], index[label]] += found.alerts
        for one, others in ({} if cell.pairs is UNSET else cell.pairs).items():
            for other, n in others.items():
                if one in index and other in index:
                    counts[index[one], index[other]] += n
                    counts[index[other], index[one]] += n
    return CoAlerts(tuple(labels), events, counts)
