"""How a ledger and an audit look on a screen and in JSON."""

from collections.abc import Iterable, Sequence
from typing import Any

from streamtag.cli import context
from streamtag.cli.dlq_views import printable, time_of
from streamtag.stats.audit import AuditFinding
from streamtag.stats.auditor import AuditReport, PartitionReport
from streamtag.stats.coverage import Place
from streamtag.stats.ledger import Aside, Finding
from streamtag.stats.ledger_document import aside, partitions, totals
from streamtag.stats.ledger_reader import LedgerReport

_NAMES = {
    "gap": ("gap", "gaps"),
    "overlap": ("overlap", "overlaps"),
    "imbalance": ("imbalance", "imbalances"),
    "unreadable": ("record that is no summary", "records that are no summaries"),
}
_SUMS = ("in", "tagged", "clean", "dead", "skipped", "summaries")


def print_ledger(report: LedgerReport, topic: str) -> None:
    """The tables of ``streamtag ledger``."""
    rows = partitions(report)
    context.print_table(("source", "positions", *_SUMS), map(_head, rows))
    findings = report.findings()
    if findings:
        context.print_table(
            ("what", "source", "positions", "how many", "between", "detail"),
            ((*_range(found), _between(found, topic), printable(_detail(found))) for found in findings),
        )
    _print_asides(report.ledger.asides, topic)
    counts = report.counts()
    if any(counts.values()):
        told = ", ".join(f"{n} {_NAMES[kind][n > 1]}" for kind, n in counts.items() if n)
        more = sum(counts.values()) - len(findings) - len(report.ledger.asides)
        context.say(f"Found: {told}{f'; {more} of them not listed' if more else ''}.")
    elif rows:
        summaries, records = (sum(row[name] for row in rows) for name in ("summaries", "in"))
        context.say(f"Nothing is missing or doubled: {records} records in {summaries} summaries, and each adds up.")
        context.say(f"The last transaction was closed at {time_of(max(row['latest_ms'] for row in rows))}.")
    else:
        context.say(f"{topic} holds no summaries.")
    _print_unsettled(report.unsettled)


def audit_document(report: AuditReport) -> dict[str, Any]:
    """The JSON of ``streamtag ledger audit``."""
    return {
        "ok": report.clean,
        "read_from_ms": report.read_from_ms,
        "partitions": [_audited(one) for one in report.partitions],
        "findings": [_audit_finding(found) for one in report.partitions for found in one.findings],
        "unreadable": [aside(one) for one in report.unreadable],
        "unreadable_count": report.unreadable_count,
        "foreign": report.foreign,
        "truncated": report.truncated,
        "unsettled": report.unsettled,
    }


def print_audit(report: AuditReport, stats_topic: str) -> None:
    """The tables of ``streamtag ledger audit``."""
    rows = [_audited(one) for one in report.partitions]
    context.print_table(
        ("source", "positions", *_SUMS, "expired"), ((*_head(row), row["expired"] or None) for row in rows)
    )
    findings = [found for one in report.partitions for found in one.findings]
    if findings:
        context.print_table(
            ("what", "source", "positions", "records", "summary", "detail"),
            (
                (
                    f.kind,
                    f"{f.topic}/{f.partition}",
                    f"[{f.start}, {f.end})",
                    f.records,
                    _at(f.place, stats_topic),
                    f.detail,
                )
                for f in findings
            ),
        )
    _print_asides(report.unreadable, stats_topic)
    records = sum(row["in"] for row in rows)
    if report.clean:
        compared = sum(row["summaries"] for row in rows)
        context.say(
            f"Each of {records} records has exactly one outcome, and so say the {compared} summaries of the range."
        )
    else:
        listed = len(findings) + len(report.unreadable)
        total = sum(sum(one.counts.values()) for one in report.partitions) + report.unreadable_count
        more = f"; {total - listed} of them not listed" if listed < total else ""
        context.say(f"Found in {records} records: {total} that should not be{more}.")
    for topic, count in report.foreign.items():
        context.say(f"{topic}: {count} records that streamtag did not write were passed over.")
    if report.truncated:
        context.say(
            f"No longer whole since {time_of(report.read_from_ms)}: {', '.join(report.truncated)}. "
            "What was deleted there looks lost."
        )
    _print_unsettled(report.unsettled)


def _audited(one: PartitionReport) -> dict[str, Any]:
    return {
        "topic": one.topic,
        "partition": one.partition,
        "from": one.start,
        "to": one.end,
        "expired": one.expired,
        **totals(one.recounted),
        "summaries": one.compared,
        "summaries_partly": one.partly,
        "counts": one.counts,
    }


def _audit_finding(found: AuditFinding) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "topic": found.topic,
        "partition": found.partition,
        "positions": [found.start, found.end],
        "records": found.records,
        "summary": None if found.place is None else found.place._asdict(),
        "detail": found.detail,
    }


def _head(row: dict[str, Any]) -> Sequence[Any]:
    source = printable(f"{row['topic']}/{row['partition']}")
    return source, f"[{row['from']}, {row['to']})", *(row[name] for name in _SUMS)


def _range(found: Finding) -> Sequence[Any]:
    source = printable(f"{found.topic}/{found.partition}")
    return found.kind, source, f"[{found.start}, {found.end})", found.end - found.start


def _between(found: Finding, topic: str) -> str:
    if found.kind == "imbalance":
        return _at(found.after, topic) or ""
    return f"{_at(found.before, topic) or '(nothing)'} and {_at(found.after, topic) or 'the position committed'}"


def _detail(found: Finding) -> str:
    if found.kind == "overlap" and found.detail == "exactly_once":
        return "exactly_once: was the input topic created anew, or the group moved back?"
    return found.detail


def _at(place: Place | None, topic: str) -> str | None:
    return None if place is None else f"{topic}/{place.shard}/{place.offset}"


def _print_asides(asides: Iterable[Aside], topic: str) -> None:
    rows = [(_at(one.place, topic), one.bytes, printable(one.reason)) for one in asides]
    if rows:
        context.print_table(("kept aside", "bytes", "why"), rows)


def _print_unsettled(unsettled: Sequence[str]) -> None:
    if unsettled:
        context.say(f"A transaction is open and hides the end of {', '.join(unsettled)}: look again when it is over.")
