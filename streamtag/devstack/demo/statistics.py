"""What the tag events say, counted as they are read. Pure: records and times come in, numbers go out."""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streamtag.devstack.demo.records import DeadLetter, SeenTags

__all__ = ["BINS", "LabelNumbers", "Numbers", "RevisionNumbers", "Statistics", "bin_of_scores"]

_SLOTS_PER_S = 4
_WINDOW_S = 10
_LATEST = 40
_LATENCY_MS = 60_000

BINS = 240
"""Bins of a score histogram, on a logarithmic axis from 0.0001 to 1: harmless texts score low."""
_DECADES = 4


@dataclass(frozen=True)
class LabelNumbers:
    """One label. Rates are shares of scored events; ``bins`` counts scores of the last 10 s."""

    label: str
    threshold: float | None
    alerts: int
    rate_1s: float | None
    rate_10s: float | None
    bins: NDArray[np.int64]


@dataclass(frozen=True)
class Numbers:
    """Everything the view shows that comes from tag events and dead letters. Latencies are None before the first."""

    labels: tuple[LabelNumbers, ...]
    tagged: int
    """Events with at least one tag."""
    clean: int
    """Events without."""
    dead: Mapping[str, int]
    """Dead letters by error class."""
    again: int
    """Records read more than once: at-least-once delivery may do that."""
    per_s: float
    p50_ms: float | None
    p99_ms: float | None
    latest: tuple[SeenTags, ...]
    """Latest events with tags, newest first."""

    @property
    def dead_lettered(self) -> int:
        """All dead letters."""
        return sum(self.dead.values())

    @property
    def events(self) -> int:
        """Events with an outcome."""
        return self.tagged + self.clean + self.dead_lettered


@dataclass
class _Slot:
    """A quarter of a second."""

    labels: int
    scored: int = 0
    outcomes: int = 0
    latencies_ms: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.alerts = np.zeros(self.labels, dtype=np.int64)
        self.bins = np.zeros((self.labels, BINS), dtype=np.int64)


@dataclass
class RevisionNumbers:
    """What one threshold revision decided."""

    seen_at_s: float
    """When its first tag event was read, Unix seconds."""
    events: int = 0
    alerts: Counter[str] = field(default_factory=Counter)


class _Outcomes:
    """Which input positions have an outcome, in little memory: a mark per partition, and what lies ahead of it."""

    def __init__(self) -> None:
        self._below: dict[int, int] = defaultdict(int)
        self._ahead: dict[int, set[int]] = defaultdict(set)

    def first(self, partition: int, offset: int) -> bool:
        """Notes an outcome; False when the position had one already."""
        ahead = self._ahead[partition]
        if offset < self._below[partition] or offset in ahead:
            return False
        ahead.add(offset)
        while self._below[partition] in ahead:
            ahead.remove(self._below[partition])
            self._below[partition] += 1
        return True


class Statistics:
    """Counts tag events and dead letters. One thread. Memory does not grow with the events.

    Args:
        labels: of the bundle, in order.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.revisions: dict[int, RevisionNumbers] = {}
        self._index = {label: i for i, label in enumerate(self.labels)}
        self._outcomes = _Outcomes()
        self._slots: dict[int, _Slot] = {}
        self._started_s: float | None = None
        self._alerts = np.zeros(len(self.labels), dtype=np.int64)
        self._tagged = self._clean = self._again = 0
        self._dead: Counter[str] = Counter()
        self._latency = np.zeros(_LATENCY_MS + 1, dtype=np.int64)
        self._latest: deque[SeenTags] = deque(maxlen=_LATEST)
        self._release = 0
        self._thresholds: Mapping[str, float] = {}

    def add(self, events: Sequence[SeenTags], at_s: float) -> None:
        """Counts tag events that were read at ``at_s``, Unix seconds."""
        fresh = []
        for event in events:
            if self._outcomes.first(event.source.partition, event.source.offset):
                fresh.append(event)
            else:
                self._again += 1
        if not fresh:
            return
        slot = self._slot(at_s)
        slot.scored += len(fresh)
        slot.outcomes += len(fresh)
        # a bundle promoted from the second terminal may have other labels: those are not followed
        scores = np.array([[event.scores.get(label, 0.0) for label in self.labels] for event in fresh])
        bins = bin_of_scores(scores)
        for i in range(len(self.labels)):
            slot.bins[i] += np.bincount(bins[:, i], minlength=BINS)
        for event in fresh:
            self._count(event, slot, at_s)

    def _count(self, event: SeenTags, slot: _Slot, at_s: float) -> None:
        revision = self.revisions.setdefault(event.revision, RevisionNumbers(at_s))
        revision.events += 1
        if event.tags:
            self._tagged += 1
            self._latest.append(event)
        else:
            self._clean += 1
        for tag in event.tags:
            revision.alerts[tag.label] += 1
            if (index := self._index.get(tag.label)) is not None:
                slot.alerts[index] += 1
                self._alerts[index] += 1
        latency_ms = max(0, round(at_s * 1000) - event.source.timestamp_ms)
        slot.latencies_ms.append(latency_ms)
        self._latency[min(latency_ms, _LATENCY_MS)] += 1
        if event.release.number >= self._release:
            self._release, self._thresholds = event.release.number, event.thresholds

    def add_dead(self, letters: Sequence[DeadLetter], at_s: float) -> None:
        """Counts dead letters that were read at ``at_s``."""
        for letter in letters:
            if self._outcomes.first(letter.partition, letter.offset):
                self._dead[letter.error_class] += 1
                self._slot(at_s).outcomes += 1
            else:
                self._again += 1

    @property
    def outcomes(self) -> int:
        """Events with an outcome so far."""
        return self._tagged + self._clean + sum(self._dead.values())

    @property
    def tagged(self) -> int:
        """Events with at least one tag so far."""
        return self._tagged

    def whole_latency_ms(self) -> tuple[float | None, float | None]:
        """Median and 99th percentile of the whole run; values above a minute count as a minute."""
        total = int(self._latency.sum())
        if total == 0:
            return None, None
        cumulated = np.cumsum(self._latency)
        p50, p99 = (float(np.searchsorted(cumulated, math.ceil(q * total))) for q in (0.5, 0.99))
        return p50, p99

    def numbers(self, now_s: float) -> Numbers:
        """The numbers as of ``now_s``."""
        self._forget(now_s)
        ten = self._sum(self._slots)
        # the slot of this moment is young: one second is that and the four before it
        one = self._sum([key for key in self._slots if key >= self._key(now_s) - _SLOTS_PER_S])
        span_s = min(_WINDOW_S, max(1.0, now_s - self._started_s)) if self._started_s is not None else 1.0
        p50, p99 = np.percentile(ten.latencies_ms, (50, 99)) if ten.latencies_ms else (None, None)
        labels = tuple(
            LabelNumbers(
                label,
                self._thresholds.get(label),
                int(self._alerts[i]),
                _share(one.alerts[i], one.scored),
                _share(ten.alerts[i], ten.scored),
                ten.bins[i],
            )
            for i, label in enumerate(self.labels)
        )
        return Numbers(
            labels,
            self._tagged,
            self._clean,
            dict(self._dead),
            self._again,
            ten.outcomes / span_s,
            p50,
            p99,
            tuple(reversed(self._latest)),
        )

    def _key(self, at_s: float) -> int:
        return math.floor(at_s * _SLOTS_PER_S)

    def _slot(self, at_s: float) -> _Slot:
        if self._started_s is None:
            self._started_s = at_s
        key = self._key(at_s)
        if key not in self._slots:
            self._forget(at_s)
            self._slots[key] = _Slot(len(self.labels))
        return self._slots[key]

    def _forget(self, now_s: float) -> None:
        oldest = self._key(now_s) - _WINDOW_S * _SLOTS_PER_S
        for key in [key for key in self._slots if key <= oldest]:
            del self._slots[key]

    def _sum(self, keys: Sequence[int] | Mapping[int, _Slot]) -> _Slot:
        total = _Slot(len(self.labels))
        for key in keys:
            slot = self._slots[key]
            total.scored += slot.scored
            total.outcomes += slot.outcomes
            total.latencies_ms += slot.latencies_ms
            total.alerts += slot.alerts
            total.bins += slot.bins
        return total


def bin_of_scores(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin of each score on the logarithmic axis; those below 0.0001 fall into the first."""
    decades = np.log10(np.maximum(scores, 10.0**-_DECADES)) + _DECADES
    return np.clip((decades * BINS / _DECADES).astype(np.int64), 0, BINS - 1)


def _share(part: np.int64, whole: int) -> float | None:
    return int(part) / whole if whole else None
