from itertools import pairwise
from pathlib import Path

import pytest
from tiny_bundle import build_tiny_bundle

from streamtag.domain.release import BundleRef
from streamtag.errors import NotFoundError
from streamtag.model.bundle import MANIFEST, peek_ref
from streamtag.model.registry import SHIPPED, Located, find_bundle, find_exact, list_bundles, version_order


def test_a_name_means_its_highest_version(tmp_path: Path) -> None:
    for version in ("1", "9", "10"):
        build_tiny_bundle(tmp_path, version=version)
    assert find_bundle("tiny", [tmp_path]) == tmp_path / "tiny" / "10"
    assert find_bundle("tiny@9", [tmp_path]) == tmp_path / "tiny" / "9"
    build_tiny_bundle(tmp_path, version="10-rc1")
    assert find_bundle("tiny", [tmp_path]) == tmp_path / "tiny" / "10"


@pytest.mark.parametrize(
    "low_to_high",
    [
        ["1", "2", "10"],
        ["1.9", "1.10"],
        ["1", "1.1"],
        ["rc1", "1"],
        ["2a", "10a"],
        ["1.0-rc", "1.0-rc1", "1.0-rc2", "1.0-rc10", "1.0", "1.0.1-rc1", "1.0.1"],
        ["1", "2-alpha", "2-alpha.1", "2-beta", "2", "2.0-rc1", "2.0", "2a"],
        ["2026-11-28", "2026-11-29", "2026-12-01"],
    ],
)
def test_versions_are_ordered_by_their_numbers(low_to_high: list[str]) -> None:
    assert all(version_order(low) < version_order(high) for low, high in pairwise(low_to_high))


def test_configured_directories_come_before_the_shipped_ones(tmp_path: Path) -> None:
    assert find_bundle("moderation", []) == SHIPPED / "moderation" / "3"
    own = build_tiny_bundle(tmp_path, name="moderation", version="0")
    assert find_bundle("moderation", [tmp_path]) == own
    assert find_bundle("moderation@1", [tmp_path]) == SHIPPED / "moderation" / "1"


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = build_tiny_bundle(tmp_path)
    assert find_bundle(str(path), []) == path
    with pytest.raises(NotFoundError, match=MANIFEST):
        find_bundle(str(tmp_path), [])
    with pytest.raises(NotFoundError, match="no bundle at ~nosuchuser/x"):
        find_bundle("~nosuchuser/x", [])


@pytest.mark.parametrize("spec", ["nobody", "moderation@99", "", "@1", "a@b@c", "..", "moderation@../1"])
def test_what_is_not_there_is_said_with_the_places_searched(spec: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        find_bundle(spec, [tmp_path])


def test_exact_passes_over_a_namesake_with_another_hash(tmp_path: Path) -> None:
    one = build_tiny_bundle(tmp_path / "one", weights_seed=1)
    two = build_tiny_bundle(tmp_path / "two", weights_seed=2)
    places = [tmp_path / "one", tmp_path / "two"]
    assert find_exact(peek_ref(one), places) == one
    assert find_exact(peek_ref(two), places) == two
    with pytest.raises(NotFoundError) as caught:
        find_exact(BundleRef("tiny", "1", "f" * 64), places)
    assert caught.value.message.count("sha256 ") == 3  # the one wanted, and both namesakes


def test_exact_passes_over_a_namesake_that_cannot_be_read(tmp_path: Path) -> None:
    broken = build_tiny_bundle(tmp_path / "one")
    whole = build_tiny_bundle(tmp_path / "two")
    ref = peek_ref(whole)
    (broken / MANIFEST).write_bytes(b"{")
    assert find_exact(ref, [tmp_path / "one", tmp_path / "two"]) == whole


def test_the_list_has_every_bundle_once(tmp_path: Path) -> None:
    paths = [build_tiny_bundle(tmp_path, version=version) for version in ("2", "10")]
    found = [one.path() for one in list_bundles([tmp_path, tmp_path / "missing"]) if isinstance(one, Located)]
    assert found[: len(paths)] == paths
    assert SHIPPED / "moderation" / "1" in found
    assert len(set(found)) == len(found)
