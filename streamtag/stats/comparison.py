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
from streamtag.stats.label_figures import LabelFigures, events_of, label_figures, traffic
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

    Counts of both as one: where several releases decided in either, a change between them is a signal, too. A label
    that either lacks is left out: another bundle has others, and one that nobody scores any more has not fallen silent.
    """
    before = {one.label: one for one in label_figures(reference, choose)}
    now = label_figures(window, choose)
    both = [(before[one.label], one) for one in now if one.label in before]
    share = _ALPHA / max(1, len(both))
    scored = [(was, one) for was, one in both if was.events and one.events]
    found = [signal for was, one in scored for signal in stuck_labels(_alone(was), _alone(one), alpha=share)]
    then = _counts(reference, [was for was, _ in both], choose)
    if (same := same_set(then, _counts(window, now, choose), alpha=_ALPHA)) is not None:
        found.append(same)
    found += [score_drift(one.label, was.bins, one.bins, alpha=share) for was, one in scored]
    labels = tuple(sorted(one.label for _, one in both))
    return found + association_changes(_pairs(reference, labels, choose), _pairs(window, labels, choose), alpha=_ALPHA)


def _alone(one: LabelFigures) -> AlertCounts:
    """Of the events that a label was scored on: where two bundles decided in turn, not all were."""
    return AlertCounts(one.events, {one.label: one.alerts})


def _counts(window: WindowDocument, figures: Sequence[LabelFigures], choose: Choose) -> AlertCounts:
    return AlertCounts(events_of(window, choose), {one.label: one.alerts for one in figures})


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
