"""Looking at the newest windows for labels that are tagged too often, and turning them to review only."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from streamtag.control.breakers import BreakerLog, BreakerState
from streamtag.control.metrics import MetricSink
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.domain.breaker import Bound, Breaker, Counted, next_step
from streamtag.settings import BreakerSettings
from streamtag.stats.label_figures import traffic
from streamtag.stats.windows import SIZES, WindowDocument

__all__ = ["AUTHOR", "BreakerWatch"]

log = logging.getLogger(__name__)

AUTHOR = "streamtag (breaker)"
_OTHERS = "*"


class BreakerWatch:
    """The breakers of one pipeline, for one thread at a time. Nothing is remembered that matters: Redis holds them.

    Args:
        settings: bounds.
        store: the control plane.
        metrics: shows which are open, counts what is done.
        settle_s: how long a window must have lasted until all sources have been counted in it.
        now: the clock that dates changes.
    """

    def __init__(
        self,
        settings: BreakerSettings,
        store: ControlStore,
        metrics: MetricSink,
        *,
        settle_s: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._log = BreakerLog(store, now=now)
        self._metrics = metrics
        self._settle_s = settle_s
        self._now = now

    def look(self, latest: Mapping[str, WindowDocument]) -> list[str]:
        """Opens and closes what its rules say, by the newest window; in words, what was done.

        Raises:
            StreamtagError: Redis does not answer; the next look does what this one could not.
        """
        present, done = self._log.present().labels, []
        document = latest.get(self._settings.window)
        for label, counted in {} if document is None else _counted(document).items():
            done += self._step(label, present.get(label), counted)
        if done:
            present = self._log.present().labels
        for label, state in present.items():
            self._metrics.set("streamtag.breaker.open", int(state.open), label=label)
        return done

    def hide(self) -> None:
        """Shows none any more, until the next look."""
        self._metrics.forget("streamtag.breaker.open")

    def _step(self, label: str, state: BreakerState | None, counted: Counted) -> list[str]:
        bound = self._bound(label)
        if bound is None:
            return []
        known = None if state is None else Breaker(state.open, state.at.timestamp())
        step = next_step(bound, known, counted, self._now().timestamp())
        if step is None:
            return []
        who = Who(AUTHOR, step.reason)
        if step.kind == "open":
            changed = self._log.open(label, who, events=counted.events, alerts=counted.alerts)
        else:
            changed = self._log.close(label, who)
        if not changed:  # somebody else was first, and it is as it should be
            return []
        self._metrics.add("streamtag.breaker.flips", label=label, action=step.kind)
        log.warning("breaker of %s: %s: %s", label, step.kind, step.reason)
        return [f"{step.kind} {label}: {step.reason}"]

    def _bound(self, label: str) -> Bound | None:
        settings = self._settings
        rate = settings.rates.get(label, settings.rates.get(_OTHERS))
        if rate is None:
            return None
        window_s = SIZES[settings.window] / 1000
        return Bound(rate, settings.min_alerts, window_s, settings.close_ratio, settings.close_after_s, self._settle_s)


def _counted(document: WindowDocument) -> dict[str, Counted]:
    found: dict[str, Counted] = {}
    for cell in filter(traffic, document.cells):
        for label, counts in cell.labels.items():
            known = found.get(label, Counted(0, 0, document.start_ms / 1000))
            found[label] = replace(known, events=known.events + cell.events, alerts=known.alerts + counts.alerts)
    return found
