"""The immutable documents of the control plane: threshold revisions and releases.

A document is encoded once, by whoever makes it, and from then on is an opaque JSON string: its identity is its number
and the SHA-256 of exactly those bytes. Redis' own ``cjson`` never touches it (it cuts floats to 14 digits and turns
``[]`` into ``{}``). Each document names its parent by number *and* hash, so history is a chain that can be verified
from the champion backwards.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Generic, TypeVar

import msgspec

from streamtag.domain.release import BundleRef, ReleaseRef
from streamtag.domain.thresholds import Override, ThresholdSet
from streamtag.errors import RefusedError

__all__ = [
    "Bundle",
    "Cutoffs",
    "ReleaseDocument",
    "ReleaseId",
    "RevisionId",
    "SegmentCutoffs",
    "Stored",
    "ThresholdRevision",
    "decode_release",
    "decode_revision",
    "reference",
    "seal",
    "sha256_of",
]

Number = Annotated[int, msgspec.Meta(ge=1)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Time = Annotated[datetime, msgspec.Meta(tz=True)]


class RevisionId(msgspec.Struct, frozen=True):
    """Identity of a threshold revision."""

    revision: Number
    sha256: Sha256


class ReleaseId(msgspec.Struct, frozen=True):
    """Identity of a release, as the alias ``champion`` holds it."""

    number: Number
    sha256: Sha256


class Bundle(msgspec.Struct, frozen=True):
    """Identity of a model bundle."""

    name: str
    version: str
    sha256: Sha256


class SegmentCutoffs(msgspec.Struct, frozen=True):
    """Other cut-offs where an event matches every dimension in ``when``."""

    when: dict[str, str]
    labels: dict[str, float]


class Cutoffs(msgspec.Struct, frozen=True):
    """What a threshold set says; see `streamtag.domain.thresholds.ThresholdSet`."""

    labels: dict[str, float]
    segments: tuple[SegmentCutoffs, ...] = ()

    @staticmethod
    def of(thresholds: ThresholdSet) -> "Cutoffs":
        """The wire form of ``thresholds``."""
        segments = tuple(SegmentCutoffs(dict(s.when), _floats(s.labels)) for s in thresholds.segments)
        return Cutoffs(_floats(thresholds.labels), segments)

    def to_set(self) -> ThresholdSet:
        """The set that decides."""
        return ThresholdSet(dict(self.labels), tuple(Override(dict(s.when), dict(s.labels)) for s in self.segments))


class ThresholdRevision(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable, numbered threshold set: who made it, when, why, and from which one."""

    revision: Number
    parent: RevisionId | None
    thresholds: Cutoffs
    author: str
    reason: str
    at: Time


class ReleaseDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle and a threshold revision that decide together."""

    number: Number
    parent: ReleaseId | None
    bundle: Bundle
    thresholds: RevisionId
    author: str
    reason: str
    at: Time
    note: str = ""
    """What kind of change it was, e.g. ``restore of revision 5``."""
    change: str = ""
    """Random id of the change: makes the hash unique, so that a commit whose reply was lost is recognised."""


D = TypeVar("D", ThresholdRevision, ReleaseDocument)


@dataclass(frozen=True)
class Stored(Generic[D]):
    """A document with its exact bytes and their SHA-256 (hexadecimal)."""

    document: D
    raw: bytes
    sha256: str


_REVISION = msgspec.json.Decoder(ThresholdRevision)
_RELEASE = msgspec.json.Decoder(ReleaseDocument)


def sha256_of(raw: bytes) -> str:
    """Hexadecimal SHA-256 of a document's bytes."""
    return hashlib.sha256(raw).hexdigest()


def seal(document: D) -> Stored[D]:
    """Encodes a new document, once and for all."""
    raw = msgspec.json.encode(document)
    return Stored(document, raw, sha256_of(raw))


def decode_revision(raw: bytes, expected: RevisionId) -> Stored[ThresholdRevision]:
    """Reads a revision and proves that it is the expected one.

    Raises:
        RefusedError: other bytes than were published, or not a revision document.
    """
    _check_bytes(f"threshold revision {expected.revision}", raw, expected.sha256)
    document = _decode(f"threshold revision {expected.revision}", raw, _REVISION)
    _check_number("threshold revision", document.revision, expected.revision)
    return Stored(document, raw, expected.sha256)


def decode_release(raw: bytes, expected: ReleaseId) -> Stored[ReleaseDocument]:
    """Reads a release and proves that it is the expected one; raises as `decode_revision`."""
    _check_bytes(f"release {expected.number}", raw, expected.sha256)
    document = _decode(f"release {expected.number}", raw, _RELEASE)
    _check_number("release", document.number, expected.number)
    return Stored(document, raw, expected.sha256)


def reference(release: Stored[ReleaseDocument]) -> ReleaseRef:
    """The identity that tag events, heartbeats and summaries carry."""
    document = release.document
    bundle = BundleRef(document.bundle.name, document.bundle.version, document.bundle.sha256)
    return ReleaseRef(
        number=document.number,
        sha256=release.sha256,
        bundle=bundle,
        revision=document.thresholds.revision,
        revision_sha256=document.thresholds.sha256,
    )


def _check_bytes(what: str, raw: bytes, expected: str) -> None:
    found = sha256_of(raw)
    if found != expected:
        raise RefusedError(f"{what} is not what was published: sha256 {found[:12]}… instead of {expected[:12]}…")


def _check_number(what: str, found: int, expected: int) -> None:
    if found != expected:
        raise RefusedError(f"{what} {expected} calls itself {found}")


def _decode(what: str, raw: bytes, decoder: msgspec.json.Decoder[D]) -> D:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(f"{what} cannot be read: {error}") from None


def _floats(labels: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in labels.items()}
