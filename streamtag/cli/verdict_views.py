"""A verdict, or the evidence so far, in words: what is worse, by how much, how sure, and what would settle it."""

import math
from collections.abc import Iterator
from typing import Any

from streamtag.cli import context
from streamtag.control.documents import VerdictDocument
from streamtag.domain import verdict as domain
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy

__all__ = ["print_evidence", "rows"]

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
    for row in rows(plan, found):
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


def rows(plan: ExperimentPlan, found: VerdictDocument) -> Iterator[dict[str, Any]]:
    """Each label, the judged ones first, worst first."""
    peaks = found.peaks.to_peaks()
    judged = plan.judged()
    order = sorted(plan.labels, key=lambda label: (label not in judged, -peaks.worse.get(label, 0.0), label))
    parts = plan.alphas()
    for label in order:
        policy = plan.labels[label]
        evidence = domain.label_evidence(plan, label, found.phases)
        rates = domain.rates(plan, label, found.phases)
        worse = peaks.worse.get(label, domain.worse_evidence(policy, evidence))
        words = _words(plan, label, worse, evidence.equal, parts.get(label))
        settled = policy.muted or words != "open"
        yield {
            "label": label,
            "muted": policy.muted,
            "control_rate": rates[0] if rates else None,
            "candidate_rate": rates[1] if rates else None,
            "relative": plan.mode == "split" or policy.tolerance.kind == "relative",
            "interval": domain.interval(plan, label, found.phases) if found.units else (0.0, math.inf),
            "log_e_worse": worse,
            "log_e_equal": evidence.equal,
            "words": words,
            # Ville: evidence of E is seen with a chance of 1/E at most, where there is nothing to see.
            "error": math.exp(-max(0.0, evidence.equal if words == "equal" else worse)),
            "units_needed": None if settled else domain.units_needed(plan, label, found.phases),
        }


def _words(plan: ExperimentPlan, label: str, worse: float, equal: float, part: float | None) -> str:
    if part is None:
        return "muted"
    if worse >= math.log(1 / part):
        return "worse"
    return "equal" if equal >= math.log(1 / plan.alpha) else "open"


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
