"""Runs all simulations; tables for people, one JSON document for machines, and what is not as promised."""

import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from . import copies, nulls, power

Figures = dict[str, dict[str, Any]]
Say = Callable[[str], None]


def run(runs: int, seed: int, say: Say) -> dict[str, Any]:
    """All of it.

    Args:
        runs: of every case of `nulls`; cases of `power` take a quarter.
        seed: makes the same figures again.
        say: told what has been found, a table at a time.
    """
    started = time.process_time()
    broken: list[str] = []
    sections = {
        "nulls": _nulls(runs, seed, broken),
        "power": _power(max(100, runs // 4), seed, broken),
        "forecasts": _forecasts(max(50, runs // 20), seed),
        "copies": _copies(runs, seed, broken),
        "ramp": _ramp(max(100, runs // 4), seed, broken),
        "late regression": _late_regression(max(50, runs // 20), seed),
    }
    for title, section in sections.items():
        say(table(title, section))
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}",
        "seed": seed,
        "runs": runs,
        "cpu_s": round(time.process_time() - started, 1),
        "broken": broken,
        **sections,
    }


def _nulls(runs: int, seed: int, broken: list[str]) -> Figures:
    found: Figures = {}
    for i, case in enumerate(nulls.cases()):
        found[case.name] = dict(nulls.run(case, runs, np.random.default_rng([seed, 1, i])))
        for figure, value in found[case.name].items():
            alpha = nulls.allowed(figure)
            if alpha is not None and nulls.exceeds(value, alpha, runs):
                broken.append(f"{case.name}: {figure} {value:.4f} is above {alpha} + 3 sigma")
    return found


def _power(runs: int, seed: int, broken: list[str]) -> Figures:
    found: Figures = {}
    for i, case in enumerate(power.cases()):
        figures = power.run(case, runs, np.random.default_rng([seed, 2, i]))
        broken += [f"{case.name}: {figure} is worse than in the table" for figure in power.worse(case, figures, runs)]
        expected = {"table: median": _range(case.median), "table: found": _range(case.found)}
        found[case.name] = {**figures, **{name: text for name, text in expected.items() if text}}
    return found


def _forecasts(runs: int, seed: int) -> Figures:
    rng = np.random.default_rng([seed, 3])
    cases = {case.name: case for case in power.cases()}
    chosen = {"shadow at 1 %, PASS": (25, 50, 80), "shadow at 5 %, PASS": (10, 20, 30)}
    return {
        f"{name}, at {at * cases[name].world.units:,} units": dict(power.forecasts(cases[name], at, runs, rng))
        for name, looks in chosen.items()
        for at in looks
    }


def _copies(runs: int, seed: int, broken: list[str]) -> Figures:
    rng = np.random.default_rng([seed, 4])
    few = max(50, runs // 10)
    found: Figures = {
        f"each unit {n} times": {
            "a look at every unit, copies counted": copies.every_event(runs, n, rng),
            "Evidence, copies counted": copies.failures(few, n, count_once=False, rng=rng),
            "Evidence, units counted once": copies.failures(few, n, count_once=True, rng=rng),
        }
        for n in (1, 2, 5, 20)
    }
    for case, figures in found.items():
        once = figures["Evidence, units counted once"]
        if nulls.exceeds(once, copies.ALPHA, few):
            broken.append(f"{case}: {once:.3f} FAIL although units count once")
    return found


def _ramp(runs: int, seed: int, broken: list[str]) -> Figures:
    rng = np.random.default_rng([seed, 5])
    found: Figures = {f"{ratio:g} times": dict(copies.ramp(runs, ratio, rng)) for ratio in (1.0, 2.0)}
    wrong = found["1 times"]["higher"], found["1 times"]["lower"], found["2 times"]["lower"]
    if any(nulls.exceeds(share, copies.ALPHA, runs) for share in wrong):
        broken.append(f"ramp: wrong in {wrong} of all runs")
    return found


def _late_regression(runs: int, seed: int) -> Figures:
    rng = np.random.default_rng([seed, 6])
    return {
        f"after {clean:,} clean units": {"median units to FAIL": copies.late_regression(runs, clean, rng)}
        for clean in (0, 2_000, 5_000, 10_000, 20_000)
    }


def _range(values: tuple[float, float] | None) -> str:
    if values is None:
        return ""
    low, high = (f"{value:,g}" for value in values)
    return low if low == high else f"{low} to {high}"


def table(title: str, section: Mapping[str, Mapping[str, Any]]) -> str:
    """One section, a block a case."""
    lines = [f"\n== {title} =="]
    for case, figures in section.items():
        lines.append(case)
        lines += [f"  {_figure(value):>12}  {name}" for name, value in figures.items()]
    return "\n".join(lines)


def _figure(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.4f}" if value < 1 else f"{value:,.0f}"
