"""How long this command has been running, the start of the interpreter included."""

import os
import sys
import time
from pathlib import Path

_IMPORTED_AT = time.monotonic()


def command_age_s() -> float:
    """Seconds since this process began; where the system does not tell, since this module was imported."""
    if not sys.platform.startswith("linux"):
        return time.monotonic() - _IMPORTED_AT
    # field 22 (start time in clock ticks since boot), counted behind the name in parentheses, which may hold anything
    started_ticks = int(
        Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    )
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
