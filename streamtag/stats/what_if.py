"""What recorded windows say of another threshold set: counts of the events that one bundle has scored."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.domain.scores import BINS
from streamtag.domain.thresholds import ThresholdSet
from streamtag.domain.what_if import Effect, what_if
from streamtag.events.summary import LabelCounts
from streamtag.stats.label_figures import traffic
from streamtag.stats.read_model import ReadModel
from streamtag.stats.window_parts import ScoreCell, Scores, SegmentRates
from streamtag.stats.windows import SIZES, start_of

__all__ = ["Preview", "histogram", "preview", "segments"]

_MS_PER_HOUR = 3_600_000
Part = TypeVar("Part", Scores, SegmentRates)
_OTHER = "other"
_decode_counts = msgspec.json.Decoder(LabelCounts).decode
# Up to so long a time is read in windows of this size: some tens, but for months.
_SPANS = (("1m", 3_600_000), ("5m", 6 * 3_600_000), ("1h", 48 * 3_600_000), ("1d", 400 * 86_400_000))


@dataclass(frozen=True)
class Preview:
    """What a change would have done to recorded events.

    Attributes:
        size: of the windows that were looked at.
        from_ms, to_ms: the time that they cover up to now, Unix milliseconds.
        recorded_ms: start of the first of them that had events; ``from_ms`` where none had.
        windows: how many had events.
        exact: no position of a source was counted twice, or is known to be missing.
        events: that the bundle decided.
        others: further events in these windows, decided with another bundle: nothing is known of their scores.
        effects: of each label.
    """

    size: str
    from_ms: int
    to_ms: int
    recorded_ms: int
    windows: int
    exact: bool
    events: int
    others: int
    effects: list[Effect]

    @property
    def hours(self) -> float:
        """For how long all traffic has as many events as the bundle decided; counts by it are rates of all traffic.

        Of the time since the first recorded event, the part that the bundle has of the events: before it was promoted
        another decided, and before the installation was there nobody.
        """
        recorded = (self.to_ms - self.recorded_ms) / _MS_PER_HOUR
        return recorded * self.events / (self.events + self.others) if self.events else recorded


def preview(
    model: ReadModel,
    bundle_sha256: str,
    before: ThresholdSet,
    after: ThresholdSet,
    since_ms: int,
    now_ms: int,
    *,
    labels: Container[str] | None = None,
) -> Preview:
    """What ``after`` would have done instead of ``before``, from the windows that cover the time up to now.

    Args:
        model: the windows.
        bundle_sha256: only events that it decided; a candidate's shadow is none of the traffic.
        before: the set to compare with.
        after: the set that is asked about.
        since_ms: from when on, Unix milliseconds; the windows begin there, or up to their width earlier.
        now_ms: the present.
        labels: only the effects on these; None: on all.

    Raises:
        StreamtagError: the windows cannot be read.
    """
    size, first, windows = _recorded(model, Scores, since_ms, now_ms)
    cells = [cell for window in windows for cell in window.cells if traffic(cell)]
    mine = [cell for cell in cells if cell.bundle_sha256 == bundle_sha256]
    return Preview(
        size=size,
        from_ms=first,
        to_ms=now_ms,
        recorded_ms=windows[0].start_ms if windows else first,
        windows=len(windows),
        exact=all(window.exact for window in windows),
        events=sum(cell.events for cell in mine),
        others=sum(cell.events for cell in cells) - sum(cell.events for cell in mine),
        effects=what_if(_bins(mine, labels), before, after, lambda when: sum(_most(cell, when) for cell in mine)),
    )


def histogram(model: ReadModel, bundle_sha256: str, label: str, since_ms: int, now_ms: int) -> NDArray[np.int64]:
    """Events per score bin of a label, int64 [1024], that one bundle has decided; zeros where there are none.

    Takes and raises what `preview` does.
    """
    _, _, windows = _recorded(model, Scores, since_ms, now_ms)
    cells = (cell for window in windows for cell in window.cells)
    bins = _bins((cell for cell in cells if traffic(cell) and cell.bundle_sha256 == bundle_sha256), (label,))
    return bins.get(label, np.zeros(BINS, np.int64))


def segments(model: ReadModel, label: str, since_ms: int, now_ms: int) -> dict[tuple[str, str], tuple[int, int]]:
    """Dimension and value to events and alerts of a label, whatever bundle decided; in order of both.

    Takes and raises what `preview` does.
    """
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for window in _recorded(model, SegmentRates, since_ms, now_ms)[2]:
        for dimension, value, events, alerts in window.of(label):
            before = found.get((dimension, value), (0, 0))
            found[dimension, value] = before[0] + events, before[1] + alerts
    return dict(sorted(found.items()))


def _recorded(model: ReadModel, kind: type[Part], since_ms: int, now_ms: int) -> tuple[str, int, list[Part]]:
    size = next((size for size, longest_ms in _SPANS if now_ms - since_ms <= longest_ms), _SPANS[-1][0])
    first = start_of(size, since_ms)
    found = model.read_as(kind, [(size, start) for start in range(first, now_ms, SIZES[size])])
    return size, first, [one for one in found if one is not None]


def _bins(cells: Iterable[ScoreCell], only: Container[str] | None) -> dict[str, NDArray[np.int64]]:
    found: dict[str, NDArray[np.int64]] = {}
    for cell in cells:
        for label, raw in cell.labels.items():
            if only is not None and label not in only:
                continue
            counts = _decode_counts(raw)
            found.setdefault(label, np.zeros(BINS, np.int64))[counts.bins] += np.array(counts.counts, np.int64)
    return found


def _most(cell: ScoreCell, when: Mapping[str, str]) -> int:
    """At most so many events of the cell match: of a dimension that is not declared, nothing is known."""
    sizes = [cell.events]
    for dimension, value in when.items():
        if dimension in cell.segments:
            values = cell.segments[dimension]
            counts = values.get(value, values.get(_OTHER))
            sizes.append(0 if counts is None else counts.events)
    return min(sizes)
