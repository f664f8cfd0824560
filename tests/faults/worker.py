"""``python -m tests.faults.worker``: the normal entry point, with fault points that answer to the campaign.

Commands come as lines on stdin, so that a running worker can be armed:

* ``arm <point> <skip> <action>``: at the ``skip``-th passing of the point, ``kill`` or ``freeze`` this process, or
  ``raise`` (the processor fails) or ``undo`` (as if the answer of the broker were lost);
* ``disarm``;
* ``clock <seconds>``: steps what Python code takes for the wall clock.

``--defect=NAME`` as the first argument switches on one deliberate defect of `defects`.
"""

import faulthandler
import os
import signal
import sys
import threading
import time

from streamtag.cli.main import main
from streamtag.stream import faultpoints
from streamtag.stream.sink import Undone

from . import defects


class Armed:
    """Strikes once at each armed point."""

    def __init__(self) -> None:
        self._actions: dict[str, tuple[int, str]] = {}

    def arm(self, point: str, skip: int, action: str) -> None:
        """From now on; replaces what was armed at this point before."""
        self._actions[point] = (skip, action)

    def disarm(self) -> None:
        """Forgets what has not struck."""
        self._actions = {}

    def reached(self, point: str) -> None:
        """The hook."""
        armed = self._actions.get(point)
        if armed is None:
            return
        skip, action = armed
        if skip > 0:
            self._actions[point] = (skip - 1, action)
            return
        del self._actions[point]
        print(f"fault point {point}: {action}", file=sys.stderr, flush=True)
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif action == "undo":
            raise Undone("fault point")
        else:
            raise RuntimeError(f"fault point {point}")


def _listen(armed: Armed) -> None:
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "arm":
            armed.arm(arguments[0], int(arguments[1]), arguments[2])
        elif command == "disarm":
            armed.disarm()
        elif command == "clock":
            _step_clock(float(arguments[0]))


_real_time, _real_time_ns = time.time, time.time_ns


def _step_clock(by_s: float) -> None:
    time.time = lambda: _real_time() + by_s
    time.time_ns = lambda: _real_time_ns() + int(by_s * 1_000_000_000)


if __name__ == "__main__":
    if sys.argv[1].startswith("--defect="):
        defects.BY_NAME[sys.argv.pop(1).partition("=")[2]].switch_on()
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # a worker that hangs can say where
    hook = Armed()
    faultpoints.reached = hook.reached
    threading.Thread(target=_listen, args=(hook,), name="campaign", daemon=True).start()
    main()
