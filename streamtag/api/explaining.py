"""Explanations for requests: on a thread of their own, so that nobody's scores wait for somebody's reasons."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from streamtag.api.scoring import OverloadedError, Scored, ScoredEvent
from streamtag.model.bundle import Bundle
from streamtag.model.explain import Explainer, Explanation
from streamtag.model.scorer import Scorer

__all__ = ["MOST", "Explaining"]

MOST = 20
"""Events of one request that are explained: an explanation may take some hundred runs of the model."""
_WAITING = 5 * MOST
_BATCH = 64


class Explaining:
    """Explains what has been scored. Holds a scorer of its own: one is for one thread at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="explaining")
        self._room = threading.BoundedSemaphore(_WAITING)
        self._explainers: tuple[Bundle, dict[str, Explainer]] | None = None

    def close(self) -> None:
        """Drops what waits, and ends."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def submit(self, scored: Scored) -> "Future[list[list[Explanation]]]":
        """Explains the labels that each event got, or the one with the highest score where it got none.

        Raises:
            OverloadedError: too many wait already.
        """
        taken = 0
        for _ in scored.events:
            if not self._room.acquire(blocking=False):
                self._leave(taken)
                raise OverloadedError("too many explanations wait", hint="Come again a little later.")
            taken += 1
        answer = self._thread.submit(self._explain, scored)
        answer.add_done_callback(lambda _: self._leave(taken))
        return answer

    def _leave(self, count: int) -> None:
        for _ in range(count):
            self._room.release()

    def _explain(self, scored: Scored) -> list[list[Explanation]]:
        explainers = self._of(scored.active.scorer.bundle)
        return [
            explainers[one.stage].explain(one.event.text or "", _labels(one), features=one.event.features)
            if one.refused is None
            else []
            for one in scored.events
        ]

    def _of(self, bundle: Bundle) -> dict[str, Explainer]:
        """Explainers of the bundle that decides, by stage: made when first asked for, and kept until the next one."""
        if self._explainers is None or self._explainers[0] is not bundle:
            scorer = Scorer(bundle, batch=_BATCH)
            stages = {"1": scorer} if scorer.second is None else {"1": scorer, "2": scorer.second}
            self._explainers = bundle, {stage: Explainer(of) for stage, of in stages.items()}
        return self._explainers[1]


def _labels(one: ScoredEvent) -> Sequence[str]:
    return [tag.label for tag in one.tags] or [max(one.scores, key=one.scores.__getitem__)]
