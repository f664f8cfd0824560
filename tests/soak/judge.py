"""Flat or not: what a process holds at rest, over its life."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .sampling import Life, Sample

RSS_MIB = 300.0
"""Most a worker may hold at any time."""
GROWTH_MIB = 10.0
"""Most by which memory at rest may grow from the end of the warm-up to the end of a life."""
STEP_MIB = 20.0
"""Most by which it may do so in a step, if it stays on its new level: by a quarter of `GROWTH_MIB` at that rate."""
WARM_UP = 1 / 6
"""Share of a life that does not count: caches and the allocator fill, and the first of each kind of fault leaves more
memory mapped than was before."""
JUDGED_S = 1_800.0
"""Of shorter lives memory is described, but a slope over them says nothing: a worker comes to its level with the first
outage whose backlog it works off."""
HANG_S = 660.0
"""So long a call of the client library may hang, and hold its client: what is left of a life must be longer for the
level after a fault to be judged."""
WORTH_JUDGING_S = 2_400.0
"""A run that long without a worker that lived long enough to be judged says nothing, and must not pass for flat."""
MORE_FDS = 2
MORE_THREADS = 1
"""By so many may the level after a fault lie above the one before the first."""

Stretch = tuple[float, float]
"""Unix seconds, ``[from, to)``."""


@dataclass(frozen=True)
class Level:
    """Descriptors or threads at rest: ``base`` in the first rest, then the least in all the rest after each fault.

    Of the first rest its second half counts: that of a worker which a fault has restarted begins while it still opens
    its files. A call of the client library that hangs holds its client until it returns, which may take minutes: what
    counts is that it goes.
    """

    base: int
    after: Sequence[int]
    most: int
    allowed: int

    @property
    def flat(self) -> bool:
        """Whether it comes back to its base after every fault."""
        return all(level <= self.base + self.allowed for level in self.after)


@dataclass(frozen=True)
class Verdict:
    """On one life. Slopes are those of least squares over the seconds at rest after the warm-up.

    The backlog of an outage may lift the allocator to another level, once: over an hour that is a slope. A leak goes
    on in the second half of a life as in the first, such a step does not: where the second half is flat, and the step
    no higher than `STEP_MIB`, growth is that of the second half.

    Attributes:
        name: of the process.
        seconds: it lived, under load.
        judged: whether it lived long enough for its growth to be judged.
        rss_mib: at rest, after the warm-up and at the end, and the most at any time.
        slope_mib_per_h: of memory at rest.
        late_slope_mib_per_h: the same of the second half of the life.
        growth_mib: the slope that counts, times what is left of the life after the warm-up.
        fds, threads: levels.
        cores: processors used, on average.
    """

    name: str
    seconds: float
    judged: bool
    rss_mib: tuple[float, float, float]
    slope_mib_per_h: float
    late_slope_mib_per_h: float
    growth_mib: float
    fds: Level
    threads: Level
    cores: float

    def problems(self) -> Iterator[str]:
        """What is wrong, in words."""
        if self.rss_mib[2] > RSS_MIB:
            yield f"{self.name} held {self.rss_mib[2]:.0f} MiB"
        if self.judged and self.growth_mib > GROWTH_MIB:
            slopes = f"{self.slope_mib_per_h:.1f} MiB/h, late {self.late_slope_mib_per_h:.1f}"
            yield f"{self.name} grew by {self.growth_mib:.1f} MiB, {slopes}"
        for what, level in (("descriptors", self.fds), ("threads", self.threads)):
            if not level.flat:
                yield f"{self.name} had {level.base} {what} at rest, and {max(level.after)} after a fault"


def problems(verdicts: Iterable[Verdict], run_s: float) -> Iterator[str]:
    """What is wrong with the workers of a run, in words.

    Args:
        verdicts: on all processes.
        run_s: how long it was under load.
    """
    workers = [verdict for verdict in verdicts if verdict.name.startswith("worker")]
    for verdict in workers:
        yield from verdict.problems()
    if run_s >= WORTH_JUDGING_S and not any(verdict.judged for verdict in workers):
        yield f"no worker lived for {JUDGED_S:.0f} s: whether memory grows was not judged"


def rests(start_s: float, end_s: float, hurt: Sequence[Stretch]) -> list[Stretch]:
    """What remains of a run between its faults."""
    edges = [start_s, *(edge for stretch in sorted(hurt) for edge in stretch), end_s]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= 1]


def judge(life: Life, at_rest: Sequence[Stretch]) -> Verdict | None:
    """None for a process that was never at rest after its start."""
    begun, ended = at_rest[0][0], at_rest[-1][1]
    samples = [s for s in life.samples if begun <= s.at < ended]
    calm = [part for stretch in at_rest if (part := _within(samples, stretch))]
    if not calm:
        return None
    first, last = samples[0], samples[-1]
    lived = last.at - first.at
    warm = [s for part in calm for s in part if s.at >= first.at + WARM_UP * lived]
    late = [s for s in warm if s.at >= first.at + lived / 2]
    per_s, late_per_s = (slope([(s.at, s.rss_mib) for s in some]) for some in (warm, late))
    rss_mib = (warm[0].rss_mib if warm else last.rss_mib, last.rss_mib, max(s.rss_mib for s in samples))
    left_s = lived * (1 - WARM_UP)
    stepped = len(late) >= lived / 4 and late_per_s * left_s <= GROWTH_MIB / 4 and rss_mib[1] - rss_mib[0] <= STEP_MIB
    return Verdict(
        name=life.name,
        seconds=lived,
        judged=lived >= JUDGED_S,
        rss_mib=rss_mib,
        slope_mib_per_h=per_s * 3_600,
        late_slope_mib_per_h=late_per_s * 3_600,
        growth_mib=(min(per_s, late_per_s) if stepped else per_s) * left_s,
        fds=_level(calm, [s.fds for s in samples], MORE_FDS, "fds"),
        threads=_level(calm, [s.threads for s in samples], MORE_THREADS, "threads"),
        cores=(last.cpu_s - first.cpu_s) / max(1.0, lived),
    )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares, y per x; 0 of fewer than two points."""
    if len(points) < 2:
        return 0.0
    x, y = np.array(points).T
    x = x - x.mean()
    return float((x * (y - y.mean())).sum() / (x * x).sum())


def _within(samples: Sequence[Sample], stretch: Stretch) -> list[Sample]:
    return [s for s in samples if stretch[0] <= s.at < stretch[1]]


def _level(calm: Sequence[Sequence[Sample]], all_of_them: Sequence[int], allowed: int, what: str) -> Level:
    parts = [[getattr(sample, what) for sample in part] for part in calm]
    ended = calm[-1][-1].at
    base, after = min(parts[0][len(parts[0]) // 2 :]), [min(part) for part in parts[1:]]
    in_what_follows = list(itertools.accumulate(reversed(after), min))[::-1]
    long_ago = sum(part[0].at <= ended - HANG_S for part in calm[1:])
    return Level(base, in_what_follows[:long_ago], max(all_of_them), allowed)
