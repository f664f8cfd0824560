"""What a run says: tables for people, one JSON document for machines.

``reports/bench.json`` has one section a measurement, each with its own date, machine and versions, and at its top the
headline figures of all of them. A measurement replaces its own section and headline figures; the others stay.
"""

import importlib.metadata
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import confluent_kafka
import msgspec
from rich.console import Console
from rich.table import Table

from .cpu import machine_facts

REPORT = Path("reports/bench.json")
_PACKAGES = ("streamtag", "confluent-kafka", "onnxruntime", "numpy", "msgspec", "faust-streaming", "aiokafka", "redis")


Spreads = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Of several rounds: peer to figure to least, median and largest."""


class Goal(NamedTuple):
    """What a headline figure should be."""

    at_least: bool
    bound: float

    def met(self, value: float) -> bool:
        """Whether ``value`` is what it should be."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}"


GOALS = {
    "worker_over_plain": Goal(False, 1.4),
    "plain_over_floors": Goal(False, 1.3),
    "faust_over_worker": Goal(True, 15),
    "quix_over_worker": Goal(True, 4.5),
    "kstreams_over_worker": Goal(True, 2),
    "half_load_p99_ms": Goal(False, 150),
    "threshold_live_p99_ms": Goal(False, 250),
    "console_published_p99_ms": Goal(False, 300),
    "console_first_paint_ms": Goal(False, 1_000),
    "console_week_ms": Goal(False, 300),
    "rss_mb": Goal(False, 300),
    "statistics_over_none": Goal(False, 1.05),
    "statistics_over_none_50_labels": Goal(False, 1.05),
    "shadow_thresholds_over_none": Goal(False, 1.3),
    "shadow_bundle_over_none": Goal(False, 1.3),
    "shadow_stopped_over_none": Goal(False, 1.3),
    "shadow_hangs_over_none": Goal(False, 1.3),
    "model_documents_per_s": Goal(True, 40_000),
    "swap_load_s": Goal(False, 1),
    "swap_stall_ms": Goal(False, 20),
    "windower_cpu_percent": Goal(False, 50),
    "windower_restart_s": Goal(False, 15),
    "stats_app_cpu_percent": Goal(False, 10),
    "stats_app_restart_s": Goal(False, 60),
}

# Wide enough for the tables where no terminal says how wide it is.
console = Console(width=None if sys.stdout.isatty() else 120)


def say(line: str) -> None:
    """One line of progress."""
    console.print(line, markup=False, highlight=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table; the first column holds words, the others numbers."""
    shown = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        shown.add_column(column, justify="right" if number else "left")
    for row in rows:
        shown.add_row(*row)
    console.print(shown)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Least, median and largest."""
    return {
        "min": round(min(values), 3),
        "median": round(statistics.median(values), 3),
        "max": round(max(values), 3),
    }


def spreads(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> Spreads:
    """`spread` of every figure of every peer, over the rounds."""
    return {
        peer: {name: spread([r[peer][name] for r in rounds]) for name in figures} for peer, figures in rounds[0].items()
    }


def origin() -> dict[str, object]:
    """When, on what machine, with which versions."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    versions |= {"python": platform.python_version(), "librdkafka": confluent_kafka.libversion()[0]}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "versions": versions,
    }


def save(section: str, found: Mapping[str, object], headline: Mapping[str, float], *, report: Path = REPORT) -> None:
    """Puts a measurement into the report, and prints its headline figures with their goals.

    Args:
        section: name of the measurement.
        found: all of it; date, machine and versions are added here.
        headline: the figures that stand at the top of the report, under names that no other section uses.
        report: the file.
    """
    before: dict[str, Any] = msgspec.json.decode(report.read_bytes()) if report.exists() else {}
    sections = before.get("sections")
    if sections is None:  # not there, or of the time before sections
        before, sections = {}, {}
    top = {name: value for name, value in before.items() if name not in ("goals", "sections")}
    after = {
        **top,
        **headline,
        "goals": {name: str(goal) for name, goal in GOALS.items()},
        "sections": {**sections, section: {**origin(), **found}},
    }
    report.parent.mkdir(exist_ok=True)
    written = report.with_suffix(".new")
    written.write_bytes(msgspec.json.format(msgspec.json.encode(after)) + b"\n")
    written.replace(report)
    for name, value in headline.items():
        say(f"{name} {value:g}{_against_goal(name, value)}")
    say(f"section {section!r} written to {report}")


def _against_goal(name: str, value: float) -> str:
    goal = GOALS.get(name)
    return "" if goal is None else f" (goal: {goal}; {'met' if goal.met(value) else 'missed'})"
