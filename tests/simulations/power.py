"""How many units a verdict takes, beside the operating characteristics that were worked out before it was built."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from streamtag.domain.experiment import ExperimentPlan, LabelPolicy, Tolerance
from streamtag.domain.verdict import PhaseCounts, units_needed

from . import looks
from .worlds import Floats, World, paired_runs, split_runs

BOUND = math.log(1 / 0.05)
_TOLERANCE = 1.2
Evidence = Callable[[World, int, np.random.Generator], Floats]


@dataclass(frozen=True)
class Case:
    """Units until the evidence of one label reaches its bound.

    Attributes:
        name: for people.
        world: with one label; its horizon is ``looks * units``.
        evidence: log E at each look [runs, looks].
        median: units that half of the runs need, from … to, by the table; None where it has no row.
        found: share of runs that get there within the horizon, likewise.
    """

    name: str
    world: World
    evidence: Evidence
    median: tuple[float, float] | None = None
    found: tuple[float, float] | None = None


def cases() -> list[Case]:
    """The rows of the table, then what the default tolerance of 0.2 asks for."""
    split = World(looks=800, units=50, rates=(0.01,))
    tenth = replace(split, shares=(0.1,))
    shadow = World(looks=800, units=25, rates=(0.01,), overlap=0.5)
    alike = World(looks=1_200, units=50, rates=(0.01,), overlap=0.5)
    common = World(looks=1_000, units=100, rates=(0.05,))
    rare = replace(common, rates=(0.01,), units=200)
    return [
        Case("split, 2 times", replace(split, ratio=2), _higher(1), (4_300, 5_000)),
        Case("split, 1.5 times", replace(split, ratio=1.5), _higher(1), (15_000, 15_000), (0.93, 0.93)),
        Case("split, 1.3 times", replace(split, ratio=1.3), _higher(1), None, (0.42, 0.54)),
        Case("split, 2 times, a tenth of units", replace(tenth, ratio=2), _higher(1), (10_600, 13_700)),
        Case("shadow, 1 point more, 2 % differ", replace(shadow, difference=0.01), _more(0), (1_800, 1_800)),
        Case("shadow, half a point more, 1.5 % differ", replace(shadow, difference=0.005), _more(0), (5_200, 5_200)),
        Case("shadow, PASS within half a point, 1 % differ", alike, _equal(0.005), (6_200, 6_200)),
        Case("shadow, PASS within 0.2 points, 1 % differ", alike, _equal(0.002), (33_000, 33_000), (0.93, 0.93)),
        Case("split at 1 %, FAIL of 2 times", replace(rare, ratio=2), _higher(_TOLERANCE)),
        Case("split at 1 %, PASS", rare, _same),
        Case("split at 5 %, FAIL of 2 times", replace(common, ratio=2), _higher(_TOLERANCE)),
        Case("split at 5 %, PASS", common, _same),
        Case("shadow at 1 %, FAIL of 2 times", replace(rare, ratio=2), _paired_higher),
        Case("shadow at 1 %, PASS", rare, _paired_same),
        Case("shadow at 5 %, FAIL of 2 times", replace(common, ratio=2), _paired_higher),
        Case("shadow at 5 %, PASS", common, _paired_same),
    ]


def run(case: Case, runs: int, rng: np.random.Generator) -> dict[str, float]:
    """Median of units needed, with its Monte Carlo error, and the share of runs that got there."""
    world = case.world
    needed = np.sort(looks.first(case.evidence(world, runs, rng) >= BOUND, world.units))
    spread = math.sqrt(runs) / 2  # standard deviation of the rank of the median
    low, high = (float(needed[min(runs - 1, max(0, round(runs / 2 + z * spread)))]) for z in (-3, 3))
    return {
        "median": float(np.median(needed)),
        "median from": low,
        "median to": high,
        "found": float(np.isfinite(needed).mean()),
        "horizon": float(world.looks * world.units),
    }


def worse(case: Case, figures: dict[str, float], runs: int) -> list[str]:
    """Figures that are worse than the table says by more than both Monte Carlo errors; the table's is 300 runs or more.

    Better is fine: fewer units, or more runs that get there.
    """
    found = []
    if case.median and figures["median from"] > case.median[1] * 1.1:
        found.append("median")
    if case.found:
        share = case.found[0]
        error = 3 * math.sqrt(share * (1 - share) * (1 / runs + 1 / 300))
        if figures["found"] < share - error:
            found.append("found")
    return found


def forecasts(case: Case, at: int, runs: int, rng: np.random.Generator) -> dict[str, float]:
    """Units in all that `units_needed` foretells at one look of a shadow experiment, over runs."""
    plan = ExperimentPlan("shadow", {"label": LabelPolicy(Tolerance("relative", _TOLERANCE - 1))})
    seen = at * case.world.units
    foretold = []
    for only, missed, both, _ in paired_runs(case.world, runs, rng).counts[:, at - 1, 0].tolist():
        needed = units_needed(plan, "label", [PhaseCounts(1.0, seen, seen, {"label": (only, missed, both)})])
        foretold.append(math.inf if needed is None else float(seen + needed))
    return {"at": float(seen), "median": float(np.median(foretold)), "never": float(np.isinf(foretold).mean())}


def _higher(bound: float) -> Evidence:
    def evidence(world: World, runs: int, rng: np.random.Generator) -> Floats:
        return looks.ratio_above(split_runs(world, runs, rng).alerts, world.shares, bound)[..., 0]

    return evidence


def _same(world: World, runs: int, rng: np.random.Generator) -> Floats:
    alerts = split_runs(world, runs, rng).alerts
    more = looks.ratio_above(alerts, world.shares, 1 / _TOLERANCE)
    return np.minimum(more, looks.ratio_below(alerts, world.shares, _TOLERANCE))[..., 0]


def _more(bound: float) -> Evidence:
    def evidence(world: World, runs: int, rng: np.random.Generator) -> Floats:
        return looks.difference_above(paired_runs(world, runs, rng).counts, bound)[..., 0]

    return evidence


def _equal(tolerance: float) -> Evidence:
    def evidence(world: World, runs: int, rng: np.random.Generator) -> Floats:
        counts = paired_runs(world, runs, rng).counts
        more = looks.difference_above(counts, -tolerance)
        return np.minimum(more, looks.difference_below(counts, tolerance))[..., 0]

    return evidence


def _paired_higher(world: World, runs: int, rng: np.random.Generator) -> Floats:
    return looks.paired_ratio_above(paired_runs(world, runs, rng).counts, _TOLERANCE)[..., 0]


def _paired_same(world: World, runs: int, rng: np.random.Generator) -> Floats:
    counts = paired_runs(world, runs, rng).counts
    more = looks.paired_ratio_above(counts, 1 / _TOLERANCE)
    return np.minimum(more, looks.paired_ratio_below(counts, _TOLERANCE))[..., 0]
