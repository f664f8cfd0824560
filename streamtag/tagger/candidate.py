"""The model of a candidate in a process of its own: whatever it does, hangs or dies of, the champion does not notice.

Documents and scores go through pipes, as length-prefixed frames; a thread here waits for the answers. One question is
with the process at a time, a few wait; what comes beyond that is refused at once.
"""

import contextlib
import json
import logging
import queue
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.model.contracts.preprocessor import FeatureRow
from streamtag.tagger.own_time import OwnTime
from streamtag.tagger.rerank import Limits

__all__ = ["Candidate", "read_frame", "write_frame"]

log = logging.getLogger(__name__)

_LENGTH = struct.Struct("<I")
_WAITING = 4
_HANGS_S = 10.0
"""A process that does not answer for so long, of its own time, is killed; loading the bundle may take longer. One that
others leave no processor does what it is meant to; to start it anew would only take more of them."""
_LOADS_S = 120.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_KEPT = 256
"""Answers that nobody has asked for yet, at most: of a transaction, as `Candidate.forget` drops them at its end."""
_TIMES = 2_000


def write_frame(stream: IO[bytes], body: bytes) -> None:
    """One frame."""
    stream.write(_LENGTH.pack(len(body)))
    stream.write(body)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes:
    """The next frame.

    Raises:
        EOFError: the other side has ended.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length)
    if len(body) < length:
        raise EOFError
    return body


_Question = tuple[int, list[str | None], Sequence[FeatureRow | None] | None, Sequence[str] | None]
"""Its ticket, the texts, and the features and the ids where they matter."""


class Candidate:
    """A scorer in another process. `ask`, `answer` and `forget` are for one thread, which waits in `answer` only.

    Args:
        bundle: directory of its bundle.
        sha256: of its manifest, wherever the process begins anew; with another bundle, it fails.
        labels: number of them.
        batch: texts per run of the model.
        limits: of its second stage; None where it has one stage.
    """

    def __init__(self, bundle: Path, sha256: str, labels: int, batch: int, limits: Limits | None = None) -> None:
        self._command = [sys.executable, "-m", "streamtag.tagger.candidate_process", str(bundle), sha256, str(batch)]
        self._command += [] if limits is None else [json.dumps(limits)]
        self._columns = labels if limits is None else 2 * labels + 1
        self._questions: queue.Queue[_Question | None] = queue.Queue(_WAITING)
        self._answers: dict[int, NDArray[np.float32] | None] = {}  # None: it failed
        self._times: deque[tuple[float, float]] = deque(maxlen=_TIMES)  # monotonic seconds; how many it took
        self._changed = threading.Condition()
        self._next = 0
        self._working: int | None = None  # on this question
        self._began = 0.0
        self._given_up = -1  # nobody waits for this question any more, nor for those before it
        self._up = False
        self._in_time = True  # with the answer that was waited for last
        self._has_failed = False
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="candidate", daemon=True)
        self._watchdog = threading.Thread(target=self._watch, name="candidate-watchdog", daemon=True)
        self._thread.start()
        self._watchdog.start()

    def ask(
        self,
        texts: Sequence[str | None],
        features: Sequence[FeatureRow | None] | None = None,
        ids: Sequence[str] | None = None,
    ) -> int | None:
        """Gives it documents to score; None when it has not come up, or too many wait already.

        A candidate with two stages wants the ids of the events, too. A document without the text that the bundle reads
        gets NaN for its scores.
        """
        if not self._up:
            return None
        ticket = self._next
        try:
            self._questions.put_nowait((ticket, list(texts), features, ids))
        except queue.Full:
            return None
        self._next += 1
        return ticket

    def answer(self, ticket: int, timeout_s: float) -> NDArray[np.float32] | None:
        """Scores, float32 [texts, labels]; None when they are not there in time.

        Of a candidate with two stages float32 [texts, 2 labels + 1]: the final scores, those of stage 1, the route.
        While it still works on what was given up before, there is no use in waiting.
        """
        with self._changed:
            self._changed.wait_for(lambda: ticket in self._answers or self._late_for(ticket), timeout_s)
            found = self._answers.get(ticket)
            self._in_time = found is not None
            if found is not None:
                del self._answers[ticket]
            elif ticket not in self._answers:
                self._given_up = max(self._given_up, ticket)
            return found

    def forget(self) -> None:
        """Nobody will ask for the answers to what it was asked so far."""
        with self._changed:
            self._given_up = self._next - 1
            self._answers.clear()

    @property
    def ready(self) -> bool:
        """Whether it would answer now, as far as is known: it did so in time when it was asked last."""
        return self._up and self._in_time

    def times_since(self, moment: float) -> list[float]:
        """Seconds that it was busy with each question that ended after ``moment`` (monotonic seconds). For any thread.

        Whether anybody waited that long or not: a candidate that is always late would seem as fast as its rare answers
        that were not. One that was killed, or died, on a question was busy with it until then.
        """
        return [took_s for at, took_s in list(self._times) if at > moment]

    def _late_for(self, ticket: int) -> bool:
        return self._working is not None and self._working <= self._given_up < ticket

    def why_not(self, ticket: int | None) -> Literal["loading", "failures", "shed"]:
        """Why there are no scores: it loads for the first time, has failed (then, or on these), or had no time."""
        with self._changed:
            if ticket is not None:
                return "failures" if self._answers.pop(ticket, ()) is None else "shed"
            if self._up:
                return "shed"
            return "failures" if self._has_failed else "loading"

    def close(self) -> None:
        """Kills the process; what it has answered can still be asked for."""
        self._closing.set()
        self._kill()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                self._serve()
            except (OSError, EOFError, ValueError) as error:
                log.warning("the candidate's process has ended: %r", error)
            finally:
                self._fail()
            self._kill()
            self._reap()
            if time.monotonic() - began > _LONGEST_PAUSE_S:
                pause_s = _FIRST_PAUSE_S
            self._closing.wait(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    def _serve(self) -> None:
        # A session of its own: Ctrl-C does not reach it, and it makes the whole of it nice.
        process = self._process = subprocess.Popen(  # noqa: S603 - our own
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self._busy_since = time.monotonic() + _LOADS_S - _HANGS_S  # only now: who watches, watches this process
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018 - both are pipes
        if self._closing.is_set():  # `close` may have looked for it too early
            return
        read_frame(process.stdout)  # it is loaded
        self._busy_since = None
        self._in_time = self._up = True
        while not self._closing.is_set():
            try:
                asked = self._questions.get(timeout=0.5)
            except queue.Empty:
                continue
            if asked is None:
                return
            ticket, texts, features, ids = asked
            if ticket <= self._given_up:
                continue
            self._began = self._busy_since = time.monotonic()
            self._working = ticket
            # As bytes: a text may hold lone surrogates, which no strict encoding takes.
            encoded = [None if text is None else text.encode("utf-8", "surrogatepass") for text in texts]
            # As JSON: Python's own has numbers of any size, NaN, and lone surrogates again.
            also = None if features is None else json.dumps(features).encode()
            names = None if ids is None else [one.encode("utf-8", "surrogatepass") for one in ids]
            write_frame(process.stdin, msgspec.msgpack.encode((encoded, also, names)))
            scores = np.frombuffer(read_frame(process.stdout), dtype=np.float32)
            self._busy_since = None
            self._put(ticket, scores.reshape(len(texts), self._columns))

    def _put(self, ticket: int, answer: NDArray[np.float32]) -> None:
        with self._changed:
            self._end()
            if ticket > self._given_up:
                self._answers[ticket] = answer
            while len(self._answers) > _KEPT:
                del self._answers[min(self._answers)]
            self._changed.notify_all()

    def _fail(self) -> None:
        """What waits has no answer."""
        self._up, self._has_failed = False, True
        self._busy_since = None
        with self._changed:
            self._end()
            for ticket in range(max(0, self._next - _WAITING - 1), self._next):
                self._answers.setdefault(ticket, None)
            self._changed.notify_all()
        while True:
            try:
                self._questions.get_nowait()
            except queue.Empty:
                return

    def _end(self) -> None:
        """It is busy with no question any more."""
        if self._working is not None:
            now = time.monotonic()
            self._times.append((now, now - self._began))
        self._working = None

    def _watch(self) -> None:
        own: OwnTime | None = None
        watched, busy_s = 0.0, 0.0  # since when it is busy with one thing, and how much time of its own it took for it
        while not self._closing.wait(0.5):
            since, process = self._busy_since, self._process
            if since is None or process is None:
                continue
            if own is None or since != watched:
                watched, busy_s, own = since, time.monotonic() - since, OwnTime(process.pid)
            else:
                busy_s += own.tick()
            if busy_s > _HANGS_S and self._busy_since == since:
                log.error("the candidate's process has not answered for %.0f s and is killed", _HANGS_S)
                self._busy_since = None
                self._kill()

    def _kill(self) -> None:
        """Its thread reads the end of its answers, and reaps it."""
        if self._process is not None:
            self._process.kill()

    def _reap(self) -> None:
        process = self._process
        if process is not None:
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):  # what was not written yet is of no interest
                        stream.close()
