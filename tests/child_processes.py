"""Processes that a test's own processes have started (Linux)."""

import os
import signal
from pathlib import Path


def child_of(pid: int) -> int | None:
    """The first child, None while there is none."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        found = children.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return None
    return int(found[0]) if found else None


def kill(pid: int) -> None:
    """SIGKILL."""
    os.kill(pid, signal.SIGKILL)


def signal_to(pid: int, number: signal.Signals) -> None:
    """Any signal."""
    os.kill(pid, number)
