"""Events to decisions, by the code of the stream: `tagger.rerank`, the score grid, the cut-offs of each segment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamtag.control.breakers import NO_BREAKERS, ActiveBreakers
from streamtag.domain.scores import from_micro
from streamtag.domain.thresholds import Compiled, ThresholdSet, decide
from streamtag.domain.two_stage import goes
from streamtag.events.content import ContentEvent
from streamtag.events.rejection import Rejected
from streamtag.events.tags import Tag
from streamtag.model.scorer import Scorer
from streamtag.tagger.rerank import WHY, Stages, infer_stages

__all__ = ["EventScorer", "Scored", "Staged"]


class Staged(NamedTuple):
    """Which stage scored an event; the fields of `streamtag.events.tags.TagEvent`."""

    stage: str = "1"
    stage2: str | None = None
    stage1_scores: dict[str, float] | None = None


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
        stages: which stage scored each; None where the bundle has one.
        breakers: labels whose tags ask for review only.
    """

    at: NDArray[np.intp]
    events: Sequence[ContentEvent]
    scores: NDArray[np.float64]
    cutoffs: NDArray[np.float64]
    tagged: NDArray[np.bool_]
    refused: Mapping[int, Rejected]
    stages: Stages | None = None
    breakers: ActiveBreakers = NO_BREAKERS

    @property
    def second(self) -> int:
        """How many events have the scores of stage 2; stage 1 settled the others."""
        return 0 if self.stages is None else int(self.stages.second.sum())

    def tags(self, row: int, labels: Sequence[str]) -> list[Tag]:
        """The tags of one event, in label order."""
        scores, cutoffs, action = self.scores[row], self.cutoffs[row], self.breakers.action
        return [
            Tag(labels[j], float(scores[j]), float(cutoffs[j]), action(labels[j]))
            for j in self.tagged[row].nonzero()[0].tolist()
        ]

    def review(self, labels: Sequence[str]) -> NDArray[np.bool_]:
        """Which tags ask for review only, bool [n, labels]."""
        return self.tagged & np.array([label in self.breakers.labels for label in labels], dtype=np.bool_)

    def staged(self, row: int, labels: Sequence[str]) -> Staged:
        """Which stage scored an event, as in its tag event."""
        if self.stages is None:
            return Staged()
        route = self.stages.route[row]
        if not goes(route):
            return Staged("1", WHY[route])
        return Staged("2", WHY[route], dict(zip(labels, from_micro(self.stages.first[row]).tolist(), strict=False)))


class EventScorer:
    """Scores and decides events, a batch at a time; of a bundle with two stages by both, without a budget.

    Args:
        scorer: of the bundle.
        thresholds: cut-offs that fit its labels.
        breakers: labels whose tags ask for review only.
    """

    def __init__(self, scorer: Scorer, thresholds: ThresholdSet, breakers: ActiveBreakers = NO_BREAKERS) -> None:
        self.labels = scorer.labels
        self.two_stages = scorer.second is not None
        self._scorer = scorer
        self._compiled = Compiled(thresholds, scorer.labels)
        self._breakers = breakers

    def score(self, events: Sequence[ContentEvent]) -> Scored:
        """Decides a batch; an event gets the same bits in any company."""
        inferred = infer_stages(events, self._scorer)
        micro, refused, stages = inferred.micro, inferred.refused, inferred.stages
        at = np.arange(len(events), dtype=np.intp)
        if refused:
            at = np.delete(at, list(refused))
            events = [events[i] for i in at.tolist()]
            micro = micro[at]
            stages = None if stages is None else stages.take(at)
        compiled = self._compiled
        rows = np.zeros(len(events), dtype=np.intp)
        if not compiled.uniform:
            rows = compiled.rows([(event.lang, event.channel, event.tenant) for event in events])
        cutoffs = compiled.matrix[rows]
        scores = from_micro(micro)
        return Scored(at, events, scores, cutoffs, decide(scores, cutoffs), refused, stages, self._breakers)
