"""What is written is there whole and on the disk, or it is not there."""

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from streamtag.atomic_files import create_file, new_directory, replace_file, replacing


def _fill(path: Path) -> None:
    with new_directory(path) as fresh:
        (fresh / "part").write_bytes(b"new")


def _create(path: Path) -> None:
    assert create_file(path, b"new")


WRITERS = pytest.mark.parametrize("write", [lambda path: replace_file(path, b"new"), _create, _fill])
Write = Callable[[Path], None]


def _full(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@WRITERS
def test_content_is_on_disk_before_its_name_and_then_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    synced: list[tuple[bool, bool]] = []
    flush, target = os.fsync, tmp_path / "new"

    def note(descriptor: int) -> None:
        is_parent = os.fstat(descriptor).st_ino == tmp_path.stat().st_ino
        synced.append((is_parent, target.exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write(target)
    *contents, name = synced
    assert contents
    assert set(contents) == {(False, False)}
    assert name == (True, True)


def test_every_file_of_a_new_directory_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.fstat(descriptor).st_ino))
    with new_directory(tmp_path / "new") as fresh:
        (fresh / "a").write_bytes(b"1")
        (fresh / "inner").mkdir()
        (fresh / "inner/b").write_bytes(b"2")
    assert synced == {path.stat().st_ino for path in (tmp_path, *tmp_path.rglob("*"))}


@WRITERS
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")

    def interrupted() -> None:
        with replacing(path) as stream:
            stream.write(b"half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_the_old_file_and_a_hidden_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")
    code = """if True:
        import os, signal, sys
        from pathlib import Path
        from streamtag.atomic_files import replacing
        with replacing(Path(sys.argv[1]), prefix=".hidden-") as stream:
            stream.write(b"half of it")
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", code, str(path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert [left.name[:8] for left in tmp_path.iterdir() if left != path] == [".hidden-"]


def test_a_block_may_close_its_stream_and_it_is_flushed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    with replacing(tmp_path / "file") as stream:
        stream.write(b"whole")
        stream.close()
    assert sizes[0] == len(b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_directories_above_are_made_and_the_mode_is_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "a/b/file"
    replace_file(path, b"")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    replace_file(path, b"", mode=0o644)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_only_one_creates_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert create_file(path, b"first")
    assert not create_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_new_directory_replaces_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "there"
    if kind == "file":
        path.write_bytes(b"old")
    else:
        path.mkdir()
        (path / "old").write_bytes(b"old")
    with pytest.raises(FileExistsError, match="there"):
        _fill(path)
    assert not (path / "part").exists()
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_filling_leaves_no_directory(tmp_path: Path) -> None:
    def refused() -> None:
        with new_directory(tmp_path / "new") as fresh:
            (fresh / "part").write_bytes(b"half of it")
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        refused()
    assert list(tmp_path.iterdir()) == []
