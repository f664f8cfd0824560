"""Verdicts on experiments with their evidence, as Redis holds them."""

from typing import Annotated

import msgspec

from streamtag.control.documents import Number, Sha256, Stored, Time, decode
from streamtag.control.experiment_documents import ExperimentId, VerdictId
from streamtag.control.partition_places import Position
from streamtag.domain.verdict import Peaks, PhaseCounts, State
from streamtag.errors import RefusedError

__all__ = ["Hex", "HexPeaks", "VerdictDocument", "decode_verdict"]

Hex = Annotated[str, msgspec.Meta(pattern=r"^(0x[01]\.[0-9a-f]{13}p[+-][0-9]+|0x0\.0p\+0|inf)$")]


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
        expired: panes of it may have stood before that range, and had expired by then. It is INCONCLUSIVE, or INVALID.
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
    expired: bool = False


_VERDICT = msgspec.json.Decoder(VerdictDocument)


def decode_verdict(raw: bytes, experiment: ExperimentId, expected: VerdictId) -> Stored[VerdictDocument]:
    """Reads the verdict on an experiment and proves that it is the expected one; raises as `decode_revision`."""
    number = experiment.number
    stored = decode("verdict on experiment", number, raw, expected.sha256, _VERDICT)
    if stored.document.experiment_sha256 != experiment.sha256 or stored.document.state is not expected.state:
        raise RefusedError(f"verdict on experiment {number} is of another experiment, or says another state")
    return stored
