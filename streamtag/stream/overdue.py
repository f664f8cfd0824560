"""Calls into the client that may ignore their own timeout, made so that the caller does not hang with them.

An exception holds the frames that it has passed. A frame that holds the exception in turn would keep the client that
was called, with its threads and connections, until the garbage collector looks; in a worker that is seldom.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from streamtag.errors import without_frames

_LOOK_S = 0.5


class OverdueError(Exception):
    """The call has not returned. It goes on, on a thread that nobody waits for."""


def call_within(seconds: float, call: Callable[[], object], waiting: Callable[[], object] = lambda: None) -> None:
    """Makes ``call`` on a thread of its own and waits for it; raises what it raises.

    Args:
        seconds: longest wait.
        call: may hang for ever; then its thread, and all it holds, stays until the process ends.
        waiting: called now and then meanwhile.

    Raises:
        OverdueError: it did not return in time.
    """
    done: Future[None] = Future()
    threading.Thread(target=_run, args=(call, done), name="client call", daemon=True).start()
    left = seconds
    while not _finished(done, min(left, _LOOK_S)):
        left -= _LOOK_S
        if left <= 0:
            raise OverdueError
        waiting()
    try:
        done.result()
    finally:
        del done  # see the module


def _run(call: Callable[[], object], done: "Future[None]") -> None:
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - handed to the caller, which raises it
        done.set_exception(without_frames(error))
    else:
        done.set_result(None)


def _finished(done: "Future[None]", seconds: float) -> bool:
    try:
        done.exception(timeout=seconds)
    except TimeoutError:
        return done.done()
    return True
