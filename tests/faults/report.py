"""What a campaign says: a table for people, `reports/faults.json` for machines."""

import statistics
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from .campaign import Course, Plan
from .findings import DOUBLED, LOST
from .stage import Stage

REPORT = Path("reports") / "faults.json"
console = Console(width=None if sys.stdout.isatty() else 120)


def say(line: str) -> None:
    """One line of progress."""
    console.print(line, markup=False, highlight=False)


def document(stage: Stage, plan: Plan, course: Course, facts: Mapping[str, object]) -> dict[str, object]:
    """Everything a reader wants to know."""
    found, checker = stage.findings, stage.checker
    violations = found.violations()
    wrong = sum(n for kind, n in violations.items() if kind not in LOST + DOUBLED)
    changes = {kind: stage.operator.made[kind] for kind in ("threshold change", "bundle swap", "bad bundle")}
    return {
        "seed": plan.seed,
        "minutes": plan.minutes,
        **facts,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "events": checker.records,
        "tag_events": checker.events,
        "summaries": checker.summaries,
        "faults_total": sum(course.faults.values()),
        "rounds": course.rounds,
        "two_at_once": course.together,
        "points_not_reached": course.missed,
        "faults": dict(sorted(course.faults.items())),
        "changes": changes,
        "changes_refused": stage.operator.refused,
        "not_reached": course.unreached,
        # one loss shows as a gap and as missing outcomes, one doubling as an overlap and as doubled outcomes
        "lost": max(found.count(kind) for kind in LOST),
        "doubled": max(found.count(kind) for kind in DOUBLED),
        "wrong": wrong,
        "violations": violations,
        "examples": found.examples(),
        "recovery_s": {
            kind: {"p50": round(statistics.median(took), 2), "max": round(max(took), 2), "n": len(took)}
            for kind, took in sorted(course.recovery_s.items())
        },
    }


def show(found: Mapping[str, object]) -> None:
    """The table."""
    table = Table(title="Faults, and how long until every partition commits again", title_justify="left")
    table.add_column("kind")
    for column in ("times", "alone", "p50 s", "max s"):
        table.add_column(column, justify="right")
    faults: Mapping[str, int] = found["faults"]  # type: ignore[assignment]
    recovery: Mapping[str, Mapping[str, float]] = found["recovery_s"]  # type: ignore[assignment]
    for kind, n in faults.items():
        took = recovery.get(kind)
        cells = [f"{took['n']}", f"{took['p50']:.1f}", f"{took['max']:.1f}"] if took else ["0", "", ""]
        table.add_row(kind, str(n), *cells)
    changes: Mapping[str, int] = found["changes"]  # type: ignore[assignment]
    for kind, n in changes.items():
        table.add_row(kind, str(n), "", "", "")
    console.print(table)
    if found["not_reached"]:
        say(f"not reached on this machine: {', '.join(found['not_reached'])}")  # type: ignore[arg-type]
    say(
        f"seed {found['seed']}: {found['events']:,} events, {found['faults_total']} faults in "
        f"{found['rounds']} rounds: lost {found['lost']}, doubled {found['doubled']}, wrong {found['wrong']}"
    )
    for example in found["examples"]:  # type: ignore[attr-defined]
        say(f"  VIOLATION {example}")


def write(found: Mapping[str, object], path: Path = REPORT) -> None:
    """As JSON."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    say(f"written to {path}")
