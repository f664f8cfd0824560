"""Summaries without labels, as far as a ledger looks at them."""

from typing import Any

from streamtag.events import summary
from streamtag.events.summary import CommitSummary, PaneCounts


def pane(events: int, *, arm: str = "control", shadow: bool = False) -> PaneCounts:
    sha = "0" * 64
    return PaneCounts(0, 1, sha, "tiny@1", sha, 1, sha, arm, events, 0, {}, shadow=shadow)


def make(start: int, end: int, *, partition: int = 0, **changes: Any) -> CommitSummary:
    """A summary that adds up: every position a clean event, unless ``changes`` say otherwise."""
    facts: dict[str, Any] = {
        "version": summary.VERSION,
        "topic": "content",
        "partition": partition,
        "from_offset": start,
        "to_offset": end,
        "in_": end - start,
        "tagged": 0,
        "clean": end - start,
        "dead": 0,
        "skipped": 0,
        "pane_ms": 10_000,
        "writer": "host-0",
        "delivery": "exactly_once",
        "committed_at_ms": 1_700_000_000_000,
    }
    facts |= changes
    facts.setdefault("panes", [pane(facts["tagged"] + facts["clean"])])
    return CommitSummary(**facts)


def record(one: CommitSummary) -> tuple[bytes, bytes]:
    """Key and value in the stats topic."""
    return summary.key(one.topic, one.partition), summary.encode(one)
