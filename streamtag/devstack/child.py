"""An embedded service in a Python process of its own, which ends when its parent does."""

import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from streamtag.errors import UnavailableError

_START_S = 15.0
_GRACE_S = 5.0


class Child:
    """``python -m <module> <arguments>``: prints its address as one line, and runs until its standard input ends.

    The input is a pipe that only this process holds: however this process ends, the pipe closes and the child goes.
    """

    def __init__(self, module: str, arguments: Sequence[str] = ()) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        # a file, not a pipe: nobody reads it while the child runs, and a full pipe would block it
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child

    def start(self) -> str:
        """Starts it and returns the address it printed.

        Raises:
            UnavailableError: it ended or printed nothing in time; the message carries its last words.
        """
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C in the terminal is for the parent, which ends its children in order
        )
        address = _first_line(self._process, time.monotonic() + _START_S)
        if address:
            return address
        self._process.kill()
        self._process.communicate()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines() or ["no answer"]
        self.close()
        raise UnavailableError(f"{' '.join(self._command[1:])} did not start: {lines[-1]}")

    @property
    def pid(self) -> int | None:
        """Process id; None when it is not started."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """Ends it."""
        if self._process is None:
            return
        try:
            self._process.communicate(timeout=_GRACE_S)  # closes its input first
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._process = None
        self._errors.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _first_line(process: subprocess.Popen[bytes], deadline: float) -> str:
    if process.stdout is None:
        return ""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(deadline - time.monotonic()):
            return ""
    return process.stdout.readline().decode().strip()


def serve_until_input_ends(address: str) -> None:
    """The child's side: prints the address, then waits for the end of standard input."""
    sys.stdout.write(address + "\n")
    sys.stdout.flush()
    while os.read(sys.stdin.fileno(), 1_024):
        pass
