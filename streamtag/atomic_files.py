"""Files and directories that come into being whole and on disk, or not at all.

What is written lies beside its target under a hidden name, is flushed to the disk, and takes its name at one stroke;
then the directory that holds the name is flushed, too. After a crash there is the old state or the new one, never half
of one, and what a call has returned from is not lost. On local file systems only.

Every function makes the directories above its target, and raises `OSError` where disk or rights do not suffice: nothing
has changed then and nothing hidden is left, except that a last step which fails, the flush of the directory, leaves
what was written in its place.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["create_file", "new_directory", "replace_file", "replacing"]

# rename(2) of a directory onto one that is not empty (the system chooses which), or onto a file
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


@contextmanager
def replacing(path: Path, *, mode: int = 0o600, prefix: str | None = None) -> Iterator[BinaryIO]:
    """A stream into a file that takes the place of ``path`` when the block ends well; the block may close it.

    Args:
        path: the file.
        mode: its permissions, whatever the umask and those of the old one.
        prefix: of the hidden name; None: a dot and the name of the file.
    """
    with _hidden_file(path, mode, prefix) as (descriptor, temporary):
        # Not to be closed with the stream, which a Parquet writer closes: it still has to be flushed to the disk.
        with open(descriptor, "wb", closefd=False) as stream:
            yield stream
        os.fsync(descriptor)
        temporary.replace(path)
    _sync(path.parent)


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Writes ``content`` to ``path``, in the place of what may be there."""
    with replacing(path, mode=mode) as stream:
        stream.write(content)


def create_file(path: Path, content: bytes, *, mode: int = 0o600) -> bool:
    """Writes a new file; where there is one already, returns False and changes nothing, whoever else writes."""
    with _hidden_file(path, mode, None) as (descriptor, temporary):
        with open(descriptor, "wb", closefd=False) as stream:
            stream.write(content)
        os.fsync(descriptor)
        try:
            path.hardlink_to(temporary)  # fails where a rename would replace
        except FileExistsError:
            return False
    _sync(path.parent)
    return True


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """A directory to fill, which becomes ``path`` when the block ends well.

    Raises:
        FileExistsError: there is a file at ``path``, or a directory that is not empty; it stays as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        for inside in (*temporary.rglob("*"), temporary):
            _sync(inside)
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno in _TAKEN:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync(path.parent)


@contextmanager
def _hidden_file(path: Path, mode: int, prefix: str | None) -> Iterator[tuple[int, Path]]:
    """Descriptor and name of an empty file beside ``path``; both are gone after the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=prefix or f".{path.name}.")
    try:
        os.fchmod(descriptor, mode)
        yield descriptor, Path(name)
    finally:
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flushes a file, or the names in a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
