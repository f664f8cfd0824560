"""What decides: a bundle and a threshold revision, validated and activated as one pair."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BundleRef:
    """One exact bundle; ``sha256`` is that of its manifest, which names the hash of every file."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class ReleaseRef:
    """Identity of a release. Numbers alone do not identify: a Redis restored from a backup can reuse them."""

    number: int
    sha256: str
    """Of the release document."""
    bundle: BundleRef
    revision: int
    """Threshold revision."""
    revision_sha256: str
