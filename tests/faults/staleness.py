"""Whether workers follow a new release within the bound, wherever they can know of it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .findings import Findings
from .releases import Releases
from .tag_columns import Row

_BUCKET_MS = 100
ANYBODY = ""
"""Writer of what may be another's than that of the summary that covers it."""


@dataclass(frozen=True)
class Blur:
    """A time in which workers may decide under a superseded release, because they cannot know.

    Attributes:
        start_ms, end_ms: Unix milliseconds.
        writers: their transactional ids; None: all.
    """

    start_ms: int
    end_ms: int
    writers: frozenset[str] | None


class Staleness:
    """Collects who decided by which release when. When it was published does not matter: a broker may be away."""

    def __init__(self) -> None:
        self._decided: Counter[tuple[int, str, int]] = Counter()  # (row, writer, bucket of time)

    def note(self, cells: NDArray[np.void], writer: str) -> None:
        """Outcomes of one verified range, each a tag event, and who committed it."""
        at = np.stack([cells["release"].astype(np.int64), cells["decided"] // _BUCKET_MS], axis=1)
        for (row, bucket), n in zip(*np.unique(at, axis=0, return_counts=True), strict=True):
            self._decided[int(row), writer, int(bucket) * _BUCKET_MS] += int(n)

    def check(
        self, rows: Sequence[Row], releases: Releases, blurs: Sequence[Blur], bound_ms: int, findings: Findings
    ) -> None:
        """A superseded release may decide for ``bound_ms`` more in which the writer could know: blurs do not count.

        Twice that where the next release has another bundle: it has to be loaded first.
        """
        superseded = releases.superseded_ms()
        blurred = {writer: _merged(blurs, writer) for _, writer, _ in self._decided}
        for (row, writer, at_ms), n in self._decided.items():
            sha = rows[row].release_sha256
            since_ms, other_bundle = superseded.get(sha, (at_ms, False))
            clear_ms = (
                at_ms - since_ms - sum(max(0, min(end, at_ms) - max(start, since_ms)) for start, end in blurred[writer])
            )
            if clear_ms > bound_ms * (2 if other_bundle else 1):
                late = f"{sha[:12]} decided at {writer} {at_ms - since_ms} ms after it was superseded"
                findings.add("stale", f"{late}, {clear_ms} ms in which it could know", n)


def _merged(blurs: Iterable[Blur], writer: str) -> list[tuple[int, int]]:
    """Times in which this writer could not know, ascending, without overlaps."""
    merged: list[tuple[int, int]] = []
    for blur in sorted(blurs, key=lambda b: b.start_ms):
        if blur.writers is not None and writer != ANYBODY and writer not in blur.writers:
            continue
        if merged and blur.start_ms <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], blur.end_ms)
        else:
            merged.append((blur.start_ms, blur.end_ms))
    return merged
