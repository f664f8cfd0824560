"""Files of aliases that somebody else put there: each is passed over, or named with the cure."""

from pathlib import Path

import pytest

from streamtag.errors import BundleError, ConflictError
from streamtag.model.aliases import Aliases, read_aliases, write_aliases
from streamtag.model.store_files import LocalFiles


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    (tmp_path / "tiny" / ".aliases").mkdir(parents=True)
    return LocalFiles(tmp_path)


def put(files: LocalFiles, name: str, content: bytes) -> None:
    assert files.directory is not None
    (files.directory / "tiny" / ".aliases" / name).write_bytes(content)


@pytest.mark.parametrize("content", [b'{"author": "\xff"}', b'{"aliases": ' + b"[" * 100_000, b"{"])
def test_a_damaged_file_is_named(files: LocalFiles, content: bytes) -> None:
    put(files, "00000001.json", content)
    with pytest.raises(BundleError, match=r"00000001\.json is damaged"):
        read_aliases(files, "tiny")


@pytest.mark.parametrize("name", ["².json", "٠٠٠٠٠٠٠٢.json", "2.json", "00000002", "00000002.json.bak"])
def test_a_file_of_another_name_is_no_change(files: LocalFiles, name: str) -> None:
    put(files, "00000001.json", b'{"revision": 1}')
    put(files, name, b"")
    assert read_aliases(files, "tiny").revision == 1


def test_who_was_first_is_told_where_the_file_does_not_say_when(files: LocalFiles) -> None:
    put(files, "00000001.json", b'{"revision": 1, "author": "anna", "changed": "production"}')
    with pytest.raises(ConflictError, match='anna was first, and moved production of tiny, ""'):
        write_aliases(files, "tiny", Aliases(revision=1))
