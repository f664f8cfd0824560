"""Explanation of any model, by leaving words out: Shapley values, sampled in a bounded number of runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streamtag.model.json_leaves import Leaf, leaves

__all__ = ["Occluded", "occlude"]

_ORDERS = 4
"""Orders in which words come in, at least; a long text is left out in larger pieces rather than in fewer orders."""


@dataclass(frozen=True)
class Occluded:
    """What leaving out says of one text.

    Attributes:
        spans: [n], code points of the pieces.
        bias: float64 [labels]: logits without any of them.
        weights: float64 [n, labels]; with the bias they add up to the logits of the text.
    """

    spans: Sequence[tuple[int, int]]
    bias: NDArray[np.float64]
    weights: NDArray[np.float64]


def occlude(
    text: str, words: Sequence[tuple[int, int]], logits: Callable[[list[str]], NDArray[np.float64]], max_runs: int
) -> Occluded:
    """Words come in one by one; what each changes, on average over several orders.

    Each order is followed by its reverse, so that of two words that say the same neither is always first. What the
    words of one order change adds up to the whole, so the averages do, too (Castro, Gómez and Tejada, 2009).

    Args:
        text: what is explained. In JSON, words are those of its values, and what is left is JSON of the same shape.
        words: where they are, in any other text.
        logits: of texts, float64 [texts, labels]; asked once.
        max_runs: texts to ask for, beside the whole one and the empty one.
    """
    values = leaves(text)
    pieces = [Leaf(*word, "") for word in words] if values is None else values
    groups = _grouped(pieces, max(1, max_runs // _ORDERS))
    empty = "" if values is None else _without(text, groups)
    paths = [
        (order, [empty, *(_without(text, [groups[i] for i in order[n:]]) for n in range(1, len(groups))), text])
        for order in _orders(len(groups), max_runs)
    ]
    texts = list(dict.fromkeys([empty, text, *(step for _, path in paths for step in path)]))
    found = dict(zip(texts, logits(texts), strict=True))
    if not groups:
        return Occluded([], found[text], np.zeros((0, len(found[text]))))
    weights = np.zeros((len(groups), len(found[text])))
    for order, path in paths:
        weights[order] += np.diff([found[step] for step in path], axis=0) / len(paths)
    return Occluded([(group[0].start, group[-1].end) for group in groups], found[empty], weights)


def _grouped(pieces: Sequence[Leaf], most: int) -> list[Sequence[Leaf]]:
    """The pieces, neighbours put together where there are more than ``most``."""
    n = min(most, len(pieces))
    cuts = [len(pieces) * i // n for i in range(n + 1)] if n else []
    return [pieces[start:end] for start, end in pairwise(cuts)]


def _orders(pieces: int, max_runs: int) -> list[list[int]]:
    """Orders of the pieces, each with its reverse, as many as ``max_runs`` texts allow."""
    random = np.random.default_rng(0)  # the same text is explained the same way
    forth = [random.permutation(pieces).tolist() for _ in range(max(1, max_runs // max(1, pieces) // 2))]
    return [order for one in forth for order in (one, one[::-1])]


def _without(text: str, groups: Sequence[Sequence[Leaf]]) -> str:
    kept, at = [], 0
    for piece in sorted(piece for group in groups for piece in group):
        kept += [text[at : piece.start], piece.left_out]
        at = piece.end
    return "".join([*kept, text[at:]])
