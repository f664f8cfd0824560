"""A bundle is what its manifest says, byte for byte, or it is refused with every reason."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tiny_bundle import build_tiny_bundle

from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import BundleError
from streamtag.model.bundle import array_bytes, peek_ref, read_bundle, write_bundle
from streamtag.model.manifest import BUCKETS, IDF, MANIFEST, MODEL, PARITY, dump

FILES = (MODEL, BUCKETS, IDF, PARITY)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return build_tiny_bundle(tmp_path, threshold=0.6)


def rewrite(bundle: Path, name: str, content: bytes) -> None:
    """Replaces a file and its entry in the manifest: consistent hashes, other content."""
    (bundle / name).write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    edit(bundle, lambda manifest: manifest["files"].update({name: entry}))


def edit(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = msgspec.json.decode((bundle / MANIFEST).read_bytes())
    change(manifest)
    (bundle / MANIFEST).write_bytes(msgspec.json.encode(manifest))


def refusal(bundle: Path) -> list[str]:
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle)
    return list(caught.value.problems)


def test_a_bundle_is_named_by_the_hash_of_its_manifest(bundle: Path) -> None:
    read = read_bundle(bundle)
    assert read.ref == BundleRef("tiny", "1", hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest())
    assert peek_ref(bundle) == read.ref
    assert read.labels == ("spam", "greeting")
    assert read.default_thresholds == ThresholdSet({"spam": 0.6, "greeting": 0.6})
    assert read.model == (bundle / MODEL).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_anywhere_in_a_file_is_found_and_the_file_named(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    for at in (0, len(content) // 2, len(content) - 1):
        content[at] ^= 1
        (bundle / name).write_bytes(content)
        assert [problem.partition(":")[0] for problem in refusal(bundle)] == [name]
        content[at] ^= 1


def test_one_flipped_bit_in_the_manifest_makes_another_bundle(bundle: Path) -> None:
    before = read_bundle(bundle).ref
    raw = (bundle / MANIFEST).read_bytes()
    (bundle / MANIFEST).write_bytes(raw.replace(b"Made-up weights", b"Made-up Weights"))
    assert read_bundle(bundle).ref.sha256 != before.sha256


def test_every_problem_is_named_at_once(bundle: Path) -> None:
    (bundle / MODEL).unlink()
    (bundle / PARITY).write_bytes(b"{}")
    (bundle / "extra.bin").write_bytes(b"")
    edit(bundle, lambda manifest: manifest["labels"][0].update(threshold=1.5))
    found = "\n".join(refusal(bundle))
    for part in (f"{MODEL}: No such file", f"{PARITY}: 2 bytes", "extra.bin: not named", "labels.spam: 1.5"):
        assert part in found


@pytest.mark.parametrize("name", ["../escape.bin", "/etc/hostname", "a/b", "..", ".hidden", "", MANIFEST])
def test_a_file_name_that_leads_elsewhere_is_refused(bundle: Path, name: str) -> None:
    edit(bundle, lambda manifest: manifest["files"].update({name: {"sha256": "0" * 64, "size": 1}}))
    assert any("must be a plain name" in problem for problem in refusal(bundle))


def test_a_link_out_of_the_bundle_is_refused_even_with_the_right_content(bundle: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    (bundle / MODEL).rename(outside)
    (bundle / MODEL).symlink_to(outside)
    assert refusal(bundle) == [f"{MODEL}: a link that leads outside of the bundle"]


def test_a_link_that_goes_round_in_circles_is_refused(bundle: Path) -> None:
    (bundle / MODEL).unlink()
    (bundle / MODEL).symlink_to(MODEL)
    assert [problem.partition(":")[0] for problem in refusal(bundle)] == [MODEL]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(schema_version=2), "schema_version 2; this streamtag reads 1"),
        (lambda m: m["preprocessing"].update(kind="hashed-ngrams/9"), "preprocessing contract 'hashed-ngrams/9'"),
        (lambda m: m.update(surprise=1), "unknown field `surprise`"),
        (lambda m: m.pop("labels"), "missing required field `labels`"),
        (lambda m: m.update(labels=[]), "labels is empty"),
        (lambda m: m["labels"].append(m["labels"][0]), "label 'spam' stands twice"),
        (lambda m: m["calibration"].pop(), "calibration must have one entry per label"),
        (lambda m: m["files"].pop(IDF), f"{IDF} missing from files"),
        (lambda m: m["preprocessing"].update(bits=40), "preprocessing: bits 40 is outside"),
        (lambda m: m["preprocessing"].update(head_chars=0), "at least one character"),
        (lambda m: m["preprocessing"].update(tail_chars=10**9), "more than 100000 characters"),
        (lambda m: m.update(name="../tiny"), "name '../tiny' must be"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    bundle: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    edit(bundle, change)
    assert any(reason in problem for problem in refusal(bundle)), refusal(bundle)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (BUCKETS, b"", "not a plain array"),
        (BUCKETS, b"\x80\x04}.", "a pickle, or an archive of them"),
        (BUCKETS, array_bytes(np.array([1, 2], dtype=np.int64)), "must be a non-empty vector of uint32"),
        (BUCKETS, array_bytes(np.array([2, 1], dtype=np.uint32)), "must be ascending"),
        (BUCKETS, array_bytes(np.array([1, 1], dtype=np.uint32)), "must be ascending"),
        (BUCKETS, array_bytes(np.array([1, 1 << 12], dtype=np.uint32)), "below 2**12"),
        (IDF, array_bytes(np.array([256], dtype=np.uint16)), "1 values for 1024 buckets"),
        (IDF, array_bytes(np.zeros(1024, dtype=np.uint16)), "values must lie in 1 …"),
        (PARITY, b'{"tolerance": 0.5, "fixtures": []}', "tolerance 0.5 is outside"),
        (PARITY, b'{"tolerance": 0.0, "fixtures": [{"text": "a", "scores": [0.5]}]}', "1 scores for 2 labels"),
        (PARITY, b"[]", "Expected `object`"),
    ],
)
def test_a_file_of_the_wrong_form_is_refused_though_its_hash_is_right(
    bundle: Path, name: str, content: bytes, reason: str
) -> None:
    rewrite(bundle, name, content)
    assert any(problem.startswith(name) and reason in problem for problem in refusal(bundle)), refusal(bundle)


def test_what_is_no_bundle_at_all_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a directory") as caught:
        read_bundle(tmp_path / "nothing")
    assert "streamtag model list" in caught.value.hint
    assert refusal(tmp_path) == [f"{MANIFEST}: No such file or directory"]
    (tmp_path / MANIFEST).write_bytes(b"not json")
    assert refusal(tmp_path)[0].startswith(f"{MANIFEST}: ")


def test_writing_the_same_twice_gives_the_same_bundle(bundle: Path, tmp_path: Path) -> None:
    again = build_tiny_bundle(tmp_path / "elsewhere", threshold=0.6)
    assert read_bundle(again).ref == read_bundle(bundle).ref
    assert build_tiny_bundle(tmp_path, threshold=0.6) == bundle  # in place: nothing to do


def test_a_released_version_is_never_changed(bundle: Path, tmp_path: Path) -> None:
    before = read_bundle(bundle).ref
    with pytest.raises(BundleError, match=r"exists at .* with other content"):
        build_tiny_bundle(tmp_path, weights_seed=1)
    assert read_bundle(bundle).ref == before


def test_a_failed_write_leaves_nothing_behind(bundle: Path, tmp_path: Path) -> None:
    manifest = read_bundle(bundle).manifest
    bad = msgspec.structs.replace(manifest, version="2", labels=[])
    files = {name: (bundle / name).read_bytes() for name in FILES}
    with pytest.raises(BundleError):
        write_bundle(tmp_path, bad, files)
    assert os.listdir(tmp_path / "tiny") == ["1"]


def test_a_manifest_survives_a_round_trip(bundle: Path) -> None:
    manifest = read_bundle(bundle).manifest
    assert dump(manifest) == (bundle / MANIFEST).read_bytes()
