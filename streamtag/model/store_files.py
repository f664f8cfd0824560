"""The few things a bundle store asks of a place for files: one implementation for directories, one for fsspec URLs.

Both create a file for good or not at all, and never over another one: that is what immutable versions and the
compare-and-set of aliases rest on. Only signatures are ever replaced.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from streamtag.atomic_files import create_file, new_directory, replace_file
from streamtag.errors import StreamtagError, UnavailableError

__all__ = ["Files", "FsspecFiles", "LocalFiles", "open_files", "place_name"]


class Files(Protocol):
    """Files by relative POSIX path. Every method raises `UnavailableError` where the place does not answer."""

    @property
    def url(self) -> str:
        """The place in words, without secrets."""

    @property
    def directory(self) -> Path | None:
        """Where the files lie on this machine; None where they do not."""

    def names(self, folder: str) -> list[str]:
        """Names of what lies directly in ``folder``, sorted; empty where it does not exist."""

    def read(self, path: str) -> bytes | None:
        """The whole file; None where there is none."""

    def create(self, path: str, content: bytes) -> bool:
        """Writes a new file at one stroke; False, and nothing is written, where there is one already."""

    def replace(self, path: str, content: bytes) -> None:
        """Writes a file in the place of what may be there."""

    def put(self, folder: str, files: Mapping[str, bytes], *, last: str) -> bool:
        """Writes a folder that counts once its file ``last`` is there; False where that is there already.

        At a URL, another who writes the same folder at once may have left files of his in it.
        """


def open_files(place: Path | str) -> Files:
    """The files in a directory or, where ``place`` has ``://`` in it, at an fsspec URL."""
    text = str(place)
    if "://" not in text or isinstance(place, Path):
        return LocalFiles(Path(place))
    if text.startswith(("file://", "local://")):
        return LocalFiles(Path(text.partition("://")[2]))
    return FsspecFiles(text)


class LocalFiles:
    """A directory: what is written comes into being by link or rename, after it is on disk."""

    def __init__(self, directory: Path) -> None:
        self.directory: Path = directory
        self.url = str(directory)

    def names(self, folder: str) -> list[str]:
        """See `Files`."""
        with _reached(self.url):
            try:
                return sorted(os.listdir(self.directory / folder))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def read(self, path: str) -> bytes | None:
        """See `Files`."""
        with _reached(self.url):
            try:
                return (self.directory / path).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def create(self, path: str, content: bytes) -> bool:
        """See `Files`."""
        with _reached(self.url):
            return create_file(self.directory / path, content, mode=0o644)

    def replace(self, path: str, content: bytes) -> None:
        """See `Files`."""
        with _reached(self.url):
            replace_file(self.directory / path, content, mode=0o644)

    def put(self, folder: str, files: Mapping[str, bytes], *, last: str) -> bool:
        """See `Files`."""
        target = self.directory / folder
        if (target / last).exists():
            return False
        with _reached(self.url):
            try:
                with new_directory(target) as fresh:
                    for name, content in files.items():
                        (fresh / name).write_bytes(content)
            except FileExistsError:
                if (target / last).exists():
                    return False
                raise
        return True


class FsspecFiles:
    """Any URL that fsspec knows, such as those of S3, GCS, Azure, HDFS or memory.

    Files are created by the store's own exclusive write (S3: ``If-None-Match``), and read back: where a store has none
    and two writers meet, whoever reads another's bytes has lost. A folder's ``last`` is written last; what lies there
    without it is taken for the rest of a write that was cut off, and gives way. It may be another's who writes just
    now: whoever wrote a folder looks at it once more.
    """

    directory = None

    def __init__(self, url: str) -> None:
        self.url = place_name(url)
        fsspec = _fsspec()
        with _reached(self.url):
            try:
                self._fs, self._root = fsspec.core.url_to_fs(url)
            except ImportError as error:
                raise StreamtagError(
                    f"{self.url} needs a package of its own: {error}", hint="Install it beside streamtag[registry]."
                ) from None
            except ValueError as error:
                raise StreamtagError(f"{self.url} is no URL of a place for files: {error}") from None

    def names(self, folder: str) -> list[str]:
        """See `Files`."""
        path = self._path(folder)
        with _reached(self.url):
            try:
                self._fs.invalidate_cache(path)
                return sorted({PurePosixPath(found.rstrip("/")).name for found in self._fs.ls(path, detail=False)})
            except (FileNotFoundError, NotADirectoryError):
                return []

    def read(self, path: str) -> bytes | None:
        """See `Files`."""
        with _reached(self.url):
            try:
                return bytes(self._fs.cat_file(self._path(path)))
            except (FileNotFoundError, IsADirectoryError):
                return None

    def create(self, path: str, content: bytes) -> bool:
        """See `Files`."""
        return self._write_new(path, content) and self.read(path) == content

    def replace(self, path: str, content: bytes) -> None:
        """See `Files`."""
        with _reached(self.url):
            self._fs.pipe_file(self._path(path), content)

    def put(self, folder: str, files: Mapping[str, bytes], *, last: str) -> bool:
        """See `Files`."""
        there = self.names(folder)
        if last in there:
            return False
        for name in there:
            if name not in files:
                self._remove(f"{folder}/{name}")
        for name, content in files.items():
            path = f"{folder}/{name}"
            if name == last or self._write_new(path, content) or self.read(path) == content:
                continue
            if last in self.names(folder):  # whoever else wrote is done: these are no leftovers
                return False
            self.replace(path, content)
        return self.create(f"{folder}/{last}", files[last])

    def _write_new(self, path: str, content: bytes) -> bool:
        full = self._path(path)
        with _reached(self.url):
            self._fs.makedirs(full.rpartition("/")[0], exist_ok=True)
            try:
                self._fs.pipe_file(full, content, mode="create")
            except FileExistsError:
                return False
        return True

    def _remove(self, path: str) -> None:
        with _reached(self.url), contextlib.suppress(FileNotFoundError):
            self._fs.rm(self._path(path), recursive=True)

    def _path(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}".rstrip("/")


@contextlib.contextmanager
def _reached(url: str) -> Iterator[None]:
    try:
        yield
    except StreamtagError:
        raise
    except Exception as error:
        # stores raise errors of their own libraries, which are many
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0][:300] or type(error).__name__
        raise UnavailableError(
            f"{url} cannot be used: {reason}", hint="Is it there, may you use it, and are its credentials set?"
        ) from error


def _fsspec() -> Any:
    try:
        import fsspec  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise StreamtagError(
            "bundles at a URL need the package fsspec", hint="Install the extra: pip install 'streamtag[registry]'."
        ) from None
    return fsspec


def place_name(place: Path | str) -> str:
    """A place in words: without user and password, where it is a URL."""
    return re.sub(r"://[^/@]*@", "://", str(place)).rstrip("/")
