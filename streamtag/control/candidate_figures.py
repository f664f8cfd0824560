"""How candidates fare in operation, over all workers: counts of the last minutes out of heartbeats that only grow."""

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta

from streamtag.control.fleet import ExperimentFigures, Fleet, Heartbeat
from streamtag.domain.rollout import Figures

__all__ = ["CandidateFigures"]

# A total failure after five good minutes passes a limit of 1 % in three seconds; a slip of a second is no breach.
WINDOW = timedelta(minutes=5)
_EVERY = timedelta(seconds=5)
_LAG_STANDS_FOR = timedelta(minutes=1)
# Whoever has not looked for so long does not know what happened meanwhile: nothing of before stands for now.
_BLIND = timedelta(seconds=20)

_COUNTS = ("scored", "shed", "failures", "invalid", "dead")
_Place = tuple[str, datetime, str]  # worker, when it started, id of the experiment


class _Counts:
    """Of one candidate on one worker; the first sample is what had been counted when the window began."""

    def __init__(self, at: datetime, figures: ExperimentFigures) -> None:
        self.samples = deque([(at, figures)])
        self.newest = figures
        self.at = at

    def put(self, at: datetime, figures: ExperimentFigures) -> None:
        if at - self.samples[-1][0] >= _EVERY:
            self.samples.append((at, figures))
        while len(self.samples) > 1 and self.samples[1][0] <= at - WINDOW:
            self.samples.popleft()
        self.newest, self.at = figures, at

    def grown(self, name: str) -> int:
        """By how much a count has grown within the window."""
        grown: int = getattr(self.newest, name) - getattr(self.samples[0][1], name)
        return grown


class CandidateFigures:
    """Fed with the fleet at every look; keeps what it needs of the last minutes."""

    def __init__(self, stale: timedelta) -> None:
        self._stale = stale
        self._counts: dict[_Place, _Counts] = {}
        self._lags: deque[tuple[datetime, int]] = deque()
        self._slowest: dict[str, float] = {}
        self._looked_at: datetime | None = None

    def observe(self, fleet: Fleet) -> None:
        """Takes in the heartbeats of one look; those that are stale say nothing."""
        if self._looked_at is not None and fleet.now - self._looked_at > _BLIND:
            self._counts.clear()
            self._lags.clear()
        self._looked_at = fleet.now
        fresh = [beat for beat in fleet.heartbeats if fleet.now - beat.beat_at < self._stale]
        self._slowest = {}
        for beat in fresh:
            for id_, figures in beat.experiments.items():
                self._put(beat, id_, figures, fleet.now)
                if figures.p99_ms is not None:
                    self._slowest[id_] = max(self._slowest.get(id_, 0.0), figures.p99_ms)
        self._counts = {place: kept for place, kept in self._counts.items() if kept.at > fleet.now - WINDOW}
        self._observe_lag(fleet.now, [beat.lag for beat in fresh if beat.lag is not None])

    def of(self, id_: str) -> Figures:
        """Those of one experiment's candidate, as of the last look."""
        kept = [counts for (_, _, experiment), counts in self._counts.items() if experiment == id_]
        sums = {name: sum(counts.grown(name) for counts in kept) for name in _COUNTS}
        return Figures(**sums, p99_ms=self._slowest.get(id_), lag=self._lasting_lag())

    def _put(self, beat: Heartbeat, id_: str, figures: ExperimentFigures, now: datetime) -> None:
        place = (beat.worker, beat.started_at, id_)
        known = self._counts.get(place)
        if known is not None and any(getattr(figures, name) < getattr(known.newest, name) for name in _COUNTS):
            # It counts from 0 again: it took the experiment up anew.
            self._counts[place] = _Counts(now, ExperimentFigures())
        elif known is None:
            # All that a young worker has counted happened within the window; what an old one has, nobody knows when.
            young = beat.started_at > now - WINDOW
            self._counts[place] = _Counts(now - WINDOW, ExperimentFigures()) if young else _Counts(now, figures)
        self._counts[place].put(now, figures)

    def _observe_lag(self, now: datetime, lags: Iterable[int]) -> None:
        known = list(lags)
        if not known:
            # Nobody knows: what was seen before does not stand for now.
            self._lags.clear()
            return
        self._lags.append((now, sum(known)))
        while len(self._lags) > 1 and self._lags[1][0] <= now - _LAG_STANDS_FOR:
            self._lags.popleft()

    def _lasting_lag(self) -> int | None:
        if not self._lags or self._lags[-1][0] - self._lags[0][0] < _LAG_STANDS_FOR:
            return None
        return min(lag for _, lag in self._lags)
