"""Stage 2: events to scores. An event that the model cannot bear, or that scores no probability, is refused alone."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from streamtag.domain.scores import to_micro
from streamtag.events.content import ContentEvent, FeatureValue
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.model.scorer import Scorer
from streamtag.stream.bisect import bisect

log = logging.getLogger(__name__)

Refusals = dict[int, Rejected]
"""Index into the batch to why it has no scores."""


def infer(
    events: Sequence[ContentEvent], scorer: Scorer, on_split: Callable[[], None] = lambda: None
) -> tuple[NDArray[np.int64], Refusals]:
    """Scores a batch.

    Args:
        events: the batch.
        scorer: of the release that decides.
        on_split: called for every (part of the) batch that was cut in two because the model failed on it.

    Returns:
        Scores in millionths, int64 [events, labels]; rows of refused events hold zeros and must not be used.
        The refused events: what the bundle reads is missing or out of range, the model fails on it, or gives a score
        that is not a probability.
    """
    texts = [event.text for event in events]
    refused: Refusals = {}
    if None in texts and scorer.reads_text:
        refused = {i: _unfit(scorer, events[i]) for i, text in enumerate(texts) if text is None}
    filled: list[str] = [text or "" for text in texts] if None in texts else texts  # type: ignore[assignment]
    features = [event.features for event in events] if scorer.reads_features else None
    scores = _score(filled, features, scorer, refused, on_split)
    # NaN fails both comparisons, so everything that is not a probability is caught.
    valid = ((scores >= 0) & (scores <= 1)).all(axis=1)
    if not valid.all():
        for i in np.flatnonzero(~valid).tolist():
            if i not in refused:
                refused[i] = _unfit(scorer, events[i], scores[i])
            scores[i] = 0
    return to_micro(scores), refused


def _score(
    texts: Sequence[str],
    features: Sequence[dict[str, FeatureValue] | None] | None,
    scorer: Scorer,
    refused: Refusals,
    on_split: Callable[[], None],
) -> NDArray[np.float32]:
    scores = np.zeros((len(texts), len(scorer.labels)), dtype=np.float32)

    def run(part: Sequence[int]) -> Sequence[int]:
        start, end = part[0], part[-1] + 1
        scores[start:end] = scorer.score(texts[start:end], features and features[start:end])
        return part

    _, failures = bisect(run, range(len(texts)), on_split)
    for i, failure in failures.items():
        message = f"the model raised {type(failure).__name__}"  # never its own message: it may quote the text
        rejected = Rejected(ErrorClass.SCORER_ERROR, stage="infer", field=_reads(scorer), message=message)
        refused.setdefault(i, rejected)
    if failures:
        log.warning("the model failed on texts", extra={"texts": len(failures), "batch": len(texts)})
    return scores


def _unfit(scorer: Scorer, event: ContentEvent, row: NDArray[np.float32] | None = None) -> Rejected:
    """Why an event has no scores: its contract says so, or those in ``row`` are none."""
    unfit = scorer.unfit(event.text, event.features)
    if unfit is not None:
        error_class = ErrorClass.MISSING_FIELD if unfit.field == "/text" else ErrorClass.INVALID_FEATURE
        return Rejected(error_class, stage="infer", field=unfit.field, message=unfit.message)
    scores = [] if row is None else row.tolist()
    bad = [label for label, score in zip(scorer.labels, scores, strict=True) if not 0 <= score <= 1]
    message = f"score is not a probability for {', '.join(bad[:5])}"
    return Rejected(ErrorClass.INVALID_SCORE, stage="infer", field=_reads(scorer), message=message)


def _reads(scorer: Scorer) -> str:
    """The field that a score comes from."""
    return "/text" if scorer.reads_text else "/features"
