"""What every place for bundles must keep: a directory, and an fsspec URL."""

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import fsspec
import msgspec
import pytest
from signing import ANNA, BORIS
from tiny_bundle import build_tiny_bundle

from streamtag.errors import BundleError, ConflictError, NotFoundError, RefusedError, StreamtagError, UnavailableError
from streamtag.model.aliases import Alias, Aliases
from streamtag.model.bundle import MANIFEST, MODEL, Bundle, peek_ref, read_bundle
from streamtag.model.registry import find_bundle, find_exact, list_bundles
from streamtag.model.signature import SIGNATURE
from streamtag.model.store import BundleStore, bundle_cache, cached
from streamtag.model.store_files import FsspecFiles, LocalFiles, open_files, place_name

AT = datetime(2026, 11, 28, 3, tzinfo=UTC)
_NUMBERS = count()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(params=["directory", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    if request.param == "directory":
        yield tmp_path / "published"
        return
    url = f"memory://place-{next(_NUMBERS)}/bundles"
    yield url
    memory().store.clear()


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return build_tiny_bundle(tmp_path / "made")


def memory() -> Any:
    return fsspec.filesystem("memory")  # type: ignore[no-untyped-call]


def set_alias(store: BundleStore, alias: str, path: Path, based_on: Aliases | None = None) -> bool:
    before = store.aliases("tiny") if based_on is None else based_on
    return store.set_alias(alias, peek_ref(path), author="anna", reason="why", at=AT, based_on=before)


def test_what_was_published_is_found_and_verifies(place: Path | str, tiny: Path) -> None:
    store = BundleStore(place)
    assert store.publish(tiny) == (peek_ref(tiny), True, False, ())
    found = read_bundle(find_bundle("tiny", [place]))
    assert found.ref == peek_ref(tiny)
    assert find_exact(found.ref, [place]) == found.path
    assert (store.names(), store.versions("tiny")) == (["tiny"], ["1"])
    listed = [one for one in list_bundles([place]) if not isinstance(one, StreamtagError)]
    assert (listed[0].name, listed[0].version) == ("tiny", "1")


def test_publishing_again_changes_nothing_and_another_content_is_refused(
    place: Path | str, tiny: Path, tmp_path: Path
) -> None:
    store = BundleStore(place)
    store.publish(tiny)
    assert store.publish(tiny) == (peek_ref(tiny), False, False, ())
    other = build_tiny_bundle(tmp_path / "other", weights_seed=1)
    with pytest.raises(BundleError, match="with other content"):
        store.publish(other)
    assert store.ref("tiny", "1") == peek_ref(tiny)
    read_bundle(store.path("tiny", "1"))


@pytest.mark.parametrize("exact", [True, False])
def test_a_version_that_is_signed_anew_is_so_in_its_place_and_in_every_copy(
    place: Path | str, tiny: Path, exact: bool
) -> None:
    store, ref = BundleStore(place), peek_ref(tiny)

    def found() -> Path:
        return find_exact(ref, [place], trusted=[ANNA.public]) if exact else find_bundle("tiny@1", [place])

    store.publish(tiny)
    assert not (found() / SIGNATURE).exists()  # of a URL, there is a copy now
    for signer in (BORIS, ANNA):  # it is signed; then the key changes
        signer.sign(tiny)
        assert store.publish(tiny, trusted=[signer.public]) == (ref, False, True, ())
        assert store.publish(tiny, trusted=[signer.public]) == (ref, False, False, ())
    assert read_bundle(found(), trusted=[ANNA.public]).ref == ref
    (tiny / SIGNATURE).unlink()
    assert store.publish(tiny) == (ref, False, False, ())
    assert read_bundle(found(), trusted=[ANNA.public]).ref == ref


def test_a_broken_bundle_is_not_published(place: Path | str, tiny: Path) -> None:
    (tiny / MODEL).write_bytes(b"")
    with pytest.raises(BundleError):
        BundleStore(place).publish(tiny)
    assert BundleStore(place).names() == []


def test_a_write_that_was_cut_off_is_no_version_and_does_not_stand_in_the_way(tiny: Path) -> None:
    store = BundleStore("memory://cut-off/bundles")
    memory().pipe_file("/cut-off/bundles/tiny/1/model.onnx", b"half of it")
    assert store.versions("tiny") == []
    with pytest.raises(NotFoundError):
        store.path("tiny", "1")
    store.publish(tiny)
    read_bundle(store.path("tiny", "1"))


def test_other_files_of_a_write_that_was_cut_off_are_no_part_of_the_version(tiny: Path) -> None:
    store = BundleStore("memory://other-files/bundles")
    memory().pipe_file("/other-files/bundles/tiny/1/old.npy", b"of another bundle")
    store.publish(tiny)
    assert store.files.names("tiny/1") == sorted(path.name for path in tiny.iterdir())
    memory().pipe_file("/other-files/bundles/tiny/1/notes.txt", b"put there by hand")
    read_bundle(store.path("tiny", "1"))


class _Interrupted:
    """A file system on which somebody else does something just before the first write, or the first of one kind."""

    def __init__(self, fs: Any, mode: str | None, between: Callable[[], object]) -> None:
        self._fs, self._mode, self._between = fs, mode, [between]

    def pipe_file(self, path: str, content: bytes, mode: str = "overwrite") -> None:
        if self._mode in (None, mode) and self._between:
            self._between.pop()()
        self._fs.pipe_file(path, content, mode=mode)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)


def interrupted(url: str, mode: str | None, between: Callable[[], object]) -> BundleStore:
    store = BundleStore(url)
    assert isinstance(store.files, FsspecFiles)
    store.files._fs = _Interrupted(store.files._fs, mode, between)
    return store


def test_who_publishes_second_at_a_url_leaves_the_first_alone(tiny: Path, tmp_path: Path) -> None:
    url = "memory://two-at-once/bundles"
    slow = interrupted(url, None, lambda: BundleStore(url).publish(tiny))
    with pytest.raises(BundleError, match="with other content") as caught:
        slow.publish(build_tiny_bundle(tmp_path / "other", weights_seed=1))
    assert caught.value.problems == ()
    assert read_bundle(find_bundle("tiny@1", [url])).ref == peek_ref(tiny)


def test_who_damaged_the_version_of_another_is_told_and_publishing_that_again_mends_it(
    tiny: Path, tmp_path: Path
) -> None:
    url = "memory://damaged/bundles"
    memory().pipe_file(f"/damaged/bundles/tiny/1/{MODEL}", b"half of it")  # takes the other's for leftovers, too
    slow = interrupted(url, "overwrite", lambda: BundleStore(url).publish(tiny))
    with pytest.raises(BundleError, match="with other content") as caught:
        slow.publish(build_tiny_bundle(tmp_path / "other", weights_seed=1))
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [MODEL]
    with pytest.raises(BundleError) as refused:
        find_bundle("tiny@1", [url])
    assert refused.value.problems[0].startswith(MODEL)
    assert BundleStore(url).publish(tiny) == (peek_ref(tiny), False, False, (MODEL,))
    read_bundle(find_bundle("tiny@1", [url]))  # what was damaged was not kept


def test_a_version_that_was_damaged_where_it_lies_is_mended(place: Path | str, tiny: Path) -> None:
    store = BundleStore(place)
    store.publish(tiny)
    store.files.replace(f"tiny/1/{MODEL}", b"rotten")
    assert store.publish(tiny) == (peek_ref(tiny), False, False, (MODEL,))
    assert store.publish(tiny) == (peek_ref(tiny), False, False, ())
    read_bundle(store.path("tiny", "1"))


def test_what_changes_after_it_was_verified_is_not_published(
    place: Path | str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then_changed(path: Path, **options: Any) -> Bundle:
        found = read_bundle(path, **options)
        (path / MODEL).write_bytes((path / MODEL).read_bytes()[::-1])
        return found

    monkeypatch.setattr("streamtag.model.store.read_bundle", then_changed)
    with pytest.raises(BundleError, match="changed while it was read") as caught:
        BundleStore(place).publish(tiny)
    assert caught.value.problems[0].startswith(MODEL)
    assert BundleStore(place).versions("tiny") == []


@pytest.mark.parametrize("name", [SIGNATURE, MANIFEST])
def test_what_a_link_leads_to_outside_is_not_published(
    place: Path | str, tiny: Path, tmp_path: Path, name: str
) -> None:
    ANNA.sign(tiny)
    secret = tmp_path / "secret"
    (tiny / name).rename(secret)
    (tiny / name).symlink_to(secret)
    with pytest.raises(BundleError) as caught:
        BundleStore(place).publish(tiny)
    assert caught.value.problems == (f"{name}: a link that leads outside of the bundle",)
    assert BundleStore(place).names() == []


@pytest.mark.parametrize("content", [b"untrusted comment: minisign encrypted secret key\nRWRTY0Iy\n", b"x" * 20_000])
def test_what_is_no_signature_is_not_published_as_one(place: Path | str, tiny: Path, content: bytes) -> None:
    (tiny / SIGNATURE).write_bytes(content)
    with pytest.raises(BundleError) as caught:
        BundleStore(place).publish(tiny)
    assert caught.value.problems[0].startswith(SIGNATURE)
    assert BundleStore(place).names() == []


def test_a_copy_that_became_another_bundle_is_fetched_anew(tiny: Path, tmp_path: Path) -> None:
    url, ref = "memory://exchanged/bundles", peek_ref(tiny)
    BundleStore(url).publish(tiny)
    copy = find_exact(ref, [url])
    shutil.rmtree(copy)
    shutil.copytree(build_tiny_bundle(tmp_path / "other", labels=("other",)), copy)
    assert cached(ref) is None
    assert read_bundle(find_exact(ref, [url])).ref == ref


def test_a_manifest_of_another_place_names_no_files_outside_of_the_copy(tiny: Path) -> None:
    raw = msgspec.json.decode((tiny / MANIFEST).read_bytes())
    raw["files"]["../../../evil"] = {"sha256": hashlib.sha256(b"evil").hexdigest(), "size": 4}
    memory().pipe_file("/hostile/bundles/tiny/1/manifest.json", msgspec.json.encode(raw))
    memory().pipe_file("/hostile/evil", b"evil")
    for name in raw["files"]:
        if name != "../../../evil":
            memory().pipe_file(f"/hostile/bundles/tiny/1/{name}", (tiny / name).read_bytes())
    with pytest.raises(BundleError, match="is refused"):
        read_bundle(find_bundle("tiny@1", ["memory://hostile/bundles"]))
    assert not list(bundle_cache().rglob("*evil*"))


def test_one_of_two_who_publish_at_once_wins_and_the_other_is_told(tmp_path: Path) -> None:
    paths = [build_tiny_bundle(tmp_path / str(seed), weights_seed=seed) for seed in range(4)]
    told: list[str] = []

    def publish(path: Path) -> None:
        try:
            told.append("made" if BundleStore(tmp_path / "published").publish(path).created else "there")
        except BundleError:
            told.append("refused")

    threads = [threading.Thread(target=publish, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["made", "refused", "refused", "refused"]
    read_bundle(find_bundle("tiny@1", [tmp_path / "published"]))
    assert [entry.name for entry in (tmp_path / "published" / "tiny").iterdir()] == ["1"]


def test_an_alias_moves_and_its_history_stays(place: Path | str, tmp_path: Path) -> None:
    store = BundleStore(place)
    one, two = (build_tiny_bundle(tmp_path / "made", version=v, weights_seed=int(v)) for v in ("1", "2"))
    for path in (one, two):
        store.publish(path)
    assert store.aliases("tiny") == Aliases()
    assert set_alias(store, "production", one)
    assert not set_alias(store, "production", one)
    assert set_alias(store, "production", two)
    assert set_alias(store, "trial", one)
    assert store.aliases("tiny").aliases == {
        "production": Alias("2", peek_ref(two).sha256),
        "trial": Alias("1", peek_ref(one).sha256),
    }
    assert [(past.revision, past.changed) for past in store.alias_history("tiny")] == [
        (3, "trial"),
        (2, "production"),
        (1, "production"),
    ]
    assert peek_ref(find_bundle("tiny@trial", [place])) == peek_ref(one)
    assert store.versions("tiny") == ["1", "2"]


def test_of_two_who_move_an_alias_the_second_is_told_who_was_first(place: Path | str, tiny: Path) -> None:
    store = BundleStore(place)
    store.publish(tiny)
    before = store.aliases("tiny")
    set_alias(store, "production", tiny)
    with pytest.raises(ConflictError, match="anna was first, and moved production"):
        set_alias(store, "trial", tiny, based_on=before)
    assert list(store.aliases("tiny").aliases) == ["production"]


def test_an_alias_names_only_what_is_there(place: Path | str, tiny: Path, tmp_path: Path) -> None:
    store = BundleStore(place)
    with pytest.raises(NotFoundError):
        set_alias(store, "production", tiny)
    store.publish(tiny)
    with pytest.raises(NotFoundError, match="another bundle"):
        set_alias(store, "production", build_tiny_bundle(tmp_path / "other", weights_seed=1))


def test_a_version_does_not_take_the_place_of_an_alias(place: Path | str, tiny: Path, tmp_path: Path) -> None:
    store = BundleStore(place)
    store.publish(tiny)
    set_alias(store, "2", tiny)
    two = build_tiny_bundle(tmp_path / "made", version="2", weights_seed=2)
    with pytest.raises(RefusedError, match="version tiny@2 would hide the alias 2, which means tiny@1") as caught:
        store.publish(two)
    assert "another version" in caught.value.hint
    assert store.versions("tiny") == ["1"]
    assert peek_ref(find_bundle("tiny@2", [place])) == peek_ref(tiny)


def test_a_version_that_was_put_there_under_the_name_of_an_alias_is_not_guessed_at(tmp_path: Path, tiny: Path) -> None:
    place = tmp_path / "published"
    store = BundleStore(place)
    store.publish(tiny)
    set_alias(store, "2", tiny)
    two = build_tiny_bundle(place, version="2", weights_seed=2)
    with pytest.raises(BundleError, match="tiny@2 is a version, and an alias of version 1"):
        find_bundle("tiny@2", [place])
    # by its hash, and as the highest version, it is no other one
    assert find_exact(peek_ref(two), [place]) == find_bundle("tiny", [place]) == two
    assert peek_ref(find_bundle("tiny@1", [place])) == peek_ref(tiny)


def test_an_alias_whose_version_was_exchanged_is_refused(tmp_path: Path, tiny: Path) -> None:
    store = BundleStore(tmp_path / "published")
    store.publish(tiny)
    set_alias(store, "production", tiny)
    manifest = tmp_path / "published" / "tiny" / "1" / MANIFEST
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    with pytest.raises(BundleError, match="another one by now"):
        find_bundle("tiny@production", [tmp_path / "published"])


def test_damaged_aliases_are_named_with_the_cure(tmp_path: Path, tiny: Path) -> None:
    store = BundleStore(tmp_path / "published")
    store.publish(tiny)
    set_alias(store, "production", tiny)
    file = tmp_path / "published" / "tiny" / ".aliases" / "00000001.json"
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(BundleError, match=r"00000001\.json is damaged"):
        store.aliases("tiny")


def test_a_bundle_fetched_before_needs_no_answer_while_its_signature_holds(tiny: Path) -> None:
    url = "memory://away/bundles"
    BundleStore(url).publish(ANNA.sign(tiny))
    path = find_bundle("tiny", [url])
    assert path.is_relative_to(bundle_cache())
    memory().store.clear()
    assert find_exact(peek_ref(tiny), [url]) == path
    assert find_exact(peek_ref(tiny), [url], trusted=[BORIS.public, ANNA.public]) == path
    with pytest.raises(NotFoundError):
        find_exact(peek_ref(tiny), [url], trusted=[BORIS.public])
    with pytest.raises(NotFoundError):
        find_bundle("tiny", [url])


class _Broken:
    """A file system that is away."""

    def __getattr__(self, name: str) -> object:
        raise ConnectionError("no route to host")


def test_a_place_that_does_not_answer_is_named_and_never_passed_over_for_a_name(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "memory://user:secret@silent/bundles"
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda _url: (_Broken(), "/silent"))
    with pytest.raises(UnavailableError, match="no route to host") as caught:
        find_bundle("tiny", [url, tiny.parent.parent])
    assert "secret" not in caught.value.message
    # a hash says that it is the one, wherever it lies
    assert find_exact(peek_ref(tiny), [url, tiny.parent.parent]) == tiny
    with pytest.raises(UnavailableError, match="memory://silent/bundles"):
        find_exact(peek_ref(tiny), [url])
    assert isinstance(next(list_bundles([url])), UnavailableError)


def test_places_are_told_apart() -> None:
    assert isinstance(open_files(Path("bundles")), LocalFiles)
    assert isinstance(open_files("file:///srv/bundles"), LocalFiles)
    assert isinstance(open_files("memory://bundles"), FsspecFiles)
    assert place_name("s3://key:word@bucket/a") == "s3://bucket/a"
    with pytest.raises(StreamtagError, match="no URL of a place"):
        open_files("nothing://bundles")


def test_a_file_is_created_once(place: Path | str) -> None:
    files = open_files(place)
    assert files.read("a/b") is None
    assert files.create("a/b", b"one")
    assert not files.create("a/b", b"two")
    assert files.read("a/b") == b"one"
    files.replace("a/b", b"three")
    assert files.read("a/b") == b"three"
    assert files.names("a") == ["b"]
    assert files.names("c") == []
