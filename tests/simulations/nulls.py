"""Ville's bound: how often a look at every pane calls a harmless candidate worse, or a harmful one equal."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np

from streamtag.domain.verdict import ASSIGNMENT_PRIOR

from . import looks
from .looks import Bools
from .worlds import Floats, World, paired_runs, split_runs

ALPHA = 0.05
ALPHA_ASSIGNMENT = 0.001
BATCH = 50
"""Runs in memory at once."""
_INTERVAL_PRIOR = 20.0  # default of `ratio_interval`
_LABELS = 20


@dataclass(frozen=True)
class Case:
    """A world in which the truth lies on the edge of what is tested: the worst that the null hypothesis allows.

    Attributes:
        name: for people.
        kind: test that is used.
        lower, upper: tolerance; the truth is ``upper``. Where both are equal, nothing but "no difference" is tested.
        world: in which the candidate is at ``upper``.
    """

    name: str
    kind: Literal["ratio", "difference", "paired ratio"]
    lower: float
    upper: float
    world: World


def cases() -> list[Case]:
    """All modes: without a tolerance and at its edge; with a ramp, rates that wander, and a tenth of all units late."""
    rates = tuple(np.geomspace(0.02, 0.2, _LABELS).tolist())
    harmless = World(looks=100, units=1_000, rates=rates, late=0.1, wander=0.05)
    ramp = replace(harmless, shares=(0.05, 0.2, 0.5))
    more = 1.2
    return [
        Case("shadow, no difference", "difference", 0, 0, harmless),
        Case("shadow, 1 point more", "difference", -0.01, 0.01, replace(harmless, difference=0.01)),
        Case("shadow, 1.2 times", "paired ratio", 1 / more, more, replace(harmless, ratio=more)),
        Case("split, no difference", "ratio", 1, 1, harmless),
        Case("split, 1.2 times", "ratio", 1 / more, more, replace(harmless, ratio=more)),
        Case("split with ramp, no difference", "ratio", 1, 1, ramp),
        Case("split with ramp, 1.2 times", "ratio", 1 / more, more, replace(ramp, ratio=more)),
    ]


def run(case: Case, runs: int, rng: np.random.Generator) -> dict[str, float]:
    """Share of runs (of runs and labels, where it says "a label") in which each error was made at any look."""
    batches = [_errors(case, min(BATCH, runs - done), rng) for done in range(0, runs, BATCH)]
    return {name: float(np.concatenate([batch[name] for batch in batches]).mean()) for name in batches[0]}


def exceeds(value: float, alpha: float, runs: int) -> bool:
    """Whether a share of runs is more than chance explains: above alpha + 3 sigma."""
    return value > alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)


def allowed(figure: str) -> float | None:
    """What Ville's bound (or another promise) allows; None for what is shown for comparison only."""
    if figure.startswith("z") or "uncorrected" in figure:
        return None
    return ALPHA_ASSIGNMENT if figure == "INVALID" else ALPHA


def _errors(case: Case, runs: int, rng: np.random.Generator) -> Mapping[str, Bools]:
    return _split_errors(case, runs, rng) if case.kind == "ratio" else _paired_errors(case, runs, rng)


def _split_errors(case: Case, runs: int, rng: np.random.Generator) -> dict[str, Bools]:
    world, (units, alerts) = case.world, split_runs(case.world, runs, rng)
    shares = world.shares
    higher, lower = looks.ratio_above(alerts, shares, case.upper), looks.ratio_below(alerts, shares, case.lower)
    found = _verdicts(higher, lower)
    if case.upper != case.lower:
        less = looks.ratio_below(alerts, shares, case.upper)
        found["PASS, a label"] = _wrong_pass(looks.ratio_above(alerts, shares, case.lower), less)
    interval = looks.shares_evidence(alerts, shares, world.ratio, _INTERVAL_PRIOR)
    found["interval misses, a label"] = looks.ever(interval >= math.log(1 / ALPHA))
    sample_ratio = looks.shares_evidence(units, shares, 1.0, ASSIGNMENT_PRIOR)
    found["INVALID"] = looks.ever(sample_ratio >= math.log(1 / ALPHA_ASSIGNMENT))
    return found | _naive(looks.z_split(alerts.sum(axis=3), units.sum(axis=2)[:, :, None], case.upper))


def _paired_errors(case: Case, runs: int, rng: np.random.Generator) -> dict[str, Bools]:
    counts = paired_runs(case.world, runs, rng).counts
    relative = case.kind == "paired ratio"
    above, below = (
        (looks.paired_ratio_above, looks.paired_ratio_below)
        if relative
        else (looks.difference_above, looks.difference_below)
    )
    higher, below_upper = above(counts, case.upper), below(counts, case.upper)
    found = _verdicts(higher, below(counts, case.lower))
    if case.upper != case.lower:
        found["PASS, a label"] = _wrong_pass(above(counts, case.lower), below_upper)
    found["interval misses, a label"] = looks.ever(np.maximum(higher, below_upper) >= math.log(2 / ALPHA))
    return found | _naive(looks.z_paired(counts, case.upper if relative else 1.0, 0.0 if relative else case.upper))


def _verdicts(higher: Floats, lower: Floats) -> dict[str, Bools]:
    worse = looks.either(higher, lower)
    labels = worse.shape[-1]
    return {
        "FAIL": looks.any_of(looks.ever(worse >= math.log(labels / ALPHA))),
        "FAIL, a label": looks.ever(worse >= math.log(1 / ALPHA)),
        "FAIL, a label, one direction": looks.ever(higher >= math.log(1 / ALPHA)),
        "FAIL, uncorrected": looks.any_of(looks.ever(worse >= math.log(1 / ALPHA))),
        "listed at the end (e-BH)": _listed(worse[:, -1]),
    }


def _listed(evidence: Floats) -> Bools:
    """Whether e-BH lists any label [runs]; evidence [runs, labels]."""
    ordered = -np.sort(-evidence, axis=-1)
    labels = evidence.shape[-1]
    return looks.any_of(ordered + np.log(np.arange(1, labels + 1)) >= math.log(labels / ALPHA))


def _wrong_pass(more: Floats, less: Floats) -> Bools:
    return looks.ever(np.minimum(more, less) >= math.log(1 / ALPHA))


def _naive(z: Floats) -> dict[str, Bools]:
    one, corrected = (NormalDist().inv_cdf(1 - alpha) for alpha in (ALPHA, ALPHA / z.shape[-1]))
    return {
        "z at the end, a label": z[:, -1] >= one,
        "z at every look, a label": looks.ever(z >= one),
        "z at every look, any label, corrected": looks.any_of(looks.ever(z >= corrected)),
    }
