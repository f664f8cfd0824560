"""Made-up experiments: cumulative counts at every look, for many runs at once."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """How units come, and what the candidate does.

    Attributes:
        looks, units: looks of a run, and units that arise between two.
        rates: of the control, one a label.
        ratio, difference: the candidate's rate is ``ratio * rate + difference``.
        shares: of the candidate, phases of equal length.
        late: share of units that is seen up to ``delay`` looks later than it should be.
        wander: how much all rates move from look to look, as the standard deviation of their logarithm.
        overlap: share of what the less eager arm tags that the other tags, too (shadow).
    """

    looks: int
    units: int
    rates: tuple[float, ...]
    ratio: float = 1.0
    difference: float = 0.0
    shares: tuple[float, ...] = (0.5,)
    late: float = 0.0
    delay: int = 20
    wander: float = 0.0
    overlap: float = 0.8

    @property
    def phase_of_look(self) -> Ints:
        """Phase of what arises before each look [looks]."""
        return np.arange(self.looks) * len(self.shares) // self.looks


class SplitRuns(NamedTuple):
    """Seen up to each look: units [runs, looks, phases, 2], alerts [runs, looks, labels, phases, 2]; control first."""

    units: Ints
    alerts: Ints


class PairedRuns(NamedTuple):
    """Seen up to each look, per label: candidate only, control only, both, neither; [runs, looks, labels, 4]."""

    counts: Ints


def control_rates(world: World, runs: int, rng: np.random.Generator) -> Floats:
    """Rates at each look [runs, looks, labels]: all of a run wander together, within a factor of three."""
    walk = rng.normal(0, world.wander, (runs, world.looks, 1)).cumsum(axis=1)
    return np.asarray(np.exp(np.clip(walk, -1.1, 1.1)) * np.array(world.rates))


def split_runs(world: World, runs: int, rng: np.random.Generator, rates: Floats | None = None) -> SplitRuns:
    """Runs of a split; ``rates`` of the control [runs or 1, looks, labels] where they are not to wander."""
    control = control_rates(world, runs, rng) if rates is None else rates
    both = np.stack([control, control * world.ratio + world.difference], axis=-1)
    share = np.array(world.shares)[world.phase_of_look]

    def some(n: Ints) -> tuple[Ints, Ints]:
        candidate = rng.binomial(n, share)
        arms = np.stack([n - candidate, candidate], axis=-1)
        return arms, rng.binomial(arms[:, :, None, :], both)

    late = rng.binomial(world.units, world.late, (runs, world.looks))
    on_time, after = some(world.units - late), some(late)
    arrivals = _arrivals(world, runs, rng)
    units = _seen(world, arrivals, on_time[0], after[0])
    alerts = _seen(world, arrivals, on_time[1], after[1])
    return SplitRuns(units, np.moveaxis(alerts, 2, 3))


def paired_runs(world: World, runs: int, rng: np.random.Generator) -> PairedRuns:
    """Runs in shadow mode."""
    control = control_rates(world, runs, rng)
    candidate = control * world.ratio + world.difference
    both = world.overlap * np.minimum(control, candidate)
    chances = np.stack([candidate - both, control - both, both], axis=-1)
    chances = np.concatenate([chances, 1 - chances.sum(-1, keepdims=True)], axis=-1)
    late = rng.binomial(world.units, world.late, (runs, world.looks, 1))
    on_time, after = rng.multinomial(world.units - late, chances), rng.multinomial(late, chances)
    return PairedRuns(_seen(world, _arrivals(world, runs, rng), on_time, after).sum(axis=2))


def _arrivals(world: World, runs: int, rng: np.random.Generator) -> Ints:
    """Look at which the late units of each look are seen [runs, looks]; those beyond the last look never are."""
    return np.arange(world.looks) + rng.integers(1, world.delay + 1, (runs, world.looks))


def _seen(world: World, arrivals: Ints, on_time: Ints, late: Ints) -> Ints:
    """Cumulative counts by the look they were seen at and the phase they arose in [runs, looks, phases, …]."""
    runs, looks, phase = len(on_time), np.arange(world.looks), world.phase_of_look
    seen = np.zeros((runs, world.looks, len(world.shares), *on_time.shape[2:]), np.int64)
    seen[:, looks, phase] = on_time
    run, look = np.nonzero(arrivals < world.looks)
    np.add.at(seen, (run, arrivals[run, look], phase[look]), late[run, look])
    return seen.cumsum(axis=1)
