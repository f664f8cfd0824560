"""Ports of one campaign: a block that no campaign beside it draws from, not even while a broker of this one is down."""

import fcntl
import os
import socket
import tempfile
from pathlib import Path
from types import TracebackType

from streamtag.devstack.server import HOST
from streamtag.errors import UnavailableError

FIRST, BLOCK, BLOCKS = 11_000, 100, 200
"""Below the ports that outgoing connections get on Linux (from 32,768)."""


class Ports:
    """Holds one block until closed or the process ends; a context manager.

    Args:
        directory: of the lock files, shared by all campaigns of this machine.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory or Path(tempfile.gettempdir()) / f"streamtag-faults-ports-{os.getuid()}"
        self._lock = -1
        self._next = self._end = 0

    def __enter__(self) -> "Ports":
        self._directory.mkdir(exist_ok=True)
        for block in range(BLOCKS):
            lock = os.open(self._directory / f"{block}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            self._lock = lock
            self._next = FIRST + block * BLOCK
            self._end = self._next + BLOCK
            return self
        raise UnavailableError(f"all {BLOCKS} blocks of ports are taken", hint="Fewer campaigns at once.")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def take(self) -> int:
        """A port of the block that was not given out before and that nobody listens on."""
        while self._next < self._end:
            port, self._next = self._next, self._next + 1
            with socket.socket() as probe:
                try:
                    probe.bind((HOST, port))
                except OSError:
                    continue
            return port
        raise UnavailableError("the block of ports is used up", hint="Fewer brokers or workers.")
