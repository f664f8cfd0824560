"""Whether the campaign can fail: a short one with each deliberate defect, and one without any."""

import time
from pathlib import Path

from rich.table import Table

from . import campaign, defects, report, service_faults, worker_faults
from .stage import Delivery, Services, services, stage

# Quick ones, and all that some defect needs: no fault that takes longer to heal than to be noticed.
KINDS = (
    worker_faults.Killed,
    worker_faults.KilledAtPoint,
    worker_faults.FrozenAtPoint,
    worker_faults.Failing,
    worker_faults.AnswerLost,
    worker_faults.Storm,
    service_faults.KafkaHalfOpen,
    service_faults.KafkaStalled,
)
CONTROL = "none"


def run(seed: int, minutes: float, only: str | None) -> bool:
    """True when every defect is caught and the campaign without one finds nothing."""
    wanted: list[tuple[str, Delivery]] = [(d.name, d.delivery) for d in defects.ALL if only in (None, d.name)]
    wanted.append((CONTROL, "exactly_once"))
    table = Table(title=f"Deliberate defects, seed {seed}", title_justify="left")
    for column in ("defect", "", "after s", "faults", "by"):
        table.add_column(column)
    rows: dict[str, dict[str, object]] = {}
    with services(workers=3, brokers=1) as base:
        for name, delivery in wanted:
            row = rows[name] = _one(base, seed, minutes, name, delivery)
            right = "clean" if name == CONTROL else "caught"
            verdict = right if row["right"] else f"NOT {right}"
            table.add_row(name, verdict, str(row["after_s"]), str(row["faults"]), str(row["violations"]))
            report.say(f"{name}: {verdict}, {row['violations']}")
    report.console.print(table)
    caught = sum(bool(row["right"]) for name, row in rows.items() if name != CONTROL)
    report.say(f"{caught} of {len(rows) - 1} caught")
    report.write({"seed": seed, "caught": caught, "defects": rows}, Path("reports") / "mutations.json")
    return all(row["right"] for row in rows.values())


def _one(base: Services, seed: int, minutes: float, name: str, delivery: Delivery) -> dict[str, object]:
    begun = time.monotonic()
    defect = None if name == CONTROL else name
    needed = defects.BY_NAME[defect].faults if defect else ()
    kinds = [kind for kind in campaign.ALL_KINDS if kind.name in needed] or KINDS
    plan = campaign.Plan(seed, minutes, 2_000, kinds, stop_early=True)
    with stage(base, seed=seed, partitions=6, delivery=delivery, events=10**9, defect=defect) as staged:
        course = campaign.run(staged, plan, report.say)
        violations = staged.findings.violations()
    return {
        "right": bool(violations) == (defect is not None),
        "after_s": round(time.monotonic() - begun),
        "faults": sum(course.faults.values()),
        "violations": violations,
    }
