"""Work that the processing thread has the polling thread do: only that one may call the consumer."""

import queue
import time
from collections.abc import Callable
from concurrent.futures import Future

from confluent_kafka import KafkaException

from streamtag.errors import without_frames
from streamtag.stream.sink import Undone

_LOOK_S = 0.01


class Calls:
    """A queue of calls. `ask` on any thread, the rest on the one that serves."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: queue.SimpleQueue[tuple[Callable[[], None], Future[None]]] = queue.SimpleQueue()

    def ask(self, work: Callable[[], None]) -> Future[None]:
        """Has ``work`` done, soon; the future tells when, and raises the KafkaException or `Undone` that it raised."""
        done: Future[None] = Future()
        self._waiting.put((work, done))
        return done

    def serve(self, block_s: float = 0.0) -> None:
        """Does what is asked by now, after waiting up to ``block_s`` for the first."""
        while True:
            try:
                work, done = self._waiting.get(timeout=block_s) if block_s else self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                work()
            except (KafkaException, Undone) as error:
                done.set_exception(without_frames(error))
            else:
                done.set_result(None)
            block_s = 0.0

    def serve_while(self, waiting: Callable[[], bool], budget_s: float) -> bool:
        """Serves while ``waiting``; False when the budget ran out."""
        deadline = self._clock() + budget_s
        while waiting():
            if self._clock() > deadline:
                return False
            self.serve(_LOOK_S)
        return True
