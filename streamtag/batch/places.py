"""Where batch scoring reads and writes: local paths and every URL that fsspec knows."""

import fcntl
import lzma
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, cast
from zipfile import BadZipFile

import fsspec
import msgspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import infer_compression

from streamtag.atomic_files import replacing
from streamtag.errors import ConflictError, NotFoundError, RefusedError, StreamtagError, UnavailableError

__all__ = ["FileFormat", "Output", "Source", "find_sources", "open_source"]


class FileFormat(StrEnum):
    """What a file holds; ``jsonl``: content events, one a line."""

    PARQUET = "parquet"
    JSONL = "jsonl"
    CSV = "csv"


_SUFFIXES = {
    ".parquet": FileFormat.PARQUET,
    ".pq": FileFormat.PARQUET,
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.CSV,
}
# What tells one state of a file from another, by the name its file system has for it; the first that is there counts.
_STAMPS = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "updated", "mtime", "created")
_TEMPORARY = ".streamtag-batch-"  # prefix of files that are being written
# What a damaged file raises: EOFError where gzip is cut off, the others by their codecs.
_UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, BadZipFile)


class Source(msgspec.Struct, frozen=True):
    """One input file, in the state in which it was found.

    Attributes:
        url: absolute path, or URL.
        format: what it holds.
        size: bytes on disk.
        stamp: changes when the file does, as far as its file system tells.
        compression: name of fsspec's codec for the file as a whole (``gzip``, …).
    """

    url: str
    format: FileFormat
    size: int
    stamp: str
    compression: str | None = None

    @property
    def delimiter(self) -> str:
        """Between the fields of a CSV file."""
        return "\t" if _suffix(self.url) == ".tsv" else ","


def find_sources(
    inputs: Sequence[str], file_format: FileFormat | None = None, *, output: "Output | None" = None
) -> list[Source]:
    """The files meant by paths, directories, globs and URLs, each once, in the order given and by name within one.

    In a directory, files that begin with ``.`` or ``_``, or lie in a directory that does, are passed by.

    Args:
        inputs: what to read.
        file_format: of all files; None: by their names.
        output: what lies there is no input, even where it lies in an input directory.

    Raises:
        NotFoundError: something is not there; names all that is not.
        RefusedError: the format of a file is not known; names all of them.
        UnavailableError: a file system does not answer.
    """
    found: dict[str, Source] = {}
    missing, unknown = [], []
    for wanted in inputs:
        try:
            files = [file for file in _files(wanted) if output is None or not output.holds(file[0])]
        except (OSError, ValueError, ImportError) as error:
            raise UnavailableError(f"cannot look for {wanted}: {_reason(error)}") from None
        if not files:
            missing.append(wanted)
        for url, info in files:
            known = file_format or _format_of(url)
            if known is None:
                unknown.append(f"{url}: not a name ending in {', '.join(_SUFFIXES)}")
            else:
                found.setdefault(url, Source(url, known, info.get("size") or 0, _stamp(info), infer_compression(url)))
    if missing:
        raise NotFoundError(f"no file to read at {', '.join(missing)}", hint="Give files, directories or globs.")
    if unknown:
        raise RefusedError("the format of some files is not known", problems=unknown, hint="Name it with --format.")
    return list(found.values())


@contextmanager
def open_source(source: Source, *, at: int = 0) -> Iterator[BinaryIO]:
    """The content of a source, decompressed, from byte ``at`` on.

    Raises:
        StreamtagError: it cannot be opened or read on.
    """
    try:
        opened = fsspec.open(source.url, "rb", compression=source.compression)  # type: ignore[no-untyped-call]
        with opened as stream:
            if at:
                stream.seek(at)
            yield cast(BinaryIO, stream)
    except _UNREADABLE as error:
        raise StreamtagError(f"{source.url} cannot be read: {_reason(error)}") from None


class Output:
    """The directory that a job writes. A file is there whole, or it is not there.

    On a local file system files are written under another name, synced and renamed. Object stores show what was
    written when it is closed; other remote systems may show half a file, which counts for nothing until its job says
    that it is done (see `streamtag.batch.job`).
    """

    def __init__(self, url: str) -> None:
        try:
            self._fs, self._root = url_to_fs(url)  # type: ignore[no-untyped-call]
        except (ValueError, ImportError) as error:
            raise StreamtagError(f"cannot write to {url}: {_reason(error)}") from None
        self.url = url
        self._local = isinstance(self._fs, LocalFileSystem)

    def holds(self, url: str) -> bool:
        """Whether a file, as `find_sources` names it, lies here."""
        return url.startswith(_url(self._fs, self._root).rstrip("/") + "/")

    def read(self, name: str) -> bytes | None:
        """Content of a file, or None where there is none."""
        try:
            return cast(bytes, self._fs.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None

    def names(self, directory: str = "") -> list[str]:
        """Names of the files in the output or a directory of it; temporary ones are not among them."""
        path = f"{self._root}/{directory}" if directory else self._root
        try:
            listed = self._fs.ls(path, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        names = (str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in listed)
        return sorted(name for name in names if not name.startswith("."))

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A file to write; it is there when the block ends well, and as it was when it does not.

        Raises:
            StreamtagError: rights or room do not suffice.
        """
        with self._changing(), self._writing(name) as stream:
            yield stream

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Says where nothing could be written."""
        try:
            yield
        except BrokenPipeError:  # of whoever is told of progress within the block
            raise
        except OSError as error:
            hint = "Mend it and run the same command again: it goes on after what is done."
            raise StreamtagError(f"cannot write to {self.url}: {_reason(error)}", hint=hint) from None

    @contextmanager
    def _writing(self, name: str) -> Iterator[BinaryIO]:
        path = f"{self._root}/{name}"
        self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        if self._local:
            with replacing(Path(path), mode=0o644, prefix=_TEMPORARY) as stream:
                yield stream
            return
        stream = self._fs.open(path, "wb")
        try:
            yield cast(BinaryIO, stream)
        except BaseException:
            if hasattr(stream, "discard"):
                stream.discard()
            raise
        stream.close()

    def write(self, name: str, content: bytes) -> None:
        """Writes a small file."""
        with self.writing(name) as stream:
            stream.write(content)

    def append_all(self, name: str, parts: Sequence[str]) -> None:
        """Writes ``name`` as what stands in ``parts``, one after another."""
        with self.writing(name) as stream:
            for part in parts:
                stream.write(self.read(part) or b"")

    def remove(self, names: Sequence[str]) -> None:
        """Removes files and directories that are there, in this order."""
        there = set(self.names())
        with self._changing():
            for name in names:
                if name in there:
                    self._fs.rm(f"{self._root}/{name}", recursive=True)

    def tidy(self) -> None:
        """Removes what killed processes left half-written."""
        if self._local:
            with self._changing():
                for path in Path(self._root).rglob(f"{_TEMPORARY}*"):
                    path.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps others off while the block runs, on this machine only; makes the directory where there is none.

        Raises:
            ConflictError: somebody else is at work here.
            StreamtagError: the directory cannot be made or opened.
        """
        if not self._local:
            yield
            return
        try:
            os.makedirs(self._root, exist_ok=True)
            descriptor = os.open(self._root, os.O_RDONLY)
        except OSError as error:
            raise StreamtagError(f"cannot write to {self.url}: {_reason(error)}") from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConflictError(f"another run is at work on {self.url}", hint="Wait for it, or stop it.") from None
            yield
        finally:
            os.close(descriptor)


def _files(wanted: str) -> list[tuple[str, dict[str, Any]]]:
    """URL and facts of each file meant by ``wanted``."""
    fs, path = url_to_fs(wanted)  # type: ignore[no-untyped-call]
    if fs.isdir(path):
        found, shown = fs.find(path, detail=True), len(path)
    elif fs.exists(path):
        return [(_url(fs, path), fs.info(path))]
    elif any(character in path for character in "*?["):
        found, shown = fs.glob(path, detail=True), path.rfind("/")
    else:
        return []
    return [
        (_url(fs, name), info)
        for name, info in sorted(found.items())
        if info["type"] == "file" and not any(part[:1] in {".", "_"} for part in name[shown:].strip("/").split("/"))
    ]


def _url(fs: Any, path: str) -> str:
    return path if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(path))


def _format_of(url: str) -> FileFormat | None:
    return _SUFFIXES.get(_suffix(url))


def _suffix(url: str) -> str:
    """How the name ends, in small letters, without the suffix of a compression."""
    name = url.rsplit("/", 1)[-1].lower()
    stem = name.rsplit(".", 1)[0] if infer_compression(name) else name
    return f".{stem.rsplit('.', 1)[-1]}"


def _stamp(info: dict[str, Any]) -> str:
    return next((str(info[name]) for name in _STAMPS if info.get(name) is not None), "")


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
