"""Why a text got its scores: which words raised a label's logit, which lowered it, and by how much.

``bias + Σ weight`` of an explanation is the label's logit, ``ln(p / (1 - p))``. Exact where the label is a sum over the
n-grams of the text (`streamtag.model.additive`); else by occlusion: the text is scored with words left out, in a
bounded number of runs (`streamtag.model.occlusion`).
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamtag.errors import NotFoundError, RefusedError
from streamtag.model.additive import AdditiveGraph
from streamtag.model.contracts.preprocessor import FeatureRow
from streamtag.model.occlusion import occlude
from streamtag.model.scorer import Scorer

__all__ = ["MAX_RUNS", "Explainer", "Explanation", "Span", "explain"]

MAX_RUNS = 256
"""Texts scored for one explanation by occlusion."""
_SMALLEST = 1e-7
"""Scores are taken to lie this far from 0 and 1, where a logit has no end; float32 says no more near 1."""


@dataclass(frozen=True)
class Span:
    """Code points ``start`` to ``end`` of the text as it was given, and what they add to the logit."""

    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class Explanation:
    """One label of one text; ``bias + Σ weight == logit``, within a thousandth.

    Attributes:
        label: its id.
        score: as the scorer gives it.
        logit: ``ln(score / (1 - score))``.
        bias: logit of a text that says nothing: the empty one or, by occlusion, JSON without its values; features of
            the event stay. With ``hashed-ngrams/3`` what the length of the text gives is in it.
        spans: in the order of the text, without those of weight 0.
        method: ``exact``: what each word gives; ``occlusion``: what leaving it out takes away, on average over orders
            in which words come in (Shapley values, by sampling).
    """

    label: str
    score: float
    logit: float
    bias: float
    spans: tuple[Span, ...]
    method: Literal["exact", "occlusion"]


class Explainer:
    """Explains scores of one bundle. For one thread at a time.

    Args:
        scorer: of the bundle.
        max_runs: texts scored at most for one explanation by occlusion.
    """

    def __init__(self, scorer: Scorer, *, max_runs: int = MAX_RUNS) -> None:
        self._scorer = scorer
        self._max_runs = max_runs
        self._graph = _additive_graph(scorer)

    def explain(
        self, text: str, labels: Sequence[str] | None = None, *, features: FeatureRow | None = None
    ) -> list[Explanation]:
        """One explanation a label.

        Args:
            text: as it was scored.
            labels: which, in this order; None: all.
            features: of the event, for bundles that read them. They stay as they are: what they give is in the bias.

        Raises:
            NotFoundError: names the labels that the bundle does not have.
            RefusedError: the document has no scores.
        """
        known = {label: j for j, label in enumerate(self._scorer.labels)}
        missing = [label for label in labels or () if label not in known]
        if missing:
            raise NotFoundError(f"no label {', '.join(missing)}; the bundle has {', '.join(known)}")
        columns = [known[label] for label in labels or known]
        scores = self._score([text], features)[0]
        if np.isnan(scores).any():
            raise RefusedError("a document that the bundle refuses has no scores to explain")
        pieces = tokens(text)
        found: dict[int, Explanation] = {}
        if self._graph is not None:
            exact = self._graph.explain(text)
            for j in columns:
                if exact.holds[j]:
                    weights = [float(exact.characters[start:end, j].sum()) for start, end in pieces]
                    logit, bias = float(exact.logit[j]), float(exact.bias[j])
                    found[j] = self._explanation(j, scores[j], logit, bias, pieces, weights, "exact")
        if len(found) < len(set(columns)):
            words = [piece for piece in pieces if not text[slice(*piece)].isspace()]
            left_out = occlude(text, words, lambda texts: _logit(self._score(texts, features)), self._max_runs)
            for j in set(columns) - found.keys():
                weights = left_out.weights[:, j].tolist()
                logit, bias = float(_logit(scores)[j]), float(left_out.bias[j])
                found[j] = self._explanation(j, scores[j], logit, bias, left_out.spans, weights, "occlusion")
        return [found[j] for j in columns]

    def _explanation(
        self,
        column: int,
        score: float,
        logit: float,
        bias: float,
        pieces: Sequence[tuple[int, int]],
        weights: Sequence[float],
        method: Literal["exact", "occlusion"],
    ) -> Explanation:
        spans = tuple(Span(*piece, weight) for piece, weight in zip(pieces, weights, strict=True) if weight)
        return Explanation(self._scorer.labels[column], float(score), logit, bias, spans, method)

    def _score(self, texts: Sequence[str], features: FeatureRow | None) -> NDArray[np.float64]:
        rows = [features] * len(texts) if self._scorer.reads_features else None
        return self._scorer.score(texts, rows).astype(np.float64)


def explain(scorer: Scorer, text: str, labels: Sequence[str] | None = None) -> list[Explanation]:
    """One explanation a label; `Explainer` serves those who explain more than one text."""
    return Explainer(scorer).explain(text, labels)


def tokens(text: str) -> list[tuple[int, int]]:
    """Stretches of letters and digits, of blanks, and of other signs; together they are the text.

    Accents and invisible characters belong to what they stand in.

    >>> [text[start:end] for text in ["See you: 9 pm"] for start, end in tokens(text)]
    ['See', ' ', 'you', ':', ' ', '9', ' ', 'pm']
    """
    found, at = [], 0
    for _, run in groupby(_kinds(text)):
        end = at + sum(1 for _ in run)
        found.append((at, end))
        at = end
    return found


def _kinds(text: str) -> Iterator[str]:
    kind = "word"
    for character in text:
        if character.isspace():
            kind = "blank"
        elif character.isalnum() or character == "_":
            kind = "word"
        elif unicodedata.category(character) not in {"Mn", "Mc", "Me", "Cf"}:
            kind = "sign"
        yield kind


def _additive_graph(scorer: Scorer) -> AdditiveGraph | None:
    try:
        featuriser = scorer.featuriser
    except TypeError:  # the bundle reads something else than hashed n-grams
        return None
    return AdditiveGraph.of(scorer.bundle, featuriser)


def _logit(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))
