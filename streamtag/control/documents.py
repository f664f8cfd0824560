"""The immutable documents of the control plane: threshold revisions, releases, experiments, changes and verdicts.

A document is encoded once, by whoever makes it, and from then on is an opaque JSON string: its identity is its number
and the SHA-256 of exactly those bytes. Redis' own ``cjson`` never touches it (it cuts floats to 14 digits and turns
``[]`` into ``{}``). Each document names its parent by number *and* hash, so history is a chain that can be verified
from the champion backwards.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from streamtag.domain.experiment import ExperimentPlan
from streamtag.domain.release import BundleRef, ReleaseRef
from streamtag.domain.rollout import RolloutPolicy
from streamtag.domain.thresholds import Override, ThresholdSet
from streamtag.domain.verdict import Peaks, PhaseCounts, State
from streamtag.errors import RefusedError

__all__ = [
    "Bundle",
    "ChangeId",
    "Cutoffs",
    "ExperimentChange",
    "ExperimentDocument",
    "ExperimentId",
    "HexPeaks",
    "Phase",
    "ReleaseDocument",
    "ReleaseId",
    "RevisionId",
    "Run",
    "SegmentCutoffs",
    "Stored",
    "ThresholdRevision",
    "Unit",
    "VerdictDocument",
    "VerdictId",
    "decode_change",
    "decode_experiment",
    "decode_release",
    "decode_revision",
    "decode_verdict",
    "in_utc",
    "partition_of",
    "reference",
    "seal",
    "sha256_of",
]

Number = Annotated[int, msgspec.Meta(ge=1)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
Position = Annotated[int, msgspec.Meta(ge=0)]
Place = Annotated[str, msgspec.Meta(pattern="^.+/[0-9]{1,9}$")]
"""``topic/partition``; `partition_of` reads it."""
Hex = Annotated[str, msgspec.Meta(pattern=r"^(0x[01]\.[0-9a-f]{13}p[+-][0-9]+|0x0\.0p\+0|inf)$")]
Unit = Literal["event", "author", "channel", "tenant", "key"]


def partition_of(place: str) -> tuple[str, int]:
    """Topic and partition of ``topic/partition``; as a key it sorts ``topic/10`` after ``topic/2``."""
    topic, _, partition = place.rpartition("/")
    return topic, int(partition) if partition.isdigit() else 0


def in_utc(moment: datetime) -> datetime:
    """The same moment by the clock that all times are told by; one that no calendar holds there stays as it is."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the last hours of the year 9999
        return moment


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


class ExperimentId(msgspec.Struct, frozen=True):
    """Identity of an experiment."""

    number: Number
    sha256: Sha256

    def __str__(self) -> str:
        """Short, and no other even where a restored Redis gives the number again: what events and summaries carry."""
        return f"{self.number}-{self.sha256[:12]}"


class ExperimentDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What an experiment compares, and how it is judged. Fixed when it starts.

    Attributes:
        number: of the experiment.
        control, candidate: the releases compared. The control is the champion at the start.
        unit: what the outcomes of events hang together by, and is counted (and in a split assigned) as one. An event
            that lacks it takes no part; in a split, the control decides it.
        salt: key of the units' hashes, hexadecimal; its own for every experiment, so that no two assign alike.
        plan: what is asked of each label, and when to give up.
        base_rates: alert rates of the control that the tolerances were checked against, as far as they were known.
        author, reason, at: who started it, why and when.
        rollout: what becomes of the candidate by itself.
    """

    number: Number
    control: ReleaseRef
    candidate: ReleaseRef
    unit: Unit
    salt: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    plan: ExperimentPlan
    base_rates: dict[str, float]
    author: str
    reason: str
    at: Time
    rollout: RolloutPolicy = RolloutPolicy()


class Phase(msgspec.Struct, frozen=True):
    """A stretch of an experiment with one share of units: given to the candidate (split), scored by both (shadow)."""

    share: float
    began_at: Time


class Run(msgspec.Struct, frozen=True):
    """How far an experiment has come: its phases, the last one is the present."""

    experiment: ExperimentId
    phases: tuple[Phase, ...]


class ChangeId(msgspec.Struct, frozen=True):
    """Identity of a change of experiments, as the alias ``experiments`` holds the latest."""

    number: Number
    sha256: Sha256


class VerdictId(msgspec.Struct, frozen=True):
    """What an experiment came to, and the hash of the document that says why."""

    state: State
    sha256: Sha256


class ExperimentChange(msgspec.Struct, frozen=True, kw_only=True):
    """One step in the life of one experiment, and what ran beside it: the latest one says all that runs.

    Attributes:
        number: of the change, over all experiments.
        parent: the change before it.
        action: what was done. The last three end the experiment: a person stopped it, the rollout took the candidate
            back, or the evidence is enough.
        run: the experiment it was done to, as it is since.
        others: experiments that ran beside it.
        author, reason, at: who did it, why and when.
        change: random id, as in `ReleaseDocument`.
        verdict: that ended it; None in every other change.
    """

    number: Number
    parent: ChangeId | None
    action: Literal["start", "phase", "stop", "return", "verdict"]
    run: Run
    others: tuple[Run, ...]
    author: str
    reason: str
    at: Time
    change: str
    verdict: VerdictId | None = None

    @property
    def ends(self) -> bool:
        """Whether the experiment is over with it."""
        return self.action in ("stop", "return", "verdict")

    @property
    def running(self) -> tuple[Run, ...]:
        """What runs since, the oldest first."""
        runs = self.others if self.ends else (*self.others, self.run)
        return tuple(sorted(runs, key=lambda run: run.experiment.number))


class HexPeaks(msgspec.Struct, frozen=True):
    """`streamtag.domain.verdict.Peaks` with every bit, as ``float.hex`` writes them."""

    worse: dict[str, Hex]
    assignment: Hex

    @staticmethod
    def of(peaks: Peaks) -> "HexPeaks":
        """The wire form of ``peaks``."""
        return HexPeaks({label: peak.hex() for label, peak in peaks.worse.items()}, peaks.assignment.hex())

    def to_peaks(self) -> Peaks:
        """What a look starts from."""
        return Peaks({label: float.fromhex(peak) for label, peak in self.worse.items()}, float.fromhex(self.assignment))


class VerdictDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What an experiment came to, with its evidence and where that was read: anybody can compute it again.

    It says nothing but what follows from the experiment and the panes: who computes it twice gets the same bytes. Who
    stored it when stands in its `ExperimentChange`.

    Attributes:
        number, experiment_sha256: of the experiment, whose document holds all that a verdict depends on besides counts.
        state: a final one.
        reasons: one line each, for people.
        panes_from, panes_to: half-open range of offsets of the panes topic that was folded.
        shards: largest ``n`` folded of each partition of the stats topic, that is, its summaries before this offset;
            in order of partition.
        units: that counted.
        phases: cumulative integer counts, in order of phase.
        conflicts: units that came in both arms of one phase.
        shed: events that should have taken part and did not.
        peaks: largest evidence seen.
        hours: from the start to ``decided_at``.
        decided_at: end of the newest pane folded.
    """

    number: Number
    experiment_sha256: Sha256
    state: State
    reasons: tuple[str, ...]
    panes_from: Position
    panes_to: Position
    shards: dict[int, Position]
    units: int
    phases: tuple[PhaseCounts, ...]
    conflicts: int
    shed: int
    peaks: HexPeaks
    hours: float
    decided_at: Time


D = TypeVar("D", ThresholdRevision, ReleaseDocument, ExperimentDocument, ExperimentChange, VerdictDocument)


@dataclass(frozen=True)
class Stored(Generic[D]):
    """A document with its exact bytes and their SHA-256 (hexadecimal)."""

    document: D
    raw: bytes
    sha256: str


_REVISION = msgspec.json.Decoder(ThresholdRevision)
_RELEASE = msgspec.json.Decoder(ReleaseDocument)
_EXPERIMENT = msgspec.json.Decoder(ExperimentDocument)
_CHANGE = msgspec.json.Decoder(ExperimentChange)
_VERDICT = msgspec.json.Decoder(VerdictDocument)


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
    return _decode("threshold revision", expected.revision, raw, expected.sha256, _REVISION)


def decode_release(raw: bytes, expected: ReleaseId) -> Stored[ReleaseDocument]:
    """Reads a release and proves that it is the expected one; raises as `decode_revision`."""
    return _decode("release", expected.number, raw, expected.sha256, _RELEASE)


def decode_experiment(raw: bytes, expected: ExperimentId) -> Stored[ExperimentDocument]:
    """Reads an experiment and proves that it is the expected one; raises as `decode_revision`."""
    return _decode("experiment", expected.number, raw, expected.sha256, _EXPERIMENT)


def decode_change(raw: bytes, expected: ChangeId) -> Stored[ExperimentChange]:
    """Reads a change of experiments and proves that it is the expected one; raises as `decode_revision`."""
    return _decode("experiment change", expected.number, raw, expected.sha256, _CHANGE)


def decode_verdict(raw: bytes, experiment: ExperimentId, expected: VerdictId) -> Stored[VerdictDocument]:
    """Reads the verdict on an experiment and proves that it is the expected one; raises as `decode_revision`."""
    number = experiment.number
    stored = _decode("verdict on experiment", number, raw, expected.sha256, _VERDICT)
    if stored.document.experiment_sha256 != experiment.sha256 or stored.document.state is not expected.state:
        raise RefusedError(f"verdict on experiment {number} is of another experiment, or says another state")
    return stored


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


def _decode(what: str, number: int, raw: bytes, sha256: str, decoder: msgspec.json.Decoder[D]) -> Stored[D]:
    found = sha256_of(raw)
    if found != sha256:
        raise RefusedError(f"{what} {number} is not what was published: sha256 {found[:12]}… instead of {sha256[:12]}…")
    try:
        document = decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(f"{what} {number} cannot be read: {error}") from None
    if document.number != number:
        raise RefusedError(f"{what} {number} calls itself {document.number}")
    return Stored(document, raw, sha256)


def _floats(labels: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in labels.items()}
