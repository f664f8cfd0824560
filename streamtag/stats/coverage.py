"""Which positions of one source partition are covered by summaries. Pure; takes summaries in any order."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import msgspec

MAX_SPANS = 1_000
"""More holes than this in one partition are not kept apart: the oldest is written off, counted, and never filled."""


class Place(NamedTuple):
    """Where a summary stands: partition of the stats topic, and offset."""

    shard: int
    offset: int


class Span(msgspec.Struct, array_like=True, gc=False):
    """Positions ``[start, end)``, covered without a hole.

    Attributes:
        start, end: positions.
        first: the summary that begins at ``start``.
        last: the summary that ends at ``end``.
    """

    start: int
    end: int
    first: Place
    last: Place


class Hole(NamedTuple):
    """Positions ``[start, end)`` that no summary covers, and the summaries on both sides."""

    start: int
    end: int
    before: Place
    after: Place


class Coverage(msgspec.Struct, array_like=True):
    """Ranges added up into spans that do not touch, ascending; nearly always one.

    Example:
        >>> coverage = Coverage()
        >>> coverage.add(0, 10, Place(0, 1)), coverage.add(15, 20, Place(0, 2))
        ([], [])
        >>> list(coverage.holes())
        [Hole(start=10, end=15, before=Place(shard=0, offset=1), after=Place(shard=0, offset=2))]
        >>> coverage.add(8, 17, Place(0, 3))
        [(8, 10), (15, 17)]
        >>> [(span.start, span.end) for span in coverage.spans]
        [(0, 20)]

    Attributes:
        spans: what is covered.
        written_off_holes, written_off: holes beyond `MAX_SPANS`, and their positions.
    """

    spans: list[Span] = []
    written_off_holes: int = 0
    written_off: int = 0

    def add(self, start: int, end: int, place: Place) -> list[tuple[int, int]]:
        """Covers ``[start, end)``; returns those ranges of it that were covered already."""
        spans = self.spans
        if spans and spans[-1].end == start:  # as it should be
            spans[-1].end, spans[-1].last = end, place
            return []
        low = bisect_left(spans, start, key=lambda span: span.end)
        high = bisect_right(spans, end, key=lambda span: span.start)
        touched = spans[low:high]
        again = [(max(start, span.start), min(end, span.end)) for span in touched]
        spans[low:high] = [_joined([*touched, Span(start, end, place, place)])]
        if len(spans) > MAX_SPANS:
            self.written_off_holes += 1
            self.written_off += spans[1].start - spans[0].end
            spans[:2] = [_joined(spans[:2])]
        return [(a, b) for a, b in again if a < b]

    def holes(self) -> Iterator[Hole]:
        """What lies between the spans."""
        for before, after in pairwise(self.spans):
            yield Hole(before.end, after.start, before.last, after.first)

    def missing(self) -> int:
        """Positions in all holes."""
        return self.written_off + sum(hole.end - hole.start for hole in self.holes())


def _joined(spans: list[Span]) -> Span:
    lowest, highest = min(spans, key=lambda s: s.start), max(spans, key=lambda s: s.end)
    return Span(lowest.start, highest.end, lowest.first, highest.last)
