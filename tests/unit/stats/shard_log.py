"""Logs of one shard, what a windower makes of them through crashes, and the same numbers counted another way."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from streamtag.domain.scores import BINS, MICRO
from streamtag.events import panes, summary
from streamtag.events.panes import Pane
from streamtag.events.summary import CommitSummary, LabelCounts, PaneCounts, SegmentCounts
from streamtag.stats.shard import Shard, ShardOptions
from streamtag.stream.processor import Commit

NOW = 1_700_000_000_000
PANE_MS = 10_000
OPTIONS = ShardOptions(idle_ms=2_000, lateness_ms=20_000)
FAR_MS = NOW + 10**9

Log = Sequence[tuple[int, CommitSummary | None]]
"""Records by offset; None is one that cannot be read."""


def counts(start_ms: int, scores: Sequence[int], labels: Sequence[str] = ("spam",), **changes: Any) -> PaneCounts:
    """One cell: an event for each score (millionths), the same for all labels, tagged from a half on."""
    bins = Counter(min(score * BINS // MICRO, BINS - 1) for score in scores)
    alerts = sum(score >= MICRO // 2 for score in scores)
    one = [LabelCounts(alerts, sum(scores), sorted(bins), [bins[b] for b in sorted(bins)]) for _ in labels]
    segments = {"lang": {"en": SegmentCounts(len(scores), {label: alerts for label in labels if alerts})}}
    facts = {"release": 1, "revision": 1, "arm": "control", **changes}
    sha = "0" * 64
    return PaneCounts(
        start_ms=start_ms,
        release_sha256=sha,
        bundle="tiny@1",
        bundle_sha256=sha,
        revision_sha256=sha,
        events=len(scores),
        by_arrival=0,
        labels=dict(zip(labels, one, strict=True)),
        segments=segments,
        **facts,
    )


def commit_of(at_ms: int, start: int, *cells: PaneCounts, partition: int = 0, **changes: Any) -> CommitSummary:
    """A summary that adds up, of the positions from ``start`` on."""
    events = sum(cell.events for cell in cells if cell.shadow is not True)
    facts: dict[str, Any] = {"to_offset": start + events, "pane_ms": PANE_MS, "delivery": "exactly_once", **changes}
    return CommitSummary(
        version=summary.VERSION,
        topic="content",
        partition=partition,
        from_offset=start,
        in_=events,
        tagged=0,
        clean=events,
        dead=0,
        skipped=0,
        writer="host-0",
        committed_at_ms=at_ms,
        panes=list(cells),
        **facts,
    )


class _Choices:
    """Picks by the digits of one number: a single draw for each record, as draws are what takes the time."""

    def __init__(self, code: int) -> None:
        self._code = code

    def pick(self, *options: Any) -> Any:
        self._code, place = divmod(self._code, len(options))
        return options[place]


def logs(*, max_size: int = 60) -> st.SearchStrategy[Log]:
    """Sources that come and go, are late and ahead, leave gaps and repeat themselves."""
    return st.lists(st.integers(0, 2**62), min_size=15, max_size=max_size).map(_log)


def _log(codes: Iterable[int]) -> Log:
    log: list[tuple[int, CommitSummary | None]] = []
    offset, now_ms = -1, NOW
    ends: dict[int, int] = {}
    for code in codes:
        pick = _Choices(code).pick
        offset += pick(1, 1, 2)
        now_ms += pick(100, 0, 1_000, 2_500, 11_000)
        partition = pick(0, 1, 2)
        start = max(0, ends.get(partition, 0) + pick(0, 0, 0, 0, 2, -2))
        closed_ms = now_ms - pick(0, 0, 50, 3_000)
        cells = [
            counts(
                (now_ms - pick(0, 0, 0, 9_000, 25_000, 60_000, -15_000)) // PANE_MS * PANE_MS,
                [pick(600_000, 1, MICRO, 600_500, 0) for _ in range(pick(1, 2))],
                pick(("spam",), ("spam", "fraud"), ("fraud", "spam")),
                arm=pick("control", "control", "candidate"),
                release=pick(1, 2),
            )
            for _ in range(pick(1, 2, 0))
        ]
        if pick(*[False] * 15, True):
            log.append((offset, None))
        else:
            found = commit_of(closed_ms, start, *cells, partition=partition)
            ends[partition] = max(ends.get(partition, 0), found.to_offset)
            log.append((offset, found))
    return log


@dataclass
class Topic:
    """What readers of the panes make of what was written."""

    revisions: dict[tuple[int, int], Pane] = field(default_factory=dict)
    addenda: dict[tuple[int, int, int], Pane] = field(default_factory=dict)
    written: dict[tuple[bytes, int], bytes] = field(default_factory=dict)

    def write(self, found: Iterable[Pane]) -> None:
        for pane in found:
            value = panes.encode(pane)
            assert self.written.setdefault((panes.key(pane), pane.n), value) == value, "the same n, other bytes"
            place = pane.start_ms, pane.pane_ms
            if pane.addendum:
                self.addenda[*place, pane.n] = pane
            elif place not in self.revisions or self.revisions[place].n < pane.n:
                self.revisions[place] = pane

    def every(self) -> list[Pane]:
        return [*self.revisions.values(), *self.addenda.values()]


def feed(shard: Shard, records: Log, topic: Topic) -> None:
    for offset, one in records:
        if one is None:
            shard.skip(offset)
        else:
            topic.write(shard.fold(offset, one))


def end(shard: Shard, topic: Topic) -> Topic:
    """All that is still open is published."""
    for now_ms in (FAR_MS, 2 * FAR_MS):
        topic.write(shard.publish_idle(now_ms))
    return topic


def fold(log: Log, options: ShardOptions = OPTIONS) -> Topic:
    """Without interruption."""
    shard, topic = Shard(0, Commit(0, ""), options), Topic()
    feed(shard, log, topic)
    return end(shard, topic)


def fold_with_crashes(log: Log, steps: Sequence[tuple[int, str]], options: ShardOptions = OPTIONS) -> Topic:
    """Reads ``n`` records, then does what the step says, again and again; a crash goes back to the last commit."""
    shard, topic, committed, at = Shard(0, Commit(0, ""), options), Topic(), Commit(0, ""), 0
    for n, action in steps:
        feed(shard, log[at : at + n], topic)
        at = min(len(log), at + n)
        if action == "commit":
            topic.write(shard.publish())
            before, committed = committed, shard.commit()
            assert committed.position >= before.position
            assert len(committed.metadata) < 100
        elif action == "look":  # at the wall clock, which may be anywhere
            topic.write(shard.publish_idle(NOW + 10_000 * n))
        else:
            shard = Shard(0, committed, options)
            at = sum(offset < committed.position for offset, _ in log)
    feed(shard, log[at:], topic)
    return end(shard, topic)


def numbers(cells: Iterable[tuple[int, Any]]) -> Counter[tuple[Any, ...]]:
    """Every integer of cells that start then, added up one by one."""
    found: Counter[tuple[Any, ...]] = Counter()
    for start_ms, cell in cells:
        where = start_ms, cell.release, cell.arm
        found[*where, "events"] += cell.events
        for label, one in cell.labels.items():
            found[*where, label, "alerts"] += one.alerts
            found[*where, label, "sum"] += one.sum_micro
            for place, n in zip(one.bins, one.counts, strict=True):
                found[*where, label, "bin", place] += n
        for value, segment in cell.segments.get("lang", {}).items():
            found[*where, "lang", value] += segment.events
            for label, n in segment.alerts.items():
                found[*where, "lang", value, label] += n
    return Counter({place: n for place, n in found.items() if n})


def of_panes(every: Iterable[Pane]) -> Counter[tuple[Any, ...]]:
    return numbers((pane.start_ms, cell) for pane in every for cell in pane.cells)


def of_log(log: Log) -> Counter[tuple[Any, ...]]:
    return numbers((cell.start_ms, cell) for _, one in log if one is not None for cell in one.panes)
