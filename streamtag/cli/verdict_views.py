"""A verdict, or the evidence so far, in words: what is worse, by how much, how sure, and what would settle it."""

import math
from typing import Any

from streamtag.cli import context
from streamtag.control.experiment_view import label_rows
from streamtag.control.verdict_documents import VerdictDocument
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy

__all__ = ["print_evidence"]

_COLUMNS = (
    "label",
    "control",
    "candidate",
    "surely within",
    "tolerance",
    "so",
    "chance of being wrong",
    "to settle it",
)


def print_evidence(plan: ExperimentPlan, found: VerdictDocument, *, final: bool) -> None:
    """Tables and sentences for people."""
    what = "verdict" if final else "so far"
    context.say(
        f"{what}: {found.state} after {found.units:,} units and {found.hours:.2f} hours "
        f"(panes {found.panes_from} to {found.panes_to}, until {found.decided_at:%Y-%m-%d %H:%M:%S} UTC)"
    )
    for reason in found.reasons:
        context.say(f"  {reason}")
    if found.conflicts or found.shed:
        context.say(f"  {found.conflicts:,} units came in both arms; {found.shed:,} events were shed, for want of time")
    if not found.units:
        context.say("  No unit has been counted: do `streamtag tagger`, `windows` and `stats` run?")
        return
    cells = []
    for row in label_rows(plan, found):
        low, high = row["interval"]
        cells.append(
            (
                row["label"],
                _percent(row["control_rate"]),
                _percent(row["candidate_rate"]),
                _span(low, high, relative=row["relative"]),
                _tolerance(plan.labels[row["label"]]),
                row["words"],
                f"{row['error']:.2g}" if row["error"] < 1 else None,
                _needed(row),
            )
        )
    context.print_table(_COLUMNS, cells)


def _needed(row: dict[str, Any]) -> str | None:
    if row["words"] != "open":
        return None
    needed = row["units_needed"]
    return (
        "more would not show it equal, if all goes on like this" if needed is None else f"about {needed:,} more units"
    )


def _span(low: float, high: float, *, relative: bool) -> str:
    if relative:
        return f"{low:.2f} to {'any' if math.isinf(high) else f'{high:.2f}'} times"
    return f"{100 * low:+.2f} to {100 * high:+.2f} points"


def _tolerance(policy: LabelPolicy) -> str:
    tolerance = policy.tolerance
    if tolerance.kind == "relative":
        return f"{tolerance.lower:.2f} to {tolerance.upper:.2f} times"
    return f"±{100 * tolerance.size:g} points"


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate * 100:.3g} %"
