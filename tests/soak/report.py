"""What a long run says: `reports/soak.json` for machines, and a summary for people."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from faults import campaign
from faults.report import document as campaign_document
from faults.stage import Stage
from numpy.typing import NDArray

from .judge import Stretch, Verdict, judge, problems, rests
from .latency import percentile_ms
from .run import Plan, Result

_UNDER_WAY_S, _SETTLE_S = 1.0, 1.0
_LEVELS = ("fds", "threads")


def hurt(result: Result) -> list[Stretch]:
    """From each fault (and what was under way then) until a second of work at most is left, and a second more."""
    return [(math.floor(one.from_s - _UNDER_WAY_S), math.ceil(one.caught_up_s + _SETTLE_S)) for one in result.strikes]


def document(stage: Stage, plan: Plan, result: Result, facts: Mapping[str, object]) -> dict[str, Any]:
    """Everything a reader wants to know; what has grown joins the violations."""
    at_rest = rests(result.from_s, result.to_s, hurt(result))
    verdicts = [verdict for life in result.lives if (verdict := judge(life, at_rest)) is not None]
    for problem in problems(verdicts, result.to_s - result.from_s):
        stage.findings.add("grown", problem)
    whole = result.latencies.between(int(result.from_s), int(result.to_s))
    calm = [result.latencies.between(math.ceil(a), math.floor(b)) for a, b in at_rest]
    return {
        "full_speed_per_s": result.full_speed and round(result.full_speed),
        "capacity_per_s": result.capacity and round(result.capacity),
        "load_per_s": round(result.rate),
        "latency_ms": {"all": _percentiles(whole), "outside_faults": _percentiles(np.vstack(calm))},
        "share_of_time_in_faults": round(1 - sum(b - a for a, b in at_rest) / (result.to_s - result.from_s), 3),
        "fault_to_level_s": _durations(result),
        "peak_disk_mib": round(result.peak_disk_mib),
        "lives": [_life(verdict) for verdict in verdicts],
        **campaign_document(stage, campaign.Plan(plan.seed, plan.minutes, result.rate), result.course, facts),
        "strikes": [{"at_s": round(one.from_s - result.from_s, 1), **asdict(one)} for one in result.strikes],
        "samples": "seconds from the start, RSS MiB, descriptors, threads, CPU seconds",
        "series": _series(result),
    }


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """For a terminal."""
    memory = f"{'RSS MiB':>16}{'most':>7}{'MiB/h, late':>14}"
    yield f"{'process':<16}{'life s':>8}{memory}{'fds':>10}{'threads':>10}{'cores':>7}"
    for life in found["lives"]:
        start, end, most = life["rss_mib"]
        levels = [f"{life[what]['base']}–{max([life[what]['base'], *life[what]['after']])}" for what in _LEVELS]
        slope = f"{life['slope_mib_per_h']:.1f}, {life['late_slope_mib_per_h']:.1f}" if life["judged"] else "–"
        yield (
            f"{life['name']:<16}{life['seconds']:>8}{f'{start:.0f} → {end:.0f}':>16}{most:>7.0f}{slope:>14}"
            f"{levels[0]:>10}{levels[1]:>10}{life['cores']:>7.2f}"
        )
    capacity = "not measured" if found["capacity_per_s"] is None else f"{found['capacity_per_s']:,} records/s"
    yield f"capacity {capacity}, load {found['load_per_s']:,} records/s, disk at most {found['peak_disk_mib']:,} MiB"
    for where, figures in found["latency_ms"].items():
        yield f"latency, {where.replace('_', ' ')}: " + ", ".join(f"{name} {ms:,} ms" for name, ms in figures.items())
    yield f"{100 * found['share_of_time_in_faults']:.0f} % of the time in faults or catching up"


def _percentiles(counts: NDArray[np.int32]) -> dict[str, float | None]:
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: percentile_ms(counts, share) for name, share in shares.items()}


def _durations(result: Result) -> dict[str, list[float]]:
    took: dict[str, list[float]] = defaultdict(list)
    for one in result.strikes:
        took[one.name].append(round(one.caught_up_s - one.from_s, 1))
    return dict(sorted(took.items()))


def _life(verdict: Verdict) -> dict[str, Any]:
    return {
        "name": verdict.name,
        "seconds": round(verdict.seconds),
        "judged": verdict.judged,
        "rss_mib": [round(mib, 1) for mib in verdict.rss_mib],
        "slope_mib_per_h": round(verdict.slope_mib_per_h, 2),
        "late_slope_mib_per_h": round(verdict.late_slope_mib_per_h, 2),
        "growth_mib": round(verdict.growth_mib, 2),
        "fds": asdict(verdict.fds),
        "threads": asdict(verdict.threads),
        "cores": round(verdict.cores, 3),
    }


def _series(result: Result) -> dict[str, Any]:
    return {
        f"{life.name} ({life.pid})": [
            [round(s.at - result.from_s, 1), round(s.rss_mib, 1), s.fds, s.threads, round(s.cpu_s, 2)]
            for s in life.samples
        ]
        for life in result.lives
    }
