"""Event time of a shard: how far all its sources have come that are not idle. A function of its last few records."""

from collections import Counter, deque
from heapq import heappop, heappush

from streamtag.stream.processor import Partition


class Watermark:
    """The earliest of the newest panes of all sources that are not idle.

    A source stands at the start of the newest pane in its summaries of the last ``idle_ms`` (by when they were closed,
    against the latest of all summaries), and never beyond the time at which that summary was closed: a record dated
    ahead moves nothing. A source without such a summary is idle and holds nothing back. Whatever lies before `oldest`
    does not matter any more, which is why reading from there gives the same watermark.

    Args:
        idle_ms: a source that has been silent for longer is idle.
    """

    def __init__(self, idle_ms: int) -> None:
        self._idle_ms = idle_ms
        self._time_ms: int | None = None
        self._recent: deque[tuple[int, int]] = deque()  # (offset, closed at); the first is not idle
        self._heads: dict[Partition, list[tuple[int, int]]] = {}  # (closed at, newest pane): only what may yet matter
        self._expiry: list[tuple[int, Partition]] = []  # heap
        self._standing: dict[Partition, int] = {}
        self._levels: Counter[int] = Counter()  # how many sources stand at a time

    @property
    def oldest(self) -> int | None:
        """Offset of the first summary that matters; None before any."""
        return self._recent[0][0] if self._recent else None

    def time(self) -> int | None:
        """The watermark, Unix milliseconds; None while no source stands anywhere."""
        return min(self._levels, default=None)

    def observe(self, offset: int, source: Partition, closed_at_ms: int, newest_ms: int | None) -> None:
        """Takes note of a summary; ``newest_ms`` is the start of its newest pane, None when it has none."""
        time_ms = closed_at_ms if self._time_ms is None else max(self._time_ms, closed_at_ms)
        self._time_ms, awake_since = time_ms, time_ms - self._idle_ms
        awake = closed_at_ms >= awake_since
        if awake:  # so the latest of all is always among them
            self._recent.append((offset, closed_at_ms))
        while self._recent[0][1] < awake_since:
            self._recent.popleft()
        if newest_ms is not None and awake:
            stands = min(newest_ms, closed_at_ms)
            heads = self._heads.setdefault(source, [])
            heads[:] = [head for head in heads if head[0] > closed_at_ms or head[1] > stands]
            heads.append((closed_at_ms, stands))
            heappush(self._expiry, (closed_at_ms, source))
            self._place(source)
        while self._expiry and self._expiry[0][0] < awake_since:
            _, expired = heappop(self._expiry)
            heads = self._heads[expired]
            heads[:] = [head for head in heads if head[0] >= awake_since]
            self._place(expired)

    def _place(self, source: Partition) -> None:
        before = self._standing.get(source)
        now = max((stands for _, stands in self._heads[source]), default=None)
        if now == before:
            return
        if before is not None:
            self._levels[before] -= 1
            if not self._levels[before]:
                del self._levels[before]
        if now is None:
            del self._standing[source]
        else:
            self._standing[source] = now
            self._levels[now] += 1
