"""How long a process has had for what it does: a process that steps back for all others may get no processor at all."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["OwnTime"]


class OwnTime:
    """Time of a process that passes while it runs, or while nothing in it wants to run.

    Where others have the processors, none passes. From ``schedstat`` and ``stat`` of its threads in Linux' ``/proc``;
    where these are not to be had, all time counts.

    Args:
        pid: of the process, which may have ended.
    """

    def __init__(self, pid: int) -> None:
        self._threads = Path(f"/proc/{pid}/task")
        self._at, self._last = time.monotonic(), _sample(self._threads)

    def tick(self) -> float:
        """Seconds of it since the last tick. The shorter ticks are, the less of its waiting is taken for its own."""
        at, now = time.monotonic(), _sample(self._threads)
        passed_s, before = at - self._at, self._last
        self._at, self._last = at, now
        # The system adds a wait up once it is over: of one that lasts, the thread's state says it.
        ran_s, waited_s = _more(now.ran_s, before.ran_s), _more(now.waited_s, before.waited_s)
        # Threads run side by side, and hand over to each other after each has waited.
        own_s = max(ran_s, default=0.0) if now.runnable else passed_s - sum(waited_s)
        return min(passed_s, max(0.0, own_s))


@dataclass(frozen=True)
class _Sample:
    """Of a process.

    Attributes:
        runnable: a thread has a processor, or is ready for one, and how long it had it is known.
        ran_s: of each thread, since it began.
        waited_s: that each thread was ready and had none.
    """

    runnable: bool
    ran_s: Mapping[str, float]
    waited_s: Mapping[str, float]


def _sample(threads: Path) -> _Sample:
    runnable, ran_s, waited_s = False, dict[str, float](), dict[str, float]()
    with contextlib.suppress(OSError):  # the process has ended
        for thread in threads.iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):  # the thread has
                ran_ns, waited_ns, _ = map(int, (thread / "schedstat").read_text(encoding="ascii").split())
                # `pid (name) state …`, and a name may hold anything.
                state = (thread / "stat").read_bytes().rpartition(b")")[2].split()[0]
                ran_s[thread.name], waited_s[thread.name] = ran_ns / 1e9, waited_ns / 1e9
                runnable = runnable or state == b"R"
    # A kernel that does not keep these says 0 of all.
    return _Sample(runnable and any(ran_s.values()), ran_s, waited_s)


def _more(now: Mapping[str, float], before: Mapping[str, float]) -> list[float]:
    """What each thread has more of than before."""
    return [seconds - before.get(thread, 0.0) for thread, seconds in now.items()]
