"""Processes of other programs: started so that none is left behind, and signalled only when still the same one."""

import ctypes
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.02


@dataclass(frozen=True)
class ProcessRef:
    """A process by number *and* start time: a number alone may belong to a stranger by the time it is used.

    Attributes:
        pid: process id.
        started: start time as the operating system prints it, opaque.
    """

    pid: int
    started: str

    @staticmethod
    def of(pid: int) -> "ProcessRef | None":
        """The process that has ``pid`` now; None when there is none (or only its exit status)."""
        started = _start_time(pid)
        return None if started is None else ProcessRef(pid, started)

    def alive(self) -> bool:
        """True while this very process runs (or is frozen)."""
        return _start_time(self.pid) == self.started

    def signal(self, number: signal.Signals) -> bool:
        """Sends a signal to the process and the children in its group; False when it has gone."""
        if not self.alive():
            return False
        try:
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def wait(self, timeout_s: float) -> bool:
        """Waits until it has gone; False when it has not after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL when it still runs after ``grace_s``; a frozen process is thawed to hear the first."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        if not self.wait(grace_s):
            self.signal(signal.SIGKILL)
            self.wait(grace_s)


def spawn(
    argv: Sequence[str],
    *,
    log: Path,
    dies_with_parent: bool,
    environ: Mapping[str, str] | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Starts a server in a session of its own, so that Ctrl-C in the terminal does not reach it.

    Args:
        argv: program and arguments.
        log: its stdout and stderr are appended here.
        dies_with_parent: the kernel sends ``death_signal`` when the *thread* that called this ends, so call it from
            the main thread (Linux; elsewhere the process outlives a parent that is killed).
        environ: environment; default that of this process.
        death_signal: see above.
    """
    with log.open("ab") as sink:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=None if environ is None else dict(environ),
            preexec_fn=_bound_to_parent(death_signal) if dies_with_parent else None,  # noqa: PLW1509 - one system call
        )


def _bound_to_parent(number: signal.Signals) -> Callable[[], None] | None:
    """What a forked child calls before exec so that it dies with its parent; None where the kernel cannot do that."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = _libc().prctl
    parent = os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)

    return bind


_PR_SET_PDEATHSIG = 1


@functools.cache
def _libc() -> ctypes.CDLL:
    # loaded in the parent: nothing but the call itself may happen between fork and exec
    return ctypes.CDLL(None, use_errno=True)


def _start_time(pid: int) -> str | None:
    if sys.platform.startswith("linux"):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # the program's name stands in parentheses and may hold anything; state is field 3, start time field 22
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    shown = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = shown.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()
