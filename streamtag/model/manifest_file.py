"""Reading ``manifest.json``: its bytes, which are the identity of a bundle, and what they say."""

from pathlib import Path
from typing import Any

import msgspec

from streamtag import strict_json
from streamtag.errors import BundleError
from streamtag.model.bundle_checks import PLAIN_NAME, leads_outside
from streamtag.model.contracts.registry import KINDS
from streamtag.model.manifest import MANIFEST, SCHEMA_VERSION, FileEntry, Manifest

__all__ = ["MEND_HINT", "decode_manifest", "listed_files", "read_manifest_bytes", "refused"]

MEND_HINT = "Fetch the bundle again, or train or import it anew; do not edit it."
MAX_MANIFEST_BYTES = 16 * 1024 * 1024


def read_manifest_bytes(path: Path) -> bytes:
    """The bytes of the manifest of the bundle at ``path``.

    Raises:
        BundleError: there is none, it is too large to be one, or a link that leads outside of the bundle.
    """
    if not path.is_dir():
        raise BundleError(
            f"bundle {path} is not a directory", hint="`streamtag model list` shows the bundles that can be found."
        )
    file = path / MANIFEST
    try:
        if leads_outside(path, MANIFEST):
            raise refused(path, [f"{MANIFEST}: a link that leads outside of the bundle"])
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise refused(path, [f"{MANIFEST}: larger than {MAX_MANIFEST_BYTES} bytes"])
        return file.read_bytes()
    except OSError as error:
        raise refused(path, [f"{MANIFEST}: {error.strerror}"]) from None


class _Versions(msgspec.Struct):
    schema_version: int
    preprocessing: dict[str, Any]


def decode_manifest(path: Path, raw: bytes) -> Manifest:
    """What these bytes say.

    Args:
        path: where the bundle was found, for errors.
        raw: the manifest.

    Raises:
        BundleError: not of this form, or of a version or contract that is not known here.
    """
    try:
        versions = strict_json.decode(raw, _Versions)
        if versions.schema_version != SCHEMA_VERSION:
            text = f"{MANIFEST}: schema_version {versions.schema_version}; this streamtag reads {SCHEMA_VERSION}"
            raise refused(path, [text])
        kind = versions.preprocessing.get("kind")
        if kind not in KINDS:
            text = f"{MANIFEST}: preprocessing contract {kind!r}; this streamtag has {', '.join(KINDS)}"
            raise refused(path, [text])
        return strict_json.decode(raw, Manifest)
    except msgspec.DecodeError as error:
        raise refused(path, [f"{MANIFEST}: {error}"]) from None


class _Files(msgspec.Struct):
    files: dict[str, FileEntry]


def listed_files(raw: bytes) -> dict[str, FileEntry]:
    """The files that these bytes of a manifest name, if by plain names; none where they are no manifest.

    For those who carry bundles about: what else is wrong with it, `read_bundle` says.
    """
    try:
        files = strict_json.decode(raw, _Files).files
    except msgspec.DecodeError:
        return {}
    return {name: entry for name, entry in files.items() if PLAIN_NAME.fullmatch(name) and name != MANIFEST}


def refused(path: Path, found: list[str]) -> BundleError:
    """The error that names everything wrong with the bundle at ``path``."""
    return BundleError(f"bundle {path} is refused", problems=found, hint=MEND_HINT)
