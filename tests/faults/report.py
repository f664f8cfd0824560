"""What a campaign says: a table for people, JSON for machines."""

import statistics
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from .campaign import Course, Plan, happened
from .findings import DOUBLED, LOST, NO_OUTCOME
from .stage import Stage

REPORT = Path("reports") / "faults.json"
console = Console(width=None if sys.stdout.isatty() else 120)


def say(line: str) -> None:
    """One line of progress."""
    console.print(line, markup=False, highlight=False)


def document(stage: Stage, plan: Plan, course: Course, facts: Mapping[str, object]) -> dict[str, Any]:
    """Everything a reader wants to know."""
    found, checker = stage.findings, stage.checker
    violations = found.violations()
    kinds = happened(stage, plan, course)
    changes = {kind: n for kind, n in kinds.items() if kind in stage.operator.made}
    return {
        "seed": plan.seed,
        "minutes": round(course.minutes or plan.minutes, 1),  # the long run keeps its own time
        **facts,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "events": checker.records,
        "tag_events": checker.events,
        "summaries": checker.summaries,
        "holes": checker.holes,
        "upstream": dict(sorted(stage.upstream.did.items())),
        "faults_total": sum(course.faults.values()),
        "rounds": course.rounds,
        "two_at_once": course.together,
        "faults": {kind: n for kind, n in kinds.items() if kind not in changes},
        "changes": changes,
        "changes_refused": stage.operator.refused,
        "each": plan.each,
        "fell_short": fell_short(kinds, plan.each),
        "points": dict(sorted(course.points.items())),
        "points_not_reached": dict(sorted(course.missed.items())),
        "not_reached": course.unreached,
        # one loss shows as a gap and as missing outcomes, one doubling as an overlap and as doubled outcomes
        "lost": max(violations.get(kind, 0) for kind in LOST),
        "doubled": max(violations.get(kind, 0) for kind in DOUBLED),
        "wrong": sum(n for kind, n in violations.items() if kind not in LOST + DOUBLED + NO_OUTCOME),
        "repeated": repeated(stage),
        "violations": violations,
        "examples": found.examples(),
        "recovery_s": {kind: recovery(took) for kind, took in sorted(course.recovery_s.items())},
    }


def fell_short(kinds: Mapping[str, int], each: int) -> dict[str, int]:
    """Kinds that happened less often than they should have, and how often they did."""
    return {kind: n for kind, n in kinds.items() if n < each}


def repeated(stage: Stage) -> dict[str, int]:
    """What at_least_once allows: outcomes that came again, and the longest run of them against its bound."""
    repeats = stage.checker.repeats
    return {
        "outcomes": stage.findings.count("doubled"),
        "longest_run": repeats.longest,
        "longest_transaction": repeats.transaction,
    }


def recovery(took: Iterable[float]) -> dict[str, Any]:
    """Of the faults of one kind that came alone, seconds."""
    every = sorted(round(s, 2) for s in took)
    return {"p50": round(statistics.median(every), 2), "max": every[-1], "n": len(every), "all": every}


def show(found: Mapping[str, Any]) -> None:
    """The table."""
    table = Table(title="Faults, and how long until every partition commits again", title_justify="left")
    table.add_column("kind")
    for column in ("times", "alone", "p50 s", "max s"):
        table.add_column(column, justify="right")
    for kind, n in found["faults"].items():
        took = found["recovery_s"].get(kind)
        cells = [f"{took['n']}", f"{took['p50']:.1f}", f"{took['max']:.1f}"] if took else ["0", "", ""]
        table.add_row(kind, str(n), *cells)
    for kind, n in found["changes"].items():
        table.add_row(kind, str(n), "", "", "")
    console.print(table)
    for what, kinds in (("not possible here", found["not_reached"]), ("too rarely", found["fell_short"])):
        if kinds:
            say(f"{what}: {', '.join(kinds)}")
    say(
        f"seed {found['seed']}: {found['events']:,} events, {found['faults_total']} faults in "
        f"{found['rounds']} rounds: lost {found['lost']}, doubled {found['doubled']}, wrong {found['wrong']}"
    )
    if found["repeated"]["outcomes"]:
        say("repeated: " + ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in found["repeated"].items()))
    for example in found["examples"]:
        say(f"  VIOLATION {example}")


def write(found: Mapping[str, Any], path: Path = REPORT) -> None:
    """As JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    say(f"written to {path}")


def read(path: Path) -> dict[str, Any]:
    """What `write` wrote."""
    found: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return found
