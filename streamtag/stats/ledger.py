"""The loss ledger: commit summaries of each source partition must touch, and each must add up. Pure.

What is wrong is named by its range and by the two summaries on both sides of it. Positions are the truth, not the
order of arrival: summaries that were written late fill the gap they had left.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from streamtag.events import summary as wire
from streamtag.events.summary import CommitSummary
from streamtag.stats.coverage import Coverage, Place
from streamtag.stream.processor import Partition

MAX_NAMED = 100
"""Findings of one kind in one partition, and records kept aside, that are named; more are only counted."""
_MAX_POSITION = 2**53  # whole in any JSON reader, and far beyond any log


class UnreadableSummaryError(ValueError):
    """A record of the stats topic that is no summary this version can read; the message quotes no content."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something wrong with a range of positions.

    Attributes:
        kind: ``gap``: no summary covers it; ``overlap``: covered more than once; ``imbalance``: its summary does not
            add up.
        topic, partition: the source.
        start, end: half-open range of its positions.
        before: the summary that stands before it; that of an imbalance is ``after``.
        after: the first summary behind a gap, or the one that covers again; None where a gap reaches the end.
        detail: for people; may be empty.
    """

    kind: Literal["gap", "overlap", "imbalance"]
    topic: str
    partition: int
    start: int
    end: int
    before: Place | None
    after: Place | None
    detail: str = ""


class Aside(msgspec.Struct, frozen=True):
    """A record that was not counted, and why. Its bytes stay in the stats topic, at ``place``."""

    place: Place
    bytes: int
    reason: str


class Totals(msgspec.Struct):
    """Sums over all summaries of one source partition, as they say; an overlap counts twice."""

    summaries: int = 0
    in_: int = 0
    tagged: int = 0
    clean: int = 0
    dead: int = 0
    skipped: int = 0


class PartitionLedger(msgspec.Struct):
    """One source partition.

    Attributes:
        totals: what its summaries add up to.
        coverage: positions they cover.
        at: where the last summary ended, and its place.
        latest_ms: when a transaction was last closed, Unix milliseconds.
        overlaps, imbalances: the first `MAX_NAMED` of each.
        overlap_count, imbalance_count: all of them, named or not.
        doubled: positions in all overlaps, each time they were covered again.
    """

    totals: Totals
    coverage: Coverage
    at: tuple[int, Place] | None = None
    latest_ms: int = 0
    overlaps: list[Finding] = []
    imbalances: list[Finding] = []
    overlap_count: int = 0
    imbalance_count: int = 0
    doubled: int = 0


def read_summary(key: bytes | None, value: bytes | None) -> CommitSummary:
    """A record of the stats topic.

    Raises:
        UnreadableSummaryError: it is no summary, or of another version, or contradicts itself or its key.
    """
    if value is None:
        raise UnreadableSummaryError("it has no value")
    try:
        found = wire.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _check_version(_version(value))
        raise UnreadableSummaryError(f"it is no commit summary: {error}") from None
    _check_version(found.version)
    if key != wire.key(found.topic, found.partition):
        raise UnreadableSummaryError("its key names another source than its value")
    if not 0 <= found.from_offset <= found.to_offset <= _MAX_POSITION:
        raise UnreadableSummaryError(f"its range [{found.from_offset}, {found.to_offset}) is none")
    counts = (found.partition, found.in_, found.tagged, found.clean, found.dead, found.skipped)
    if not all(0 <= count <= _MAX_POSITION for count in counts):
        raise UnreadableSummaryError("a count of it is negative or beyond any log")
    return found


def _version(value: bytes) -> int:
    """That a record names which cannot be decoded; ours where it names none."""
    try:
        return _decode_version(value).version
    except (msgspec.DecodeError, UnicodeDecodeError):
        return wire.VERSION


def _check_version(version: int) -> None:
    if version != wire.VERSION:
        raise UnreadableSummaryError(f"its version is {version}; this streamtag reads {wire.VERSION}")


class Ledger:
    """Fed with all summaries, each once, in offset order of each shard (partition of the stats topic)."""

    def __init__(self) -> None:
        self._partitions: dict[Partition, PartitionLedger] = {}
        self.asides: list[Aside] = []
        self.asides_count = 0

    @property
    def partitions(self) -> Mapping[Partition, PartitionLedger]:
        """By source, in the order of their names."""
        return dict(sorted(self._partitions.items()))

    def add(self, place: Place, one: CommitSummary) -> list[Finding]:
        """Adds a summary; returns what is wrong since. A longer overlap is told once, as it begins."""
        source = one.topic, one.partition
        found = self._partitions.get(source)
        if found is None:
            found = self._partitions[source] = PartitionLedger(Totals(), Coverage())
        _add_up(found.totals, one)
        found.latest_ms = max(found.latest_ms, one.committed_at_ms)
        news = [*_cover(found, one, place), *_balance(found, one, place)]
        found.at = one.to_offset, place
        return news

    def put_aside(self, place: Place, value: bytes | None, why: UnreadableSummaryError) -> None:
        """Counts a record that cannot be read, and names it."""
        self.asides_count += 1
        if len(self.asides) < MAX_NAMED:
            self.asides.append(Aside(place, len(value or b""), str(why)))

    def findings(self) -> Iterator[Finding]:
        """Everything that is wrong now and is named, by source: gaps, overlaps, imbalances."""
        for (topic, partition), found in self.partitions.items():
            for hole in found.coverage.holes():
                yield Finding("gap", topic, partition, *hole)
            yield from found.overlaps
            yield from found.imbalances

    def tail_gaps(self, committed: Mapping[Partition, int]) -> list[Finding]:
        """Positions that a group has committed and no summary covers, behind the last one of each source.

        Args:
            committed: what the group had committed *before* the last record was read; negative means nothing.
        """
        return [
            Finding("gap", *source, span.end, committed[source], span.last, None, "committed without a summary")
            for source, found in self.partitions.items()
            if (span := found.coverage.spans[-1]).end < committed.get(source, -1)
        ]

    def counts(self) -> dict[str, int]:
        """How many of each kind there are, named or not; ``unreadable`` are the records put aside."""
        every = self._partitions.values()
        return {
            "gap": sum(len(one.coverage.spans) - 1 + one.coverage.written_off_holes for one in every),
            "overlap": sum(one.overlap_count for one in every),
            "imbalance": sum(one.imbalance_count for one in every),
            "unreadable": self.asides_count,
        }


def outcomes(one: CommitSummary) -> int:
    """Records of the range that have an outcome; must equal ``in``."""
    return one.tagged + one.clean + one.dead + one.skipped


def contradictions(one: CommitSummary) -> list[str]:
    """How the numbers of a summary contradict each other; empty when they add up."""
    found = []
    if one.in_ != outcomes(one):
        parts = f"tagged {one.tagged} + clean {one.clean} + dead {one.dead} + skipped {one.skipped}"
        found.append(f"in {one.in_} is not {parts} = {outcomes(one)}")
    if one.in_ > one.to_offset - one.from_offset:
        found.append(f"in {one.in_} is more than the positions of its range")
    # A shadow's cells count events of the control once more.
    decided = sum(pane.events for pane in one.panes if pane.shadow is not True)
    events = one.tagged + one.clean
    if decided != events:
        found.append(f"its panes hold {decided} events, tagged + clean are {events}")
    return found


def _add_up(totals: Totals, one: CommitSummary) -> None:
    totals.summaries += 1
    totals.in_ += one.in_
    totals.tagged += one.tagged
    totals.clean += one.clean
    totals.dead += one.dead
    totals.skipped += one.skipped


def _cover(found: PartitionLedger, one: CommitSummary, place: Place) -> list[Finding]:
    source, before, start = (one.topic, one.partition), found.at, one.from_offset
    again = found.coverage.add(start, one.to_offset, place)
    news = []
    spans = found.coverage.spans
    if len(spans) > 1 and spans[-1].first == place:  # it begins beyond everything before it
        news.append(Finding("gap", *source, spans[-2].end, start, spans[-2].last, place))
    for low, high in again:
        found.doubled += high - low
        known = found.overlaps[-1] if found.overlaps else None
        if before is not None and before[0] == low == start and known is not None and known.end == low:
            found.overlaps[-1] = msgspec.structs.replace(known, end=high)  # the same overlap goes on
            continue
        overlap = Finding("overlap", *source, low, high, None if before is None else before[1], place, one.delivery)
        news.append(overlap)
        found.overlap_count += 1
        if len(found.overlaps) < MAX_NAMED:
            found.overlaps.append(overlap)
    return news


def _balance(found: PartitionLedger, one: CommitSummary, place: Place) -> list[Finding]:
    wrong = contradictions(one)
    if not wrong:
        return []
    before = None if found.at is None else found.at[1]
    source = one.topic, one.partition, one.from_offset, one.to_offset
    imbalance = Finding("imbalance", *source, before, place, "; ".join(wrong))
    found.imbalance_count += 1
    if len(found.imbalances) < MAX_NAMED:
        found.imbalances.append(imbalance)
    return [imbalance]


class _Version(msgspec.Struct):
    version: int


_decode_version = msgspec.json.Decoder(_Version).decode
