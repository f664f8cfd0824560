"""Two stages: a bundle's first model on every event, its second one on those that are worth it.

What decides which events go, and whose scores they have, is `streamtag.domain.two_stage`. Here: the two models, the
clock of the budget, and what becomes of an event that stage 2 cannot score: it keeps the scores of stage 1.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamtag.domain.two_stage import Bucket, Route, goes, merge, routes
from streamtag.events.content import ContentEvent
from streamtag.model.scorer import Scorer
from streamtag.settings import TaggerSettings
from streamtag.tagger.infer import Refusals, infer

__all__ = ["WHY", "Budget", "Inferred", "Limits", "Stages", "infer_stages"]

WHY = tuple(None if route is Route.FIRST else route.word for route in Route)
"""Of each `Route`, the word in tag events for why stage 2 decided, or why it did not."""


@dataclass(frozen=True, eq=False)
class Stages:
    """Which stage gave the events of a batch their scores; columns of n.

    Attributes:
        first: what stage 1 said, in millionths, int64 [n, labels].
        route: `Route` of each event, uint8 [n].
        took_s: seconds that stage 2 took, over the whole batch.
    """

    first: NDArray[np.int64]
    route: NDArray[np.uint8]
    took_s: float = 0.0

    def take(self, rows: NDArray[np.intp] | list[int]) -> "Stages":
        """Of some of the events."""
        return replace(self, first=self.first[rows], route=self.route[rows])

    @property
    def second(self) -> NDArray[np.bool_]:
        """Whether stage 2 decided, bool [n]."""
        return goes(self.route)


@dataclass(frozen=True, eq=False)
class Inferred:
    """What a batch scores.

    Attributes:
        micro: final scores in millionths, int64 [n, labels]; rows of refused events hold zeros and must not be used.
        refused: index into the batch to why an event has no scores.
        stages: of a bundle with two stages; else None.
    """

    micro: NDArray[np.int64]
    refused: Refusals
    stages: Stages | None = None


_LONGEST_S = 0.1
"""So much time can be saved for one batch: about what its neighbours wait for stage 2."""
_GUESS_S = _LONGEST_S / 4
"""What an event is expected to take by a model that has not been met yet."""
_SHORTEST_S = 1e-6
_ROUNDING = 1e-6
_NEWER = 0.2
"""Weight of the newest batch in what an event is expected to take."""


class Limits(NamedTuple):
    """Of a budget, as in the settings.

    Attributes:
        share: of the events that stage 1 scores.
        per_s: events a second; None: no such limit.
        per_batch: events of one batch.
        time_share: of the time that passes; 1: no such limit.
    """

    share: float
    per_s: float | None
    per_batch: int
    time_share: float = 1.0

    @staticmethod
    def of(tagger: TaggerSettings) -> "Limits":
        """Those of a worker."""
        return Limits(tagger.stage2_share, tagger.stage2_per_s, tagger.stage2_per_batch, tagger.stage2_time_share)


class Budget:
    """How many events of a batch may go to stage 2: a share of the events, so many a second and a batch, and no longer.

    Args:
        limits: all four hold.
        clock: monotonic seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        # What was not used is saved for one batch that needs it, or for a second.
        self._by_share = Bucket(capacity=limits.per_batch)
        self._by_time = Bucket(capacity=max(1.0, limits.per_s or 1.0))
        self._seconds = Bucket(_LONGEST_S, _LONGEST_S)
        self._model: object = None
        self._event_s: float | None = None
        self._at = clock()

    def meet(self, model: object) -> None:
        """The second stage that is asked from now on; of another one nobody knows how long it takes."""
        if model is not self._model:
            self._model, self._event_s = model, None

    def allow(self, events: int, wanted: int) -> int:
        """How many may go of those who should, in a batch of so many; they count as gone."""
        now = self._clock()
        limits = self._limits
        share = self._by_share.earn(events * limits.share)
        timed = self._by_time.earn((now - self._at) * (limits.per_s or 0.0))
        self._seconds = self._seconds.earn((now - self._at) * limits.time_share)
        allowed = min(wanted, share.whole, limits.per_batch)
        if limits.time_share < 1:
            # One event at least has a full bucket, however long it may take.
            event_s = min(_LONGEST_S, _GUESS_S if self._event_s is None else self._event_s)
            allowed = max(0, min(allowed, int(self._seconds.tokens / event_s + _ROUNDING)))
        if limits.per_s is not None:
            allowed = min(allowed, timed.whole)
        self._by_share, self._by_time, self._at = share.spend(allowed), timed.spend(allowed), now
        return allowed

    def took(self, events: int, seconds: float) -> None:
        """Tells how long those that went took, so many."""
        self._seconds = self._seconds.spend(seconds)
        each = max(seconds / events, _SHORTEST_S)
        self._event_s = each if self._event_s is None else self._event_s + _NEWER * (each - self._event_s)


def infer_stages(
    events: Sequence[ContentEvent],
    scorer: Scorer,
    budget: Budget | None = None,
    on_split: Callable[[], None] = lambda: None,
) -> Inferred:
    """Scores a batch by one stage, or by both.

    Args:
        events: the batch.
        scorer: of the release that decides.
        budget: of stage 2; None: whatever is in a band or in the sample goes.
        on_split: as of `infer`, of either stage.
    """
    first, refused = infer(events, scorer, on_split)
    if scorer.second is None or scorer.bands is None:
        return Inferred(first, refused)
    fit = np.ones(len(events), dtype=np.bool_)
    fit[list(refused)] = False
    sampled = scorer.bands.sampled(((event.id, event.text) for event in events), len(events)) & fit
    in_band = scorer.bands.hold(first) & fit
    allowed = None
    if budget is not None:
        budget.meet(scorer.second)
        allowed = budget.allow(int(fit.sum()), int((sampled | in_band).sum()))
    route = routes(in_band, sampled, allowed)
    rows = np.flatnonzero(goes(route))
    if not rows.size:
        return Inferred(first, refused, Stages(first, route))
    began = time.perf_counter()
    second, failed = infer([events[row] for row in rows.tolist()], scorer.second, on_split)
    took_s = time.perf_counter() - began
    if budget is not None:
        budget.took(len(rows), took_s)
    valid = np.ones(len(rows), dtype=np.bool_)
    valid[list(failed)] = False
    route[rows[~valid]] = Route.FAILED
    return Inferred(merge(first, second, rows, valid), refused, Stages(first, route, took_s))
