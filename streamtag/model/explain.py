"""Why a text got its scores: which words raised a label's logit, which lowered it, and by how much.

``bias + Σ weight`` of an explanation is the label's logit, ``ln(p / (1 - p))``. Exact where the label is a sum over the
n-grams of the text (`streamtag.model.additive`); else by occlusion: the text is scored with words left out, in a
bounded number of runs.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamtag.errors import NotFoundError
from streamtag.model.additive import AdditiveGraph
from streamtag.model.scorer import Scorer

__all__ = ["MAX_RUNS", "Explainer", "Explanation", "Span", "explain"]

MAX_RUNS = 256
"""Texts scored for one explanation by occlusion."""
_ORDERS = 4
"""Orders in which words come in, at least; a long text is left out in larger pieces rather than in fewer orders."""
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
        bias: logit of a text that says nothing.
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

    def explain(self, text: str, labels: Sequence[str] | None = None) -> list[Explanation]:
        """One explanation a label.

        Args:
            text: as it was scored.
            labels: which, in this order; None: all.

        Raises:
            NotFoundError: names the labels that the bundle does not have.
        """
        known = {label: j for j, label in enumerate(self._scorer.labels)}
        missing = [label for label in labels or () if label not in known]
        if missing:
            raise NotFoundError(f"no label {', '.join(missing)}; the bundle has {', '.join(known)}")
        columns = [known[label] for label in labels or known]
        scores = self._scorer.score([text])[0].astype(np.float64)
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
            groups, bias_by_label, weights_by_label = self._occlude(text, pieces)
            for j in set(columns) - found.keys():
                weights = weights_by_label[:, j].tolist()
                logit, bias = float(_logit(scores)[j]), float(bias_by_label[j])
                found[j] = self._explanation(j, scores[j], logit, bias, groups, weights, "occlusion")
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

    def _occlude(
        self, text: str, pieces: Sequence[tuple[int, int]]
    ) -> tuple[list[tuple[int, int]], NDArray[np.float64], NDArray[np.float64]]:
        """Words come into an empty text one by one; what each changes, on average over several orders.

        Each order is followed by its reverse, so that of two words that say the same neither is always first. What the
        words of one order change adds up to the whole, so the averages do, too.

        Returns:
            Pieces of the text; logit of the empty text, float64 [labels]; what each piece gives [pieces, labels].
        """
        groups = _grouped([p for p in pieces if not text[p[0] : p[1]].isspace()], max(1, self._max_runs // _ORDERS))
        paths = [
            (order, ["", *(_without(text, groups, order[n:]) for n in range(1, len(groups))), text])
            for order in _orders(len(groups), self._max_runs)
        ]
        texts = list(dict.fromkeys(["", text, *(step for _, path in paths for step in path)]))
        logits = dict(zip(texts, _logit(self._scorer.score(texts).astype(np.float64)), strict=True))
        if not groups:  # blanks alone
            return [], logits[text], np.zeros((0, len(self._scorer.labels)))
        weights = np.zeros((len(groups), len(self._scorer.labels)))
        for order, path in paths:
            weights[order] += np.diff([logits[step] for step in path], axis=0) / len(paths)
        return groups, logits[""], weights


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


def _grouped(pieces: Sequence[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """The pieces, neighbours put together where there are more than ``most``."""
    n = min(most, len(pieces))
    cuts = [len(pieces) * i // n for i in range(n + 1)] if n else []
    return [(pieces[a][0], pieces[b - 1][1]) for a, b in pairwise(cuts)]


def _orders(pieces: int, max_runs: int) -> list[NDArray[np.intp]]:
    """Orders of the pieces, each with its reverse, as many as ``max_runs`` texts allow."""
    random = np.random.default_rng(0)  # the same text is explained the same way
    forth = [random.permutation(pieces) for _ in range(max(1, max_runs // max(1, pieces) // 2))]
    return [order for one in forth for order in (one, one[::-1])]


def _without(text: str, pieces: Sequence[tuple[int, int]], out: NDArray[np.intp]) -> str:
    kept, at = [], 0
    for start, end in sorted(pieces[i] for i in out.tolist()):
        kept.append(text[at:start])
        at = end
    return "".join([*kept, text[at:]])


def _logit(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))
