"""Events to decisions, by the code of the stream: `tagger.infer`, the score grid, the cut-offs of each segment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamtag.domain.scores import from_micro
from streamtag.domain.thresholds import Compiled, ThresholdSet, decide
from streamtag.events.content import ContentEvent
from streamtag.events.rejection import Rejected
from streamtag.events.tags import Tag
from streamtag.model.scorer import Scorer
from streamtag.tagger.infer import infer

__all__ = ["EventScorer", "Scored"]


@dataclass(frozen=True)
class Scored:
    """Decisions on the events of a batch that could be scored, in their order.

    Attributes:
        at: intp [n], their places in the batch.
        events: [n].
        scores: float64 [n, labels], on the grid of `streamtag.domain.scores`.
        cutoffs: float64 [n, labels], what decided each.
        tagged: bool [n, labels].
        refused: place in the batch to why there is no score.
    """

    at: NDArray[np.intp]
    events: Sequence[ContentEvent]
    scores: NDArray[np.float64]
    cutoffs: NDArray[np.float64]
    tagged: NDArray[np.bool_]
    refused: Mapping[int, Rejected]

    def tags(self, row: int, labels: Sequence[str]) -> list[Tag]:
        """The tags of one event, in label order."""
        scores, cutoffs = self.scores[row], self.cutoffs[row]
        return [Tag(labels[j], float(scores[j]), float(cutoffs[j])) for j in self.tagged[row].nonzero()[0].tolist()]


class EventScorer:
    """Scores and decides events, a batch at a time.

    Args:
        scorer: of the bundle.
        thresholds: cut-offs that fit its labels.
    """

    def __init__(self, scorer: Scorer, thresholds: ThresholdSet) -> None:
        self.labels = scorer.labels
        self._scorer = scorer
        self._compiled = Compiled(thresholds, scorer.labels)

    def score(self, events: Sequence[ContentEvent]) -> Scored:
        """Decides a batch; an event gets the same bits in any company."""
        micro, refused = infer(events, self._scorer)
        at = np.arange(len(events), dtype=np.intp)
        if refused:
            at = np.delete(at, list(refused))
            events = [events[i] for i in at.tolist()]
            micro = micro[at]
        compiled = self._compiled
        rows = np.zeros(len(events), dtype=np.intp)
        if not compiled.uniform:
            rows = compiled.rows([(event.lang, event.channel, event.tenant) for event in events])
        cutoffs = compiled.matrix[rows]
        scores = from_micro(micro)
        return Scored(at, events, scores, cutoffs, decide(scores, cutoffs), refused)
