"""Experiments, and the changes of them that say what runs, as Redis holds them."""

from typing import Annotated, Literal

import msgspec

from streamtag.control.documents import Number, Sha256, Stored, Time, decode
from streamtag.domain.experiment import ExperimentPlan
from streamtag.domain.release import ReleaseRef
from streamtag.domain.rollout import RolloutPolicy
from streamtag.domain.verdict import State

__all__ = [
    "ChangeId",
    "ExperimentChange",
    "ExperimentDocument",
    "ExperimentId",
    "Phase",
    "Run",
    "Unit",
    "VerdictId",
    "decode_change",
    "decode_experiment",
]

Unit = Literal["event", "author", "channel", "tenant", "key"]


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


_EXPERIMENT = msgspec.json.Decoder(ExperimentDocument)
_CHANGE = msgspec.json.Decoder(ExperimentChange)


def decode_experiment(raw: bytes, expected: ExperimentId) -> Stored[ExperimentDocument]:
    """Reads an experiment and proves that it is the expected one; raises as `decode_revision`."""
    return decode("experiment", expected.number, raw, expected.sha256, _EXPERIMENT)


def decode_change(raw: bytes, expected: ChangeId) -> Stored[ExperimentChange]:
    """Reads a change of experiments and proves that it is the expected one; raises as `decode_revision`."""
    return decode("experiment change", expected.number, raw, expected.sha256, _CHANGE)
