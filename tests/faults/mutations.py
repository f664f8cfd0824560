"""Whether the campaign can fail: a short one with each deliberate defect, and one without any."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from . import ROOT, campaign, defects, report, service_faults, worker_faults
from .defects import Defect
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
NAMES = (*defects.BY_NAME, CONTROL)
REPORT = Path("reports") / "mutations.json"


def run(seed: int, minutes: float, names: Sequence[str]) -> dict[str, Any]:
    """One after another. Each row says in ``right`` whether a defect was caught, and whether the control was clean."""
    rows: dict[str, dict[str, Any]] = {}
    with services(workers=3, brokers=1) as base:
        for name in names:
            row = rows[name] = _one(base, seed, minutes, name)
            report.say(f"{name}: {_verdict(name, row)}, {row['violations']}")
    return _document(seed, rows)


def run_beside(seed: int, minutes: float, names: Sequence[str], jobs: int) -> dict[str, Any]:
    """The same, shared out to processes."""
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="streamtag-mutations-") as directory:
        shares = [share for job in range(jobs) if (share := names[job::jobs])]
        paths = [Path(directory) / f"{job}.json" for job in range(len(shares))]
        command = [sys.executable, "-m", "tests.faults", "mutations", f"--seed={seed}", f"--minutes={minutes}"]
        processes = [
            subprocess.Popen([*command, f"--only={','.join(share)}", f"--report={path}"], cwd=ROOT)
            for share, path in zip(shares, paths, strict=True)
        ]
        for process, path in zip(processes, paths, strict=True):
            process.wait()
            rows |= report.read(path)["defects"]
    return _document(seed, {name: rows[name] for name in names})


def show(found: dict[str, Any]) -> None:
    """The table."""
    table = Table(title=f"Deliberate defects, seed {found['seed']}", title_justify="left")
    for column in ("defect", "", "after s", "faults", "by"):
        table.add_column(column)
    for name, row in found["defects"].items():
        table.add_row(name, _verdict(name, row), str(row["after_s"]), str(row["faults"]), str(row["violations"]))
    report.console.print(table)
    report.say(f"{found['caught']} of {len(found['defects'].keys() - {CONTROL})} caught")


def _verdict(name: str, row: dict[str, Any]) -> str:
    right = "clean" if name == CONTROL else "caught"
    return right if row["right"] else f"NOT {right}"


def _document(seed: int, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    caught = sum(bool(row["right"]) for name, row in rows.items() if name != CONTROL)
    return {"seed": seed, "caught": caught, "defects": rows}


def _right(defect: Defect | None, violations: Mapping[str, int]) -> bool:
    """A defect is noticed by what it does, by a harness that is whole; the control is clean."""
    if defect is None:
        return not violations
    return bool(violations.keys() & defect.expects) and "harness" not in violations


def _one(base: Services, seed: int, minutes: float, name: str) -> dict[str, Any]:
    begun = time.monotonic()
    defect = None if name == CONTROL else defects.BY_NAME[name]
    delivery: Delivery = "exactly_once" if defect is None else defect.delivery
    needed = () if defect is None else defect.faults
    until = frozenset[str]() if defect is None else defect.expects
    kinds = [kind for kind in campaign.ALL_KINDS if kind.name in needed] or KINDS
    plan = campaign.Plan(seed, minutes, 2_000, kinds, until=until)
    own = None if defect is None else name
    with stage(base, seed=seed, partitions=6, delivery=delivery, events=10**9, defect=own) as staged:
        course = campaign.run(staged, plan, report.say)
        violations = staged.findings.violations()
        ended = [exit_ for seat in staged.seats for exit_ in seat.unexpected]
    return {
        "right": _right(defect, violations),
        "after_s": round(time.monotonic() - begun),
        "faults": sum(course.faults.values()),
        "violations": violations,
        "ended": ended,
    }
