"""The snapshot on disk, and the documents in it: proven by their hashes, or as good as none."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from control_plane import ANNA, BUNDLE, DEFAULTS, LABELS, current, new_changes, new_store
from hypothesis import given
from hypothesis import strategies as st

from streamtag.control.documents import seal, sha256_of
from streamtag.control.release_documents import Cutoffs, RevisionId, ThresholdRevision, decode_revision
from streamtag.control.snapshot import SnapshotFile
from streamtag.control.store import Current
from streamtag.domain.thresholds import Override, ThresholdSet
from streamtag.errors import RefusedError


@pytest.fixture
def release() -> Current:
    store = new_store()
    changes = new_changes(store)
    changes.seed(BUNDLE, LABELS, DEFAULTS)
    changes.set_thresholds({"spam": 0.6}, ANNA, when={"lang": "de"})
    return current(store)


def test_a_snapshot_is_read_back_byte_for_byte(tmp_path: Path, release: Current) -> None:
    SnapshotFile(tmp_path, "default").write(release)
    found = SnapshotFile(tmp_path, "default").read()
    assert (found.current, found.reason) == (release, "")


def releases_up_to(number: int) -> list[Current]:
    store = new_store()
    changes = new_changes(store)
    changes.seed(BUNDLE, LABELS, DEFAULTS)
    made = [current(store)]
    for n in range(2, number + 1):
        changes.set_thresholds({"spam": 0.5 + n / 100}, ANNA)
        made.append(current(store))
    return made


def test_a_slow_worker_does_not_write_over_a_later_release(tmp_path: Path) -> None:
    first, second, third = releases_up_to(3)
    for release in (first, third, second):
        SnapshotFile(tmp_path, "default").write(release)
    assert SnapshotFile(tmp_path, "default").read().current == third


@pytest.mark.parametrize("damage", [b"{", b""])
def test_a_damaged_snapshot_is_replaced_whatever_it_held(tmp_path: Path, damage: bytes) -> None:
    first, second = releases_up_to(2)
    file = SnapshotFile(tmp_path, "default")
    file.write(second)
    file.path.write_bytes(damage)
    file.write(first)
    assert file.read().current == first


def test_a_snapshot_is_written_once_another_process_is_done(tmp_path: Path, release: Current) -> None:
    file = SnapshotFile(tmp_path, "default")
    with file._locked():
        writing = threading.Thread(target=file.write, args=(release,))
        writing.start()
        assert file.read().current is None
    writing.join(30)
    assert file.read().current == release


def test_a_process_that_is_frozen_as_it_writes_holds_nobody_up_for_long(
    tmp_path: Path, release: Current, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamtag.control.snapshot._LONGEST_WAIT_S", 0.03)
    file = SnapshotFile(tmp_path, "default")
    with file._locked(), pytest.raises(OSError, match="another process holds"):
        file.write(release)
    file.write(release)
    assert file.read().current == release


def test_no_snapshot_is_no_problem(tmp_path: Path) -> None:
    found = SnapshotFile(tmp_path, "default").read()
    assert (found.current, found.reason) == (None, "")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda raw: raw[:-20], "damaged"),
        (lambda _raw: b"", "damaged"),
        (lambda _raw: b"\xff\xfe", "damaged"),
        (lambda _raw: b"[1, 2]", "damaged"),
        (lambda raw: raw.replace(b"0.6", b"0.9"), "not what was published"),
        (lambda raw: raw.replace(b'"default"', b'"other"'), "not ours"),
        (lambda raw: raw.replace(b'"format":1', b'"format":2'), "not ours"),
    ],
)
def test_a_damaged_or_foreign_snapshot_is_named_and_ignored(
    tmp_path: Path, release: Current, damage: object, reason: str
) -> None:
    file = SnapshotFile(tmp_path, "default")
    file.write(release)
    file.path.write_bytes(damage(file.path.read_bytes()))  # type: ignore[operator]
    found = file.read()
    assert found.current is None
    assert reason in found.reason


def test_a_snapshot_under_another_name_is_foreign(tmp_path: Path, release: Current) -> None:
    SnapshotFile(tmp_path, "default").write(release)
    SnapshotFile(tmp_path, "default").path.rename(SnapshotFile(tmp_path, "mine").path)
    assert "not ours" in SnapshotFile(tmp_path, "mine").read().reason


def test_a_directory_in_its_place_is_named(tmp_path: Path) -> None:
    file = SnapshotFile(tmp_path, "default")
    file.path.mkdir(parents=True)
    assert "cannot be read" in file.read().reason


values = st.integers(0, 1_000_000).map(lambda n: n / 1_000_000)
cutoffs = st.dictionaries(st.text(max_size=8), values, max_size=5)
overrides = st.builds(Override, st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3), cutoffs)


@given(st.builds(ThresholdSet, cutoffs, st.lists(overrides, max_size=3).map(tuple)))
def test_a_sealed_revision_decodes_to_exactly_what_was_sealed(thresholds: ThresholdSet) -> None:
    at = datetime(2026, 11, 23, 3, 4, 5, 678, tzinfo=UTC)
    document = ThresholdRevision(
        revision=3, parent=None, thresholds=Cutoffs.of(thresholds), author="anna", reason="", at=at
    )
    sealed = seal(document)
    found = decode_revision(sealed.raw, RevisionId(3, sealed.sha256))
    assert found == sealed
    assert found.document.thresholds.to_set() == thresholds


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"revision": 4}, "calls itself 4"),
        ({"thresholds": {"labels": {"spam": "high"}}}, "cannot be read"),
        ({"at": "2026-11-23T03:00:00"}, "cannot be read"),
    ],
)
def test_a_document_with_the_right_hash_must_still_make_sense(change: dict[str, object], problem: str) -> None:
    good: dict[str, object] = {
        "revision": 3,
        "parent": None,
        "thresholds": {"labels": {}},
        "author": "a",
        "reason": "r",
    }
    raw = json.dumps({**good, "at": "2026-11-23T03:00:00Z", **change}).encode()
    with pytest.raises(RefusedError, match=problem):
        decode_revision(raw, RevisionId(3, sha256_of(raw)))
