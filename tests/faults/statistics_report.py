"""What a campaign of the read side says: JSON for machines, a few lines for people."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .progress import Recoveries
from .report import recovery, say
from .stage import Stage
from .statistics_campaign import ROLES, SORTS, Course, Plan
from .statistics_end import Compared

REPORT = Path("reports") / "faults-statistics.json"


def document(
    stage: Stage, plan: Plan, course: Course, recoveries: Recoveries, compared: Compared, facts: Mapping[str, object]
) -> dict[str, Any]:
    """Everything a reader wants to know."""
    violations = stage.findings.violations()
    victims = sorted({role for role, _ in course.faults})
    return {
        "seed": plan.seed,
        "minutes": round(course.minutes, 1),
        **facts,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "events": stage.checker.records,
        "tag_events": stage.checker.events,
        "summaries": stage.checker.summaries,
        "holes": stage.checker.holes,
        "upstream": dict(sorted(stage.upstream.did.items())),
        "faults_total": sum(course.faults.values()),
        "faults": {role: {kind: n for (r, kind), n in sorted(course.faults.items()) if r == role} for role in victims},
        "sorts": {role: {sort: course.sorts[role, sort] for sort in SORTS} for role in ROLES},
        "each": plan.each,
        "changes": dict(sorted(stage.operator.made.items())),
        "changes_refused": stage.operator.refused,
        "compared": asdict(compared),
        "starved_s": round(recoveries.starved_s, 1),
        "recovery_s": {
            kind: {name: value for name, value in recovery(took).items() if name != "all"}
            for kind, took in sorted(recoveries.took_s.items())
        },
        "violations": violations,
        "examples": stage.findings.examples(),
    }


def show(found: Mapping[str, Any]) -> None:
    """In short."""
    for role, kinds in found["faults"].items():
        for kind, n in kinds.items():
            took = found["recovery_s"].get(kind)
            say(f"{role:>9}  {n:>4}  {kind}" + (f": {took['p50']:.1f} s, at most {took['max']:.1f} s" if took else ""))
    sorts = "; ".join(
        f"{role}: " + ", ".join(f"{n} {sort}" for sort, n in sorts.items()) for role, sorts in found["sorts"].items()
    )
    say(f"seed {found['seed']}: {found['events']:,} events, {found['faults_total']} faults; {sorts}")
    say(f"compared: {found['compared']}")
    if found["starved_s"] > 1:
        say(f"the machine had no time for us during {found['starved_s']:.0f} s, which do not count as patience")
    say(f"violations: {found['violations'] or 'none'}")
    for example in found["examples"]:
        say(f"  VIOLATION {example}")
