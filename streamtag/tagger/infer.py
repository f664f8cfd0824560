"""Stage 2: events to scores. A text that makes the model fail, or scores no probability, is isolated and refused."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from streamtag.domain.scores import to_micro
from streamtag.events.content import ContentEvent
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
        The refused events: no text, a failing model, or a score that is not a probability.
    """
    texts = [event.text for event in events]
    refused: Refusals = {}
    if None in texts:
        refused = {i: _no_text() for i, text in enumerate(texts) if text is None}
    filled: list[str] = [text or "" for text in texts] if refused else texts  # type: ignore[assignment]
    scores = _score(filled, scorer, refused, on_split)
    # NaN fails both comparisons, so everything that is not a probability is caught.
    valid = ((scores >= 0) & (scores <= 1)).all(axis=1)
    if not valid.all():
        for i in np.flatnonzero(~valid).tolist():
            refused.setdefault(i, _invalid_score(scorer, scores[i]))
            scores[i] = 0
    return to_micro(scores), refused


def _score(
    texts: Sequence[str], scorer: Scorer, refused: Refusals, on_split: Callable[[], None]
) -> NDArray[np.float32]:
    scores = np.zeros((len(texts), len(scorer.labels)), dtype=np.float32)

    def run(part: Sequence[int]) -> Sequence[int]:
        start, end = part[0], part[-1] + 1
        scores[start:end] = scorer.score(texts[start:end])
        return part

    _, failures = bisect(run, range(len(texts)), on_split)
    for i, failure in failures.items():
        message = f"the model raised {type(failure).__name__}"  # never its own message: it may quote the text
        refused.setdefault(i, Rejected(ErrorClass.SCORER_ERROR, stage="infer", field="/text", message=message))
    if failures:
        log.warning("the model failed on texts", extra={"texts": len(failures), "batch": len(texts)})
    return scores


def _no_text() -> Rejected:
    return Rejected(
        ErrorClass.MISSING_FIELD, stage="infer", field="/text", message="no text, and the bundle reads nothing else"
    )


def _invalid_score(scorer: Scorer, row: NDArray[np.float32]) -> Rejected:
    bad = [label for label, score in zip(scorer.labels, row.tolist(), strict=True) if not 0 <= score <= 1]
    return Rejected(
        ErrorClass.INVALID_SCORE,
        stage="infer",
        field="/text",
        message=f"score is not a probability for {', '.join(bad[:5])}",
    )
