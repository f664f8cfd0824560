"""A ledger as JSON: what ``streamtag ledger`` and the API answer."""

from typing import Any

import msgspec

from streamtag.stats.ledger import Aside, Finding
from streamtag.stats.ledger_reader import LedgerReport

__all__ = ["aside", "ledger_document", "partitions", "totals"]


def ledger_document(report: LedgerReport, topic: str, since_ms: int | None) -> dict[str, Any]:
    """All of a report: sums per source partition, and everything that is wrong, by range."""
    counts = report.counts()
    return {
        "ok": not any(counts.values()),
        "stats": topic,
        "since_ms": since_ms,
        "counts": counts,
        "partitions": partitions(report),
        "findings": [_finding(found) for found in report.findings()],
        "unreadable": [aside(one) for one in report.ledger.asides],
        "unsettled": report.unsettled,
    }


def partitions(report: LedgerReport) -> list[dict[str, Any]]:
    """Each source partition: the positions that summaries cover, and what they add up to."""
    return [
        {
            "topic": topic,
            "partition": partition,
            "from": found.coverage.spans[0].start,
            "to": found.coverage.spans[-1].end,
            "committed": report.committed.get((topic, partition)),
            **totals(found.totals),
            "missing": found.coverage.missing()
            + sum(gap.end - gap.start for gap in report.tail if (gap.topic, gap.partition) == (topic, partition)),
            "doubled": found.doubled,
            "latest_ms": found.latest_ms,
        }
        for (topic, partition), found in report.ledger.partitions.items()
    ]


def totals(sums: msgspec.Struct) -> dict[str, int]:
    """Counts under their names on the wire."""
    return {name.rstrip("_"): count for name, count in msgspec.structs.asdict(sums).items()}


def aside(one: Aside) -> dict[str, Any]:
    """A record that was not counted."""
    return {**one.place._asdict(), "bytes": one.bytes, "reason": one.reason}


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "topic": found.topic,
        "partition": found.partition,
        "positions": [found.start, found.end],
        "before": None if found.before is None else found.before._asdict(),
        "after": None if found.after is None else found.after._asdict(),
        "detail": found.detail,
    }
