"""Threshold revisions, and the releases that pair one with a bundle: what decides, as Redis holds it."""

from collections.abc import Mapping

import msgspec

from streamtag.control.documents import Number, Sha256, Stored, Time, decode
from streamtag.domain.release import BundleRef, ReleaseRef
from streamtag.domain.thresholds import Override, ThresholdSet

__all__ = [
    "Bundle",
    "Cutoffs",
    "ReleaseDocument",
    "ReleaseId",
    "RevisionId",
    "SegmentCutoffs",
    "ThresholdRevision",
    "decode_release",
    "decode_revision",
    "reference",
]


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

    @property
    def number(self) -> int:
        """As in other documents."""
        return self.revision


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
    critical: tuple[str, ...] = ()
    """Labels that the bundle calls critical: whoever changes cut-offs needs no copy of it to know."""


_REVISION = msgspec.json.Decoder(ThresholdRevision)
_RELEASE = msgspec.json.Decoder(ReleaseDocument)


def decode_revision(raw: bytes, expected: RevisionId) -> Stored[ThresholdRevision]:
    """Reads a revision and proves that it is the expected one.

    Raises:
        RefusedError: other bytes than were published, or not a revision document.
    """
    return decode("threshold revision", expected.revision, raw, expected.sha256, _REVISION)


def decode_release(raw: bytes, expected: ReleaseId) -> Stored[ReleaseDocument]:
    """Reads a release and proves that it is the expected one; raises as `decode_revision`."""
    return decode("release", expected.number, raw, expected.sha256, _RELEASE)


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


def _floats(labels: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in labels.items()}
