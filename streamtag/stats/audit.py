"""The recount behind `streamtag ledger audit`: each record of a range must have exactly one outcome. Pure.

It believes no summary: records, tag events, dead letters and tombstones are counted by their positions, and then
compared with what the summaries say of the same ranges.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.events import dead_letters
from streamtag.events.headers import Headers
from streamtag.events.summary import CommitSummary
from streamtag.stats.coverage import Place
from streamtag.stats.ledger import MAX_NAMED

SOURCE_HEADER = "streamtag.source"
"""Of a tombstone in the tags topic: ``topic/partition/offset`` of the one it repeats."""
MAX_POSITIONS = 20_000_000
"""Of one audit; each takes 22 bytes of memory, and as much again while it is judged."""


class Kind(IntEnum):
    """What a record can become."""

    TAGGED = 0
    CLEAN = 1
    DEAD = 2
    SKIPPED = 3


class AuditFinding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something wrong with a range.

    Attributes:
        kind: ``lost``: no outcome; ``doubled``: more than one; ``invented``: an outcome of a position that holds no
            record; ``wrong``: a tombstone was tagged, or an event passed on as a tombstone; ``uncovered``: no summary
            covers it; ``overlap``: more than one does; ``mismatch``: the summary at ``place`` says something else.
        topic, partition: the source.
        start, end: half-open range of its positions.
        records: how many in it are concerned.
        place: the summary, of a mismatch.
        detail: for people; may be empty.
    """

    kind: str
    topic: str
    partition: int
    start: int
    end: int
    records: int
    place: Place | None = None
    detail: str = ""


class Recounted(msgspec.Struct, frozen=True):
    """Sums over a range, from the topics themselves."""

    in_: int
    tagged: int
    clean: int
    dead: int
    skipped: int


class PartitionAudit:
    """One range of one source partition; fed in any order, then asked once.

    Args:
        topic: of the source.
        partition: of the source.
        start: first position.
        end: the position behind the last one.
        only_tagged: clean events leave no record (``tagger.emit: tagged``). Then a lost event looks like a clean one,
            and only the summaries tell them apart.
    """

    def __init__(self, topic: str, partition: int, start: int, end: int, *, only_tagged: bool = False) -> None:
        self.topic, self.partition, self.start, self.end = topic, partition, start, end
        size = end - start
        self._only_tagged = only_tagged
        self._event = np.zeros(size, dtype=np.bool_)
        self._tombstone = np.zeros(size, dtype=np.bool_)
        self._outcomes = np.zeros((len(Kind), size), dtype=np.int32)
        self._covered = np.zeros(size, dtype=np.int32)
        self._summaries: list[tuple[int, int, Place, Recounted]] = []
        self.partly = 0
        """Summaries that reach beyond the range: not compared."""

    def records(self, offsets: Sequence[int], *, tombstones: bool = False) -> None:
        """Positions of the source that hold a record; those outside of the range are passed over."""
        (self._tombstone if tombstones else self._event)[self._inside(offsets)] = True

    def outcome(self, kind: Kind, offsets: Sequence[int]) -> None:
        """One outcome of each of these positions; those outside of the range are passed over."""
        np.add.at(self._outcomes[kind], self._inside(offsets), 1)

    def summary(self, place: Place, one: CommitSummary) -> bool:
        """A summary of this source; whether it covers positions of the range."""
        low, high = max(self.start, one.from_offset), min(self.end, one.to_offset)
        if low >= high:
            return False
        self._covered[low - self.start : high - self.start] += 1
        if (low, high) == (one.from_offset, one.to_offset):
            said = Recounted(one.in_, one.tagged, one.clean, one.dead, one.skipped)
            self._summaries.append((low, high, place, said))
        else:
            self.partly += 1
        return True

    @property
    def compared(self) -> int:
        """Summaries that lie wholly in the range."""
        return len(self._summaries)

    def recounted(self) -> Recounted:
        """Sums over the range."""
        return self._sums(slice(None))

    def findings(self) -> tuple[list[AuditFinding], dict[str, int]]:
        """What is wrong, the first `MAX_NAMED` of each kind, and how many of each kind there are."""
        named: list[AuditFinding] = []
        counts: dict[str, int] = {}
        for found in (*self._positions(), *self._mismatches()):
            counts[found.kind] = counts.get(found.kind, 0) + 1
            if counts[found.kind] <= MAX_NAMED:
                named.append(found)
        return named, counts

    def _inside(self, offsets: Sequence[int]) -> NDArray[np.int64]:
        at = np.asarray(offsets, dtype=np.int64)
        return at[(at >= self.start) & (at < self.end)] - self.start

    def _positions(self) -> Iterator[AuditFinding]:
        record = self._event | self._tombstone
        total = self._outcomes.sum(axis=0)
        lost = record & (total == 0)
        if self._only_tagged:
            lost &= self._tombstone
        passed_on = self._outcomes[Kind.SKIPPED] > 0
        wrong = (total == 1) & ((self._event & passed_on) | (self._tombstone & ~passed_on))
        relevant = np.flatnonzero(record | (total > 0))
        for kind, bad in (
            ("lost", lost),
            ("doubled", record & (total > 1)),
            ("invented", ~record & (total > 0)),
            ("wrong", wrong),
            ("uncovered", record & (self._covered == 0)),
            ("overlap", record & (self._covered > 1)),
        ):
            for low, high, count in _runs(bad, relevant):
                yield AuditFinding(kind, self.topic, self.partition, self.start + low, self.start + high, count)

    def _mismatches(self) -> Iterator[AuditFinding]:
        for low, high, place, said in sorted(self._summaries, key=lambda one: one[:3]):
            found = self._sums(slice(low - self.start, high - self.start))
            if said != found:
                fields = [name for name in Recounted.__struct_fields__ if getattr(said, name) != getattr(found, name)]
                detail = ", ".join(f"{f.rstrip('_')} {getattr(said, f)}, recounted {getattr(found, f)}" for f in fields)
                yield AuditFinding("mismatch", self.topic, self.partition, low, high, found.in_, place, detail)

    def _sums(self, part: slice) -> Recounted:
        outcomes, events = self._outcomes[:, part], self._event[part]
        tagged, clean, dead, skipped = outcomes.sum(axis=1, dtype=np.int64).tolist()
        if self._only_tagged:
            clean = int((events & ~outcomes.any(axis=0)).sum())
        return Recounted(int(events.sum()) + int(self._tombstone[part].sum()), tagged, clean, dead, skipped)


def _runs(bad: NDArray[np.bool_], relevant: NDArray[np.intp]) -> Iterator[tuple[int, int, int]]:
    """Stretches of ``bad``: first position, position behind the last, and how many.

    Positions that hold nothing (transaction markers, compaction) do not end a stretch.
    """
    flags = bad[relevant].astype(np.int8)
    edges = np.flatnonzero(np.diff(flags, prepend=0, append=0))
    for first, behind in edges.reshape(-1, 2).tolist():
        yield int(relevant[first]), int(relevant[behind - 1]) + 1, behind - first


_MAX_INT64 = 2**63 - 1
_Count = Annotated[int, msgspec.Meta(ge=0, le=_MAX_INT64)]


class _Source(msgspec.Struct):
    topic: str
    partition: _Count
    offset: _Count


class _TagFacts(msgspec.Struct):
    source: _Source
    tags: list[msgspec.Raw]


class Outcome(NamedTuple):
    """What became of one position."""

    topic: str
    partition: int
    offset: int
    kind: Kind


_decode_tag = msgspec.json.Decoder(_TagFacts).decode


def tag_outcome(value: bytes) -> Outcome | None:
    """Of a tag event; None where it is none."""
    try:
        found = _decode_tag(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    source = found.source
    return Outcome(source.topic, source.partition, source.offset, Kind.TAGGED if found.tags else Kind.CLEAN)


def tombstone_outcome(headers: Headers) -> Outcome | None:
    """Of a tombstone in the tags topic; None where the tagger did not write it."""
    parts = (dict(headers or ()).get(SOURCE_HEADER) or b"").split(b"/")
    return _outcome(*parts, kind=Kind.SKIPPED) if len(parts) == 3 else None


def dead_outcome(headers: Headers) -> Outcome | None:
    """Of a dead letter; None where the tagger did not write it."""
    _, facts = dead_letters.split(headers)
    names = dead_letters.TOPIC, dead_letters.PARTITION, dead_letters.OFFSET
    return _outcome(*(facts.get(name, b"") for name in names), kind=Kind.DEAD)


def _outcome(topic: bytes, partition: bytes, offset: bytes, *, kind: Kind) -> Outcome | None:
    if not topic or not all(number.isdigit() and len(number) <= 18 for number in (partition, offset)):
        return None
    return Outcome(topic.decode("utf-8", "replace"), int(partition), int(offset), kind)
