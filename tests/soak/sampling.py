"""What processes hold and use, each second, from ``/proc`` (Linux)."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from faults.errands import Errand
from faults.findings import Findings
from faults.seats import Seat

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Sample(NamedTuple):
    """One process at one moment: Unix seconds, MiB, numbers, CPU seconds since it started."""

    at: float
    rss_mib: float
    fds: int
    threads: int
    cpu_s: float


@dataclass
class Life:
    """One process from its start to its end."""

    name: str
    pid: int
    samples: list[Sample] = field(default_factory=list)


def sample(pid: int) -> Sample | None:
    """None when it has gone."""
    try:
        # after the program's name in parentheses: utime and stime are fields 14 and 15, threads 20, pages 24
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
        fds = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return Sample(time.time(), int(fields[21]) * _PAGE_MIB, fds, int(fields[17]), cpu_s)


class Sampler:
    """A thread; a context manager. Also notes workers that end by themselves.

    Args:
        seats: of the workers.
        others: name to pid of the other processes; a pid may change, and is None while there is none.
        each_second: called besides.
        findings: takes what ends it.
    """

    def __init__(
        self,
        seats: list[Seat],
        others: Mapping[str, Callable[[], int | None]],
        each_second: Callable[[], None],
        findings: Findings,
    ) -> None:
        self._seats = seats
        self._others = others
        self._each_second = each_second
        self._current: dict[str, Life] = {}
        self._stop = threading.Event()
        self._thread = Errand(self._run, "sampler", findings)
        self.lives: list[Life] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.finish(10)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1.0, time.monotonic())
            for seat in self._seats:
                seat.look()
                worker = seat.worker
                self._take(f"worker {seat.index}", None if worker is None else worker.process.pid)
            for name, pid_of in self._others.items():
                self._take(name, pid_of())
            self._each_second()

    def _take(self, name: str, pid: int | None) -> None:
        taken = None if pid is None else sample(pid)
        if pid is None or taken is None:
            return
        life = self._current.get(name)
        if life is None or life.pid != pid:
            life = self._current[name] = Life(name, pid)
            self.lives.append(life)
        life.samples.append(taken)
