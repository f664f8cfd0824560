"""Scoring for requests, by the stream's own code: events of several requests share one run of the model.

One thread scores. What waits is bounded: a request that finds no room, or that has waited for longer than its
deadline, is turned away and told when to come again, so that those that are answered are answered in time.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import numpy as np

from streamtag.control.breakers import NO_BREAKERS, ActiveBreakers
from streamtag.control.watcher import ActiveRelease
from streamtag.errors import StreamtagError, UnavailableError
from streamtag.events.content import ContentEvent
from streamtag.events.rejection import Rejected
from streamtag.events.tags import Tag
from streamtag.tagger.decide import Deciding, decide_batch
from streamtag.tagger.rerank import WHY, infer_stages

__all__ = ["OverloadedError", "Scored", "ScoredEvent", "Scoring"]

log = logging.getLogger(__name__)

_LOOK_S = 0.2
_NEWEST = 0.2
"""What the newest run counts in the time that an event takes."""


class OverloadedError(StreamtagError):
    """There is more to score than can be scored in time."""

    retry_after_s = 1


@dataclass(frozen=True)
class ScoredEvent:
    """One event of a request; without scores and their cut-offs where it was refused. Stages as in a tag event."""

    event: ContentEvent
    tags: list[Tag]
    scores: dict[str, float]
    refused: Rejected | None = None
    stage: str = "1"
    stage2: str | None = None
    cutoffs: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """A request, answered by one release and one state of the breakers (its number; None: none was open)."""

    active: ActiveRelease
    events: list[ScoredEvent]
    breakers: int | None = None


@dataclass(frozen=True)
class _Request:
    events: Sequence[ContentEvent]
    deadline: float
    answer: "Future[Scored]"


class Scoring:
    """Scores what requests bring.

    Args:
        current: the release that decides; None while there is none.
        batch: events scored at once, unless one request holds more.
        max_events: that may wait.
        deadline_s: a request that has waited for longer is not scored any more.
        breakers: labels whose tags ask for review only.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        current: Callable[[], ActiveRelease | None],
        *,
        batch: int,
        max_events: int,
        deadline_s: float,
        breakers: Callable[[], ActiveBreakers] = lambda: NO_BREAKERS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._current = current
        self._breakers = breakers
        self._batch = batch
        self._max_events = max_events
        self._deadline_s = deadline_s
        self._clock = clock
        self._waiting: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._events = 0  # that wait or are being scored
        self._event_s = 0.0  # that one takes, by the last runs
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._deciding: Deciding | None = None
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Answers what waits, and ends."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)

    @property
    def waiting(self) -> int:
        """Events that wait or are being scored."""
        return self._events

    def active(self) -> ActiveRelease:
        """The release that decides.

        Raises:
            UnavailableError: there is none yet.
        """
        found = self._current()
        if found is None:
            raise UnavailableError("there is no release to decide by yet", hint="Look at /readyz for the reason.")
        return found

    def submit(self, events: Sequence[ContentEvent], *, arrived: float | None = None) -> "Future[Scored]":
        """Has events scored and decided, all by one release, in their order.

        Args:
            events: of one request.
            arrived: when it came, by the clock; None: now. Its deadline counts from then.

        Raises:
            OverloadedError: too many wait already, as many as would make it late, or more than may ever wait.
            UnavailableError: there is no release yet.
        """
        self.active()
        now = self._clock()
        deadline = (now if arrived is None else arrived) + self._deadline_s
        with self._lock:
            if now + self._events * self._event_s > deadline:
                # At once, not when its time is over: whoever is turned away soon can soon come again.
                raise OverloadedError(
                    f"{self._events} events wait, longer than the deadline allows", hint="Come again a little later."
                )
            if self._events + len(events) > self._max_events:
                raise OverloadedError(
                    f"{self._events} events wait; there is no room for {len(events)} more",
                    hint="Come again a little later, with fewer events at once.",
                )
            self._events += len(events)
        answer: Future[Scored] = Future()
        self._waiting.put(_Request(events, deadline, answer))
        return answer

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not (self._stop.is_set() and self._waiting.empty()):
            requests = self._take()
            if requests:
                self._answer(requests)

    def _take(self) -> list[_Request]:
        """As many requests as fit a batch, at least one; those that are too late are turned away."""
        try:
            found = [self._waiting.get(timeout=_LOOK_S)]
        except queue.Empty:
            return []
        size = len(found[0].events)
        while size < self._batch and not self._waiting.empty():
            found.append(self._waiting.get())
            size += len(found[-1].events)
        now = self._clock()
        for request in found:
            if request.deadline < now:
                error = OverloadedError("it waited for longer than the deadline", hint="Come again a little later.")
                self._settle(request, error)
        return [request for request in found if request.deadline >= now]

    def _answer(self, requests: Sequence[_Request]) -> None:
        begun = self._clock()
        try:
            answers = self._score([request.events for request in requests])
        except Exception as error:
            log.exception("scoring failed")
            for request in requests:
                self._settle(request, error)
        else:
            events = sum(len(request.events) for request in requests)
            self._event_s += _NEWEST * ((self._clock() - begun) / max(1, events) - self._event_s)
            for request, answer in zip(requests, answers, strict=True):
                self._settle(request, answer)

    def _score(self, requests: Sequence[Sequence[ContentEvent]]) -> list[Scored]:
        active, breakers = self.active(), self._breakers()
        if self._deciding is None or self._deciding.active is not active:
            self._deciding = Deciding(active)
        deciding = self._deciding
        events = [event for request in requests for event in request]
        inferred = infer_stages(events, active.scorer)
        refused, stages = inferred.refused, inferred.stages
        decisions = decide_batch(events, inferred.micro, deciding)
        cutoffs = deciding.compiled.matrix[decisions.rows]
        labels, found = deciding.labels, list[ScoredEvent]()
        for i, event in enumerate(events):
            if i in refused:
                found.append(ScoredEvent(event, [], {}, refused[i]))
                continue
            scores, bounds = decisions.scores[i].tolist(), cutoffs[i].tolist()
            tagged = np.flatnonzero(decisions.tagged[i]).tolist()
            tags = [Tag(labels[j], scores[j], bounds[j], breakers.action(labels[j])) for j in tagged]
            of_all = dict(zip(labels, bounds, strict=True))
            one = ScoredEvent(event, tags, dict(zip(labels, scores, strict=True)), cutoffs=of_all)
            if stages is not None:
                one = replace(one, stage="2" if stages.second[i] else "1", stage2=WHY[stages.route[i]])
            found.append(one)
        ends = np.cumsum([len(request) for request in requests]).tolist()
        return [
            Scored(active, found[end - len(one) : end], breakers.told) for one, end in zip(requests, ends, strict=True)
        ]

    def _settle(self, request: _Request, answer: Scored | Exception) -> None:
        with self._lock:
            self._events -= len(request.events)
        if request.answer.set_running_or_notify_cancel():  # else nobody waits any more
            if isinstance(answer, Scored):
                request.answer.set_result(answer)
            else:
                request.answer.set_exception(answer)
