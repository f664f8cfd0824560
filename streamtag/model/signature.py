"""Detached signatures of bundles, in minisign's format: ``manifest.json.minisig`` beside the manifest.

The manifest names the hash of every other file, so who has signed it has signed the bundle. ``minisign -Sm
manifest.json`` writes the file; the second line of a ``minisign.pub`` is a key for ``model.trusted_keys``.

Format: https://jedisct1.github.io/minisign/#signature-format. A key is ``Ed``, 8 bytes of key id, 32 bytes of Ed25519.
A signature is an algorithm (``ED``: of the BLAKE2b-512 hash; ``Ed``: of the file itself), the key id and 64 bytes of
Ed25519; a second one covers the first and the trusted comment.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamtag.errors import BundleError, StreamtagError
from streamtag.model.bundle_checks import leads_outside
from streamtag.model.shipped import is_shipped

__all__ = ["SIGNATURE", "PublicKey", "Signature", "check_signature", "parse_key", "parse_signature", "read_signature"]

SIGNATURE = "manifest.json.minisig"
_COMMENT, _TRUSTED = b"untrusted comment: ", b"trusted comment: "
_MAX_BYTES = 16_384


@dataclass(frozen=True)
class PublicKey:
    """Whose signatures count: 8 bytes of id, 32 bytes of Ed25519."""

    id: bytes
    key: bytes


@dataclass(frozen=True)
class Signature:
    """One ``.minisig`` file: 8 bytes of key id, two signatures of 64 bytes, and the comment that the second covers."""

    key_id: bytes
    prehashed: bool
    of_file: bytes
    comment: bytes
    of_comment: bytes


def parse_key(text: str) -> PublicKey:
    """Reads the base64 line of a ``minisign.pub``.

    Raises:
        ValueError: it is none.
    """
    raw = _base64(text.encode())
    if len(raw) != 42 or raw[:2] != b"Ed":
        raise ValueError("must be the second line of a minisign.pub: 56 characters that begin with RW")
    return PublicKey(raw[2:10], raw[10:])


def parse_signature(content: bytes) -> Signature:
    """Reads a ``.minisig`` file.

    Raises:
        ValueError: it is none.
    """
    if len(content) > _MAX_BYTES:
        raise ValueError(f"larger than {_MAX_BYTES} bytes")
    lines = content.splitlines()
    if len(lines) != 4 or not lines[0].startswith(_COMMENT) or not lines[2].startswith(_TRUSTED):
        raise ValueError("must be the four lines that minisign writes")
    raw, of_comment = _base64(lines[1]), _base64(lines[3])
    if len(raw) != 74 or raw[:2] not in (b"ED", b"Ed") or len(of_comment) != 64:
        raise ValueError("must be the four lines that minisign writes")
    return Signature(raw[2:10], raw[:2] == b"ED", raw[10:], lines[2].removeprefix(_TRUSTED), of_comment)


def read_signature(path: Path) -> bytes | None:
    """The bytes of the signature of the bundle at ``path``, which are one; None where there is none.

    Raises:
        BundleError: what has its name is something else, or a link that leads outside of the bundle.
    """
    try:
        if leads_outside(path, SIGNATURE):
            raise _refused(path, "a link that leads outside of the bundle")
        with (path / SIGNATURE).open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        parse_signature(content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _refused(path, f"{getattr(error, 'strerror', None) or error}") from None
    return content


def key_name(key_id: bytes) -> str:
    """The id as minisign prints it."""
    return f"{int.from_bytes(key_id, 'little'):016X}"


def check_signature(path: Path, manifest: bytes, trusted: Sequence[str]) -> None:
    """Refuses a bundle whose manifest none of the trusted keys has signed; with no key given, nothing is asked.

    Bundles of the package pass: whoever can change those can change this.

    Args:
        path: directory of the bundle.
        manifest: the bytes of its manifest as they were read, which are what shall be loaded.
        trusted: public keys, see `parse_key`.

    Raises:
        BundleError: names the key that signed, those that are trusted, and the cure.
    """
    if not trusted or is_shipped(path):
        return
    keys = {key.id: key for key in map(parse_key, trusted)}
    wanted = f"trusted {'is' if len(keys) == 1 else 'are'} {', '.join(map(key_name, keys))}"
    content = read_signature(path)
    if content is None:
        raise _refused(path, f"there is none; {wanted}")
    signature = parse_signature(content)
    name, key = key_name(signature.key_id), keys.get(signature.key_id)
    if key is None:
        raise _refused(path, f"of key {name}, which is not trusted; {wanted}")
    if not _holds(key, signature, manifest):
        raise _refused(path, f"of key {name}, and not of this manifest or this comment")


def _holds(key: PublicKey, signature: Signature, content: bytes) -> bool:
    try:
        # an extra, needed only where keys are configured
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    except ModuleNotFoundError:
        raise StreamtagError(
            "model.trusted_keys needs the package cryptography",
            hint="Install the extra: pip install 'streamtag[signing]'.",
        ) from None
    public = Ed25519PublicKey.from_public_bytes(key.key)
    signed = hashlib.blake2b(content).digest() if signature.prehashed else content
    try:
        public.verify(signature.of_file, signed)
        public.verify(signature.of_comment, signature.of_file + signature.comment)
    except InvalidSignature:
        return False
    return True


def _base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("is not base64") from None


def _refused(path: Path, problem: str) -> BundleError:
    return BundleError(
        f"bundle {path} is refused",
        problems=[f"{SIGNATURE}: {problem}"],
        hint="Sign it with a trusted key (minisign -Sm manifest.json), or add the signer's to model.trusted_keys.",
    )
