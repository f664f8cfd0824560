"""Processes that work units off, each at its own pace: whoever is done asks for the next."""

import multiprocessing
import os
import resource
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from streamtag.batch.plan import Unit
from streamtag.batch.unit_scoring import Job, UnitDone, UnitScorer
from streamtag.errors import StreamtagError

__all__ = ["Ended", "Message", "Progress", "work_off"]


@dataclass(frozen=True)
class Progress:
    """So many rows more."""

    rows: int


@dataclass(frozen=True)
class Ended:
    """A process has nothing left to do: all its processor time, and the most memory it had."""

    cpu_s: float
    peak_rss_bytes: int


@dataclass(frozen=True)
class _Failed:
    error: StreamtagError | None
    text: str


Message = Progress | UnitDone | Ended


def work_off(job: Job, units: Sequence[Unit], processes: int) -> Iterator[Message]:
    """Works ``units`` off in ``processes`` processes and says what happens; leaving the iterator ends them.

    Processes are started anew (spawned): threads of onnxruntime and of file systems do not survive a fork.

    Raises:
        StreamtagError: the first failure; units that are done stay done.
    """
    context = multiprocessing.get_context("spawn")
    left = list(reversed(units))
    processes_at: dict[Connection, BaseProcess] = {}
    holding: dict[Connection, Unit] = {}
    try:
        for _ in range(min(processes, len(units))):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_work, args=(theirs, job), daemon=True)
            process.start()
            theirs.close()  # so that the end of the process is the end of the pipe
            processes_at[ours] = process
            _hand_out(ours, left, holding)
        while processes_at:
            for ready in wait(list(processes_at)):
                assert isinstance(ready, Connection)
                message = _receive(ready, processes_at[ready], holding.get(ready))
                if isinstance(message, UnitDone):
                    _hand_out(ready, left, holding)
                elif isinstance(message, Ended):
                    processes_at.pop(ready).join()
                yield message
    finally:
        for process in processes_at.values():
            process.kill()  # what it was writing has no name yet
            process.join()


def _hand_out(connection: Connection, left: list[Unit], holding: dict[Connection, Unit]) -> None:
    """Gives a process its next unit, or None when there is no more."""
    unit = left.pop() if left else None
    if unit is not None:
        holding[connection] = unit
    connection.send(unit)


def _receive(connection: Connection, process: BaseProcess, unit: Unit | None) -> Message:
    try:
        message: Message | _Failed = connection.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        raise StreamtagError(
            f"a process died ({_exit_text(process.exitcode)}) on unit {unit.number if unit else '?'}",
            hint="Run the same command again: it goes on after what is done. Killed by the system? Use fewer "
            "--processes.",
        ) from None
    if isinstance(message, _Failed):
        raise message.error or StreamtagError(f"unit {unit.number if unit else '?'} failed:\n{message.text}")
    return message


def _exit_text(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _work(connection: Any, job: Job) -> None:
    """The life of a process. It ends with whoever started it: then the pipe has no other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first process ends the others
    try:
        scorer = UnitScorer(job)
        while (unit := connection.recv()) is not None:
            connection.send(scorer.run(unit, lambda rows: connection.send(Progress(rows))))
        connection.send(Ended(time.process_time(), peak_rss_bytes()))
    except (EOFError, BrokenPipeError):
        os._exit(1)
    except StreamtagError as error:
        connection.send(_Failed(error, ""))
    except Exception:  # noqa: BLE001 - whatever it is, the person who started the job shall read it
        connection.send(_Failed(None, traceback.format_exc()))


def peak_rss_bytes() -> int:
    """The most memory this process has had."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        # Where there is no /proc; on Linux it would count the parent's, too.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
