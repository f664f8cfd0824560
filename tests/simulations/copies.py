"""What breaks a test that counts events: copies, clusters, and a ramp over which base rates move."""

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from streamtag.domain.evidence import Evidence, Rows
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy, Tolerance
from streamtag.domain.verdict import State

from . import looks
from .worlds import Ints, World, split_runs

ALPHA = 0.05
_UNITS = 3_000
"""On all of which the arms differ, either way with the same chance."""
_PANES = 60


def every_event(runs: int, copies: int, rng: np.random.Generator) -> float:
    """Share of runs without a difference in which McNemar's evidence ever reaches its bound; a look at every unit."""
    candidate = rng.integers(0, 2, (runs, _UNITS))
    outcomes = np.stack([1 - candidate, candidate], axis=-1).cumsum(axis=1) * copies
    return float(looks.ever(looks.shares_evidence(outcomes[:, :, None], (0.5,), 1.0, 2.0) >= _bound()).mean())


def failures(runs: int, copies: int, *, count_once: bool, rng: np.random.Generator) -> float:
    """The same with `Evidence` itself and next to no tolerance: a look at every pane, ``copies`` rows of each unit."""
    plan = ExperimentPlan("shadow", {"label": LabelPolicy(Tolerance("absolute", 1e-6))})
    return sum(_fails(plan, copies, count_once, rng) for _ in range(runs)) / runs


def _fails(plan: ExperimentPlan, copies: int, count_once: bool, rng: np.random.Generator) -> bool:
    evidence = Evidence(plan, 0)
    units = _UNITS // _PANES
    for pane in range(_PANES):
        who = rng.random(units).repeat(copies)
        control, candidate = who < 0.5, who >= 0.5
        names = np.arange(pane * units, (pane + 1) * units).repeat(copies)
        if not count_once:
            names = np.arange(pane * units * copies, (pane + 1) * units * copies)
        rows = Rows(0, 1.0, "both", names.astype(np.uint64), control[:, None], candidate[:, None])
        if evidence.fold([rows], 10_000 * (pane + 1)).state is State.FAIL:
            return True
    return False


def ramp(runs: int, ratio: float, rng: np.random.Generator) -> dict[str, float]:
    """A ramp from 5 % to half while the base rate falls from a tenth to 3 %: who says higher, and who lower."""
    world = World(looks=200, units=100, rates=(0.1,), ratio=ratio, shares=(0.05, 0.5))
    rates = np.where(world.phase_of_look == 0, 0.1, 0.03)[None, :, None]
    units, alerts = split_runs(world, runs, rng, rates)
    pooled = looks.z_split(alerts.sum(axis=3), units.sum(axis=2)[:, :, None], 1.0)[:, -1, 0]
    bound = NormalDist().inv_cdf(1 - ALPHA)
    return {
        "higher": float(looks.ever(looks.ratio_above(alerts, world.shares, 1.0) >= _bound()).mean()),
        "lower": float(looks.ever(looks.ratio_below(alerts, world.shares, 1.0) >= _bound()).mean()),
        "z pooled: higher": float((pooled >= bound).mean()),
        "z pooled: lower": float((pooled <= -bound).mean()),
    }


def late_regression(runs: int, clean: int, rng: np.random.Generator) -> float:
    """Median units from the start of a doubling to FAIL at a tolerance of 1.2, after ``clean`` units without one."""
    world = World(looks=600, units=200, rates=(0.05,))
    before = replace(world, looks=max(1, clean // world.units))
    after = split_runs(replace(world, ratio=2.0), runs, rng).alerts
    history: Ints = split_runs(before, runs, rng).alerts[:, -1:] if clean else np.zeros_like(after[:, :1])
    evidence = looks.ratio_above(after + history, world.shares, 1.2)[..., 0]
    return float(np.median(looks.first(evidence >= _bound(), world.units)))


def _bound() -> float:
    return math.log(1 / ALPHA)
