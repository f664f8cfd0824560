"""People who sign bundles, each with a key of his own."""

import base64
import hashlib
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from streamtag.model.bundle import MANIFEST
from streamtag.model.signature import SIGNATURE


class Signer:
    """Signs as `minisign -S` does."""

    def __init__(self, seed: int) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self._id = bytes([seed]) * 8
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = base64.b64encode(b"Ed" + self._id + raw).decode()

    def sign(self, bundle: Path, comment: bytes = b"made for a test") -> Path:
        signed = self._key.sign(hashlib.blake2b((bundle / MANIFEST).read_bytes()).digest())
        line = base64.b64encode(b"ED" + self._id + signed)
        of_comment = base64.b64encode(self._key.sign(signed + comment))
        lines = [b"untrusted comment: x", line, b"trusted comment: " + comment, of_comment, b""]
        (bundle / SIGNATURE).write_bytes(b"\n".join(lines))
        return bundle


ANNA, BORIS = Signer(1), Signer(2)
