"""What a batch has come to, as columns: the input of `counts.py`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamtag.domain.release import ReleaseRef
from streamtag.domain.thresholds import Segment
from streamtag.events.unit_rows import UnitColumns

Cell = tuple[ReleaseRef, str, bool]
"""Release, arm, and whether it is a shadow: counted apart in each pane."""


@dataclass(frozen=True)
class ScoredBatch:
    """Events of one batch under one release, as columns of the same length n.

    Attributes:
        ref: the release.
        labels: its label ids, in column order.
        partitions: source partition of each event, as a number given by `Counts.number`; intp [n].
        panes: start of its pane, int64 [n], Unix milliseconds.
        by_arrival: bool [n].
        micro: scores in millionths, int64 [n, labels].
        tagged: bool [n, labels].
        segments: (lang, channel, tenant) of each event.
        arm: that decided.
        shadow: nothing was decided; see `streamtag.events.summary.PaneCounts`.
    """

    ref: ReleaseRef
    labels: tuple[str, ...]
    partitions: NDArray[np.intp]
    panes: NDArray[np.int64]
    by_arrival: NDArray[np.bool_]
    micro: NDArray[np.int64]
    tagged: NDArray[np.bool_]
    segments: Sequence[Segment]
    arm: Literal["control", "candidate"] = "control"
    shadow: bool = False

    @property
    def cell(self) -> Cell:
        """Which cell of a pane it is counted in."""
        return self.ref, self.arm, self.shadow

    def take(self, rows: NDArray[np.intp]) -> "ScoredBatch":
        """Some of its events."""
        return replace(
            self,
            partitions=self.partitions[rows],
            panes=self.panes[rows],
            by_arrival=self.by_arrival[rows],
            micro=self.micro[rows],
            tagged=self.tagged[rows],
            segments=[self.segments[row] for row in rows.tolist()],
        )


@dataclass(frozen=True, eq=False)
class TrialRows:
    """Events of one batch that took part in an experiment, as columns of the same length n.

    Attributes:
        id, phase, mode, labels: of the experiment, see `streamtag.events.summary.ExperimentRows`.
        cell: that they stand in.
        partitions: source partition of each event, as in `ScoredBatch`; intp [n].
        panes: start of its pane, int64 [n].
        units: hashes and what either arm tagged, n rows.
        shed: the candidate did not score it: counted, and nothing else, bool [n].
    """

    id: str
    phase: int
    mode: Literal["shadow", "split"]
    labels: tuple[str, ...]
    cell: Cell
    partitions: NDArray[np.intp]
    panes: NDArray[np.int64]
    units: UnitColumns
    shed: NDArray[np.bool_]
