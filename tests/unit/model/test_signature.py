"""Signatures of bundles: minisign's own vectors, and every way in which one does not count."""

import sys
from pathlib import Path

import pytest
from signing import ANNA, BORIS
from tiny_bundle import build_tiny_bundle

from streamtag.errors import BundleError, StreamtagError
from streamtag.model.bundle import MANIFEST, read_bundle
from streamtag.model.registry import find_bundle
from streamtag.model.signature import SIGNATURE, check_signature, key_name, parse_key, parse_signature

# The test vectors of minisign's implementations: the key of its author, the file "test".
KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
PREHASHED = b"""untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1556193335\tfile:test
y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==
"""
LEGACY = b"""untrusted comment: signature from minisign secret key
RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=
trusted comment: timestamp:1555779966\tfile:test
QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return build_tiny_bundle(tmp_path)


@pytest.mark.parametrize("content", [PREHASHED, LEGACY])
def test_signatures_that_minisign_made_hold_and_of_other_bytes_they_do_not(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SIGNATURE).write_bytes(content)
    assert key_name(parse_key(KEY).id) == "E7620F1842B4E81F"
    check_signature(tmp_path, b"test", [KEY])
    with pytest.raises(BundleError, match="is refused"):
        check_signature(tmp_path, b"Test", [KEY])


def test_a_signed_bundle_is_read_with_and_without_keys(tiny: Path) -> None:
    before = read_bundle(tiny).ref
    ANNA.sign(tiny)
    assert read_bundle(tiny).ref == before
    assert read_bundle(tiny, trusted=[BORIS.public, ANNA.public]).ref == before


def test_without_a_signature_a_trusted_key_lets_nothing_through_but_the_package(tiny: Path) -> None:
    with pytest.raises(BundleError) as caught:
        read_bundle(tiny, trusted=[ANNA.public])
    assert caught.value.problems == (f"{SIGNATURE}: there is none; trusted is 0101010101010101",)
    read_bundle(find_bundle("moderation", []), trusted=[ANNA.public])


def test_a_link_into_the_package_does_not_make_a_bundle_the_package_s(tiny: Path, tmp_path: Path) -> None:
    shipped = find_bundle("moderation", [])
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in shipped.iterdir():
        (copy / file.name).symlink_to(file)
    with pytest.raises(BundleError):
        read_bundle(copy, trusted=[ANNA.public])


def test_the_signature_of_another_key_is_refused_and_both_are_named(tiny: Path) -> None:
    BORIS.sign(tiny)
    with pytest.raises(BundleError) as caught:
        read_bundle(tiny, trusted=[ANNA.public])
    assert caught.value.problems == (
        f"{SIGNATURE}: of key 0202020202020202, which is not trusted; trusted is 0101010101010101",
    )
    assert "minisign -Sm" in caught.value.hint
    assert "model.trusted_keys" in caught.value.hint


def test_a_manifest_that_changed_after_it_was_signed_is_refused(tiny: Path) -> None:
    ANNA.sign(tiny)
    manifest = tiny / MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b"Made-up", b"Made up"))
    with pytest.raises(BundleError) as caught:
        read_bundle(tiny, trusted=[ANNA.public])
    assert "not of this manifest" in caught.value.problems[0]


def test_the_trusted_comment_is_signed_too(tiny: Path) -> None:
    ANNA.sign(tiny, b"approved for trials")
    file = tiny / SIGNATURE
    file.write_bytes(file.read_bytes().replace(b"for trials", b"for all"))
    with pytest.raises(BundleError, match="is refused"):
        read_bundle(tiny, trusted=[ANNA.public])


@pytest.mark.parametrize("cut", [0, 1, 40, 100, 200])
def test_a_truncated_signature_is_refused(tiny: Path, cut: int) -> None:
    file = ANNA.sign(tiny) / SIGNATURE
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(BundleError, match="is refused"):
        read_bundle(tiny, trusted=[ANNA.public])


@pytest.mark.parametrize(
    "broken", [b"", b"a\nb\nc\nd", PREHASHED.replace(b"RUQ", b"RVQ"), PREHASHED.replace(b"==", b"!!")]
)
def test_what_is_no_signature_is_said(broken: bytes) -> None:
    with pytest.raises(ValueError, match=r"must be the four lines|base64"):
        parse_signature(broken)


@pytest.mark.parametrize("text", ["", "RW", KEY[:-4], "RU" + KEY[2:], "!" * 56])
def test_what_is_no_key_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"minisign\.pub|base64"):
        parse_key(text)


def test_a_missing_extra_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ANNA.sign(tiny)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(StreamtagError, match="cryptography") as caught:
        read_bundle(tiny, trusted=[ANNA.public])
    assert "streamtag[signing]" in caught.value.hint
