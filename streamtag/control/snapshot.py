"""The last good release on this host's disk: what a worker decides by when it starts and Redis is away or empty."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from streamtag.atomic_files import replace_file
from streamtag.control.release_documents import ReleaseId, decode_release, decode_revision
from streamtag.control.store import Current
from streamtag.errors import RefusedError

__all__ = ["SnapshotFile", "SnapshotRead"]

_FORMAT = 1
# Another worker holds the lock for one write. One that is frozen there must not hold up this one's watcher.
_LONGEST_WAIT_S = 2.0


class _Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    namespace: str
    champion: ReleaseId
    release: str
    revision: str


@dataclass(frozen=True)
class SnapshotRead:
    """A release from disk, or why there is none (``""`` when the file simply is not there)."""

    current: Current | None
    reason: str = ""


class SnapshotFile:
    """One file per namespace; several workers of a host share it."""

    def __init__(self, state_dir: Path, namespace: str, *, path: Path | None = None) -> None:
        self.path = path or state_dir / "releases" / f"{namespace}.json"
        self._namespace = namespace

    def read(self) -> SnapshotRead:
        """The snapshot, proven by its hashes. Never raises: a damaged or foreign file is as good as none."""
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return SnapshotRead(None)
        except OSError as error:
            return SnapshotRead(None, f"snapshot {self.path} cannot be read: {error.strerror}")
        try:
            found = msgspec.json.decode(raw, type=_Snapshot)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return SnapshotRead(None, f"snapshot {self.path} is damaged: {error}")
        if (found.format, found.namespace) != (_FORMAT, self._namespace):
            where = f"format {found.format} of namespace {found.namespace!r}"
            return SnapshotRead(None, f"snapshot {self.path} is not ours: {where}")
        try:
            release = decode_release(found.release.encode(), found.champion)
            revision = decode_revision(found.revision.encode(), release.document.thresholds)
        except RefusedError as error:
            return SnapshotRead(None, f"snapshot {self.path} is damaged: {error.message}")
        return SnapshotRead(Current(release, revision))

    def write(self, current: Current) -> None:
        """Replaces the snapshot, durably and all at once, unless it holds a later release.

        A slow worker of this host must not write over what a faster one has kept. Numbers only grow, also where a
        snapshot is restored, and a worker that finds a lower one in Redis than here does not follow it.

        Raises:
            OSError: disk full, no permission, locked for long …; the old snapshot still stands.
        """
        document = _Snapshot(
            format=_FORMAT,
            namespace=self._namespace,
            champion=current.id,
            release=current.release.raw.decode(),
            revision=current.revision.raw.decode(),
        )
        with self._locked():
            present = self.read().current
            if present is None or present.id.number <= current.id.number:
                replace_file(self.path, msgspec.json.encode(document))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among the processes of this host; the file of the lock stays, or two could hold one each."""
        path = self.path.with_name(f".{self.path.name}.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            deadline = time.monotonic() + _LONGEST_WAIT_S
            while not _taken(lock):
                if time.monotonic() >= deadline:
                    raise OSError(errno.EWOULDBLOCK, f"another process holds {path}")
                time.sleep(0.01)
            yield
        finally:
            os.close(lock)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
