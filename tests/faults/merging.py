"""One report of several campaigns: with other seeds, at once on one machine or one after another."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .report import fell_short, recovery

_SUMS = (
    "events",
    "tag_events",
    "summaries",
    "holes",
    "faults_total",
    "rounds",
    "two_at_once",
    "changes_refused",
    "lost",
    "doubled",
    "wrong",
)
_SUMS_BY_KIND = ("upstream", "faults", "changes", "points", "points_not_reached", "violations")
_EACH_OWN = ("seed", "minutes", "partitions", "workers", "brokers", "delivery", "date", *_SUMS[:1], "faults_total")


def merge(reports: Sequence[Mapping[str, Any]], each: int) -> dict[str, Any]:
    """Sums, and recovery times anew from all that were kept.

    Args:
        reports: of campaigns without a deliberate defect, at least one.
        each: how often each kind should have happened, over all of them.

    Raises:
        ValueError: a report comes twice: its seed and date are those of another.
    """
    runs = {(one["seed"], one["date"]) for one in reports}
    if len(runs) < len(reports):
        raise ValueError("a report is given twice")
    by_kind = {name: _total([one[name] for one in reports]) for name in _SUMS_BY_KIND}
    kinds = sorted({kind for one in reports for kind in one["recovery_s"]})
    never = set.intersection(*(set(one["not_reached"]) for one in reports))
    return {
        "seed": [one["seed"] for one in reports],
        "minutes": round(sum(one["minutes"] for one in reports), 1),
        "campaigns": [{name: one[name] for name in _EACH_OWN} for one in reports],
        **{name: sum(one[name] for one in reports) for name in _SUMS},
        **by_kind,
        "each": each,
        "fell_short": fell_short(by_kind["faults"] | by_kind["changes"], each),
        "not_reached": sorted(never),
        "repeated": {
            "outcomes": sum(one["repeated"]["outcomes"] for one in reports),
            "longest_run": max(one["repeated"]["longest_run"] for one in reports),
            "longest_transaction": max(one["repeated"]["longest_transaction"] for one in reports),
        },
        "examples": [example for one in reports for example in one["examples"]],
        "recovery_s": {
            kind: recovery(s for one in reports for s in one["recovery_s"].get(kind, {}).get("all", ()))
            for kind in kinds
        },
    }


def _total(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items()))
