"""Stage 3: scores and one release to decisions, over the whole batch at once."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.control.watcher import ActiveRelease
from streamtag.domain.scores import from_micro
from streamtag.domain.thresholds import Compiled, Segment, decide
from streamtag.events.content import ContentEvent
from streamtag.tagger.rerank import Stages


class Deciding:
    """One release, prepared: compiled cut-offs, and the parts of tag events that do not change under it."""

    def __init__(self, active: ActiveRelease) -> None:
        self.active = active
        self.labels = active.scorer.labels
        self.compiled = Compiled(active.thresholds, self.labels)
        ref = active.ref
        self.release_json = msgspec.Raw(
            msgspec.json.encode(
                {
                    "number": ref.number,
                    "sha256": ref.sha256,
                    "bundle": {"name": ref.bundle.name, "version": ref.bundle.version, "sha256": ref.bundle.sha256},
                    "thresholds": {"revision": ref.revision, "sha256": ref.revision_sha256},
                }
            )
        )
        self.scores_of = scores_type(self.labels)
        self._cutoffs_json: list[msgspec.Raw] = []

    def cutoffs_json(self, row: int) -> msgspec.Raw:
        """Label to cut-off of one row of `Compiled.matrix`, encoded once."""
        for missing in range(len(self._cutoffs_json), row + 1):
            cutoffs = dict(zip(self.labels, self.compiled.matrix[missing].tolist(), strict=True))
            self._cutoffs_json.append(msgspec.Raw(msgspec.json.encode(cutoffs)))
        return self._cutoffs_json[row]


@functools.lru_cache(maxsize=8)
def scores_type(labels: tuple[str, ...]) -> Callable[..., Any]:
    """Makes an object of one score a label, given in their order; its JSON maps label to score.

    A struct with a field a label, which costs a tenth of a dict to make; labels are encoded once.
    """
    names = {f"score_{i}": label for i, label in enumerate(labels)}
    try:
        return msgspec.defstruct("Scores", [(name, float) for name in names], rename=names, frozen=True, gc=False)
    except ValueError:  # a label with a character that JSON escapes cannot name a field
        return lambda *scores: dict(zip(labels, scores, strict=True))


@dataclass(frozen=True)
class Decisions:
    """Of one batch under one release; rows are events.

    Attributes:
        scores: float64 [n, labels], the decimals that were compared and are published.
        tagged: bool [n, labels].
        rows: row of the cut-offs that decided each event, intp [n].
        segments: (lang, channel, tenant) of each event.
        stages: which stage scored each; None where there is one.
    """

    scores: NDArray[np.float64]
    tagged: NDArray[np.bool_]
    rows: NDArray[np.intp]
    segments: Sequence[Segment]
    stages: Stages | None = None


def take(decisions: Decisions, rows: NDArray[np.intp]) -> Decisions:
    """The decisions on some of the events."""
    return Decisions(
        decisions.scores[rows],
        decisions.tagged[rows],
        decisions.rows[rows],
        [decisions.segments[row] for row in rows.tolist()],
        None if decisions.stages is None else decisions.stages.take(rows),
    )


def decide_batch(
    events: Sequence[ContentEvent], micro: NDArray[np.int64], deciding: Deciding, stages: Stages | None = None
) -> Decisions:
    """Compares every score with the cut-off of its event's segment."""
    return decide_segments([(event.lang, event.channel, event.tenant) for event in events], micro, deciding, stages)


def decide_segments(
    segments: Sequence[Segment], micro: NDArray[np.int64], deciding: Deciding, stages: Stages | None = None
) -> Decisions:
    """The same where nothing else is left of the events."""
    compiled = deciding.compiled
    rows = np.zeros(len(segments), dtype=np.intp) if compiled.uniform else compiled.rows(segments)
    scores = from_micro(micro)
    return Decisions(scores, decide(scores, compiled.matrix[rows]), rows, segments, stages)
