"""What a run says: a table for people, one JSON document for machines."""

import importlib.metadata
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import confluent_kafka
import msgspec
from rich.console import Console
from rich.table import Table

from .cpu import machine_facts
from .plain import STEPS

REPORTS = Path("reports")
PEERS = {
    "plain": "plain loop, no Kafka",
    "exactly_once": "streamtag tagger, exactly_once",
    "at_least_once": "streamtag tagger, at_least_once",
    "faust": "Faust, event by event",
}
_PACKAGES = ("streamtag", "confluent-kafka", "onnxruntime", "numpy", "msgspec", "faust-streaming", "aiokafka", "redis")

Rounds = Sequence[Mapping[str, Mapping[str, float]]]
# Wide enough for the table where no terminal says how wide it is.
console = Console(width=None if sys.stdout.isatty() else 120)


def say(line: str) -> None:
    """One line of progress."""
    console.print(line, markup=False, highlight=False)


def one_line(found: Mapping[str, Mapping[str, float]]) -> str:
    """The main figure of each peer."""
    return ", ".join(f"{peer} {main_figure(peer, figures):.1f} µs" for peer, figures in found.items())


def main_figure(peer: str, figures: Mapping[str, float]) -> float:
    """CPU µs per event."""
    return figures["plain_us" if peer == "plain" else "us"]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Least, median and largest."""
    return {
        "min": round(min(values), 3),
        "median": round(statistics.median(values), 3),
        "max": round(max(values), 3),
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


def document(facts: Mapping[str, object], rounds: Rounds) -> dict[str, object]:
    """Medians first, then spread, facts and every round."""
    spreads = {peer: {name: spread([r[peer][name] for r in rounds]) for name in rounds[0][peer]} for peer in PEERS}
    us = {peer: spreads[peer]["plain_us" if peer == "plain" else "us"]["median"] for peer in PEERS}
    return {
        "plain_us": us["plain"],
        "worker_us": us["exactly_once"],
        "worker_at_least_once_us": us["at_least_once"],
        "faust_us": us["faust"],
        "worker_over_plain": round(us["exactly_once"] / us["plain"], 3),
        "worker_at_least_once_over_plain": round(us["at_least_once"] / us["plain"], 3),
        "faust_over_worker": round(us["faust"] / us["exactly_once"], 2),
        **{f"{step}_us": spreads["plain"][f"{step}_us"]["median"] for step in STEPS},
        "spread": spreads,
        **origin(),
        **facts,
        "rounds": list(rounds),
    }


def show(found: Mapping[str, object]) -> None:
    """The table."""
    spreads: Mapping[str, Mapping[str, Mapping[str, float]]] = found["spread"]  # type: ignore[assignment]
    plain = spreads["plain"]["plain_us"]["median"]
    table = Table(title="CPU time per event: median of the rounds (least – largest)", title_justify="left")
    for column in ("", "µs/event", "× plain", "events/s", "broker µs", "RSS MiB", "others, cores"):
        table.add_column(column, justify="left" if not column else "right")
    for peer, words in PEERS.items():
        figures = spreads[peer]
        main = figures["plain_us" if peer == "plain" else "us"]
        cells = [f"{main['median']:.1f} ({main['min']:.1f} – {main['max']:.1f})", f"{main['median'] / plain:.2f}"]
        if peer != "plain":
            cells += [f"{figures['events_per_s']['median']:,.0f}", f"{figures['broker_us']['median']:.1f}"]
            cells += [f"{figures['rss_mib']['median']:.0f}", f"{figures['others_cores']['max']:.2f}"]
        table.add_row(words, *cells)
        if peer == "plain":
            for step in STEPS:
                one = figures[f"{step}_us"]
                table.add_row(f"  {step}", f"{one['median']:.1f} ({one['min']:.1f} – {one['max']:.1f})")
    console.print(table)
    say(
        f"worker / plain {found['worker_over_plain']} (goal: at most 1.6), "
        f"Faust / worker {found['faust_over_worker']} (goal: at least 10); outputs of all peers are equal."
    )


def write(name: str, found: Mapping[str, object]) -> Path:
    """Writes ``reports/<name>.json``."""
    REPORTS.mkdir(exist_ok=True)
    path = REPORTS / f"{name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    return path
