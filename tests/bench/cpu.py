"""CPU time of processes, as the kernel counts it (Linux)."""

import os
from collections.abc import Sequence
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; the rest is counted in user already.
_IDLE, _KINDS = (3, 4), 8


def process_s(pid: int) -> float:
    """User and system seconds of all threads of a process, ended ones too; steps of 10 ms."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    # The program's name stands in parentheses and may hold anything; utime and stime are fields 14 and 15.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def machine_s() -> float:
    """Seconds that the processors were busy, all together, since the machine started."""
    line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    ticks = [int(field) for field in line.split()[1 : 1 + _KINDS]]
    return sum(n for kind, n in enumerate(ticks) if kind not in _IDLE) / _TICKS_PER_S


def peak_rss_mib(pid: int) -> float:
    """Most memory the process has had resident."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024


def model_name() -> str:
    """The processor, in its maker's words."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "unknown")


def machine_facts() -> dict[str, object]:
    """Machine and kernel, without its name."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "cpu": model_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "kernel": os.uname().release,
        "arch": os.uname().machine,
    }


def total_s(pids: Sequence[int]) -> float:
    """`process_s` of several processes."""
    return sum(map(process_s, pids))
