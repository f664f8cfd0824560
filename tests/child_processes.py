"""Processes that a test's own processes have started (Linux)."""

import os
import signal
from pathlib import Path


def child_of(pid: int) -> int | None:
    """The first child, whichever thread has started it; None while there is none."""
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found = (thread / "children").read_text(encoding="ascii").split()
            if found:
                return int(found[0])
    except OSError:  # the process, or the thread, has ended meanwhile
        pass
    return None


def kill(pid: int) -> None:
    """SIGKILL."""
    os.kill(pid, signal.SIGKILL)


def signal_to(pid: int, number: signal.Signals) -> None:
    """Any signal."""
    os.kill(pid, number)
