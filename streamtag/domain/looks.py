"""The looks at one experiment, for people: bounded, however long it runs. Pure.

Time is cut into slots, and of each the last look is kept. When that makes too many, slots become twice as long: each
then holds just two of those before. So what is kept follows from the looks alone, and not from when slots grew: whoever
counts the same log again keeps the same looks, and the newest one is always there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streamtag.domain.experiment import ExperimentPlan
from streamtag.domain.verdict import PhaseCounts, Verdict, rates

__all__ = ["MOST", "LabelLook", "Look", "Looks", "look_of", "with_look"]

MOST = 256
"""So many looks are kept."""
_FINEST_MS = 1_000  # no pane is shorter


class LabelLook(NamedTuple):
    """What was known of one judged label. Evidence is kept as natural logarithms.

    Attributes:
        worse: largest evidence of "worse" until then, which the bound of a FAIL is compared with.
        equal: evidence of "equal" then.
        control_rate, candidate_rate: share of units tagged until then; None without units.
    """

    worse: float
    equal: float
    control_rate: float | None
    candidate_rate: float | None


@dataclass(frozen=True)
class Look:
    """What was known at one moment.

    Attributes:
        at_ms: end of the newest pane that was looked at, Unix milliseconds.
        units: counted until then.
        labels: those that are judged.
    """

    at_ms: int
    units: int
    labels: Mapping[str, LabelLook]


@dataclass(frozen=True)
class Looks:
    """Looks that are kept.

    Attributes:
        spacing_ms: how long a slot is; of each the last look is kept.
        items: oldest first, at most `MOST`.
    """

    spacing_ms: int = _FINEST_MS
    items: tuple[Look, ...] = ()


def look_of(plan: ExperimentPlan, phases: Sequence[PhaseCounts], verdict: Verdict, *, at_ms: int, units: int) -> Look:
    """What ``verdict`` rests on, to be kept.

    Args:
        plan: what is asked.
        phases: cumulative counts that were decided on.
        verdict: of this look.
        at_ms: see `Look`.
        units: see `Look`.
    """
    found = {}
    for label, evidence in verdict.evidence.items():
        control, candidate = rates(plan, label, phases) or (None, None)
        found[label] = LabelLook(verdict.peaks.worse[label], evidence.equal, control, candidate)
    return Look(at_ms, units, found)


def with_look(kept: Looks, look: Look, most: int = MOST) -> Looks:
    """``kept`` and one look more, which is not older than any of them; thinned where that makes more than ``most``.

    >>> seen = Looks()
    >>> for at_s in range(6):
    ...     seen = with_look(seen, Look(1_000 * at_s, at_s, {}), most=4)
    >>> seen.spacing_ms, [one.units for one in seen.items]
    (2000, [1, 3, 5])
    """
    spacing_ms, items = kept.spacing_ms, _last_of_slots((*kept.items, look), kept.spacing_ms)
    while len(items) > most:
        spacing_ms *= 2
        items = _last_of_slots(items, spacing_ms)
    return Looks(spacing_ms, items)


def _last_of_slots(looks: Iterable[Look], spacing_ms: int) -> tuple[Look, ...]:
    return tuple({one.at_ms // spacing_ms: one for one in looks}.values())
