"""Exact explanation of bundles on hashed n-grams, for labels whose logit is a sum over the n-grams of a text.

The graph is asked, not read: its tensors ``margin`` (before calibration) and ``logit`` (after) become outputs beside
the scores. Each n-gram is put through it alone, with weight 1; a label is additive when what its n-grams give, times
their weights, adds up to what the text gives. Whatever a label is made of, nothing is said of it that does not add up.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions  # type: ignore[attr-defined]

from streamtag.model.alignment import aligned
from streamtag.model.bundle import Bundle
from streamtag.model.ngrams import IDS, PAD_TO, SIZES, WEIGHTS, Featuriser
from streamtag.model.session import ORT_ERRORS, SCORES

__all__ = ["Additive", "AdditiveGraph"]

_MARGIN, _LOGIT = "margin", "logit"
_TOLERANCE = 1e-3
"""Largest difference, in logits, between a sum and what the graph gives; float32 sums of thousands of terms."""
_SAME_SCORE = 1e-5
_FLAT = 1e-4
"""Where a text is as near to the empty one, a chord has no slope to speak of."""
_PROBES = 1_024
"""N-grams of one run: bounds the memory."""


@dataclass(frozen=True)
class Additive:
    """What the characters of one text do to its logits.

    Attributes:
        characters: float64 [code points of the text, labels].
        bias: float64 [labels]; ``bias + characters.sum(axis=0)`` is ``logit``.
        logit: float64 [labels], before the sigmoid.
        holds: bool [labels]: whether the label is additive; the rest is of no use where it is not.
    """

    characters: NDArray[np.float64]
    bias: NDArray[np.float64]
    logit: NDArray[np.float64]
    holds: NDArray[np.bool_]


class AdditiveGraph:
    """The graph of a bundle with its logits as outputs. For one thread at a time."""

    def __init__(self, labels: int, featuriser: Featuriser, session: InferenceSession) -> None:
        self._labels = labels
        self._featuriser = featuriser
        self._session = session

    @classmethod
    def of(cls, bundle: Bundle, featuriser: Featuriser) -> "AdditiveGraph | None":
        """The graph, or None where it has no such tensors."""
        options = SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 4  # that there is no such tensor is no news
        try:
            session = InferenceSession(_with_outputs(bundle.model), options, providers=["CPUExecutionProvider"])
        except ORT_ERRORS:
            return None
        return cls(len(bundle.labels), featuriser, session)

    def explain(self, text: str) -> Additive:
        """What the characters of ``text`` do to its logits.

        Calibration may bend: a step of margin is worth the slope of the chord from the empty text to this one.
        """
        encoded = self._featuriser.encode(text)
        counts = self._featuriser.entries([encoded])
        features = self._featuriser.features_of([encoded])
        margin, logit, scores = (values[0] for values in self._run(features.ids, features.weights))
        margins, logits = self._probe(counts.ids)
        steps = margins[1:] - margins[0]
        parts = steps * counts.weights[:, None]
        total = parts.sum(axis=0)
        slope = _slope(total, logit - logits[0], steps, logits[1:] - logits[0])
        characters, nowhere = self._spread(text, encoded, counts.ids, parts * slope)
        bias = logits[0] + nowhere
        holds = np.abs(margins[0] + total - margin) <= _TOLERANCE * (1 + np.abs(margin))
        holds &= np.abs(bias + characters.sum(axis=0) - logit) <= _TOLERANCE * (1 + np.abs(logit))
        holds &= np.abs(1 / (1 + np.exp(-logit)) - scores) <= _SAME_SCORE
        return Additive(characters, bias, logit, holds)

    def _probe(self, ids: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Margin and logit of the empty text, then of each n-gram alone with weight 1: float64 [1 + ids, labels]."""
        alone = np.full((1 + len(ids), PAD_TO), self._featuriser.padding, dtype=np.int32)
        alone[1:, 0] = ids
        weights = np.zeros((len(alone), 1, PAD_TO), dtype=np.float32)
        weights[1:, 0, 0] = 1
        runs = [self._run(alone[at : at + _PROBES], weights[at : at + _PROBES]) for at in range(0, len(alone), _PROBES)]
        return np.concatenate([run[0] for run in runs]), np.concatenate([run[1] for run in runs])

    def _run(self, ids: NDArray[np.int32], weights: NDArray[np.float32]) -> list[NDArray[np.float64]]:
        """Margins, logits and scores, float64 [n, labels]."""
        found = self._session.run([_MARGIN, _LOGIT, SCORES], {IDS: ids, WEIGHTS: weights})
        return [np.asarray(values, dtype=np.float64)[:, : self._labels] for values in found]

    def _spread(
        self, text: str, encoded: bytes, ids: NDArray[np.int32], parts: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What ``parts`` [ids, labels] give to each code point of the text; and what falls to none of them.

        An n-gram is shared evenly by the places where it stands, and there by the bytes that are no blanks.
        """
        start, end, blank = _origins(text, encoded, self._featuriser)
        owned = start < end
        given = np.zeros((len(start), parts.shape[1]))
        nowhere = parts[ids >= self._featuriser.n_buckets].sum(axis=0)  # the length has no place
        places = self._featuriser.places(encoded)
        entries = np.searchsorted(ids, places.ids)
        times = np.bincount(entries, minlength=len(ids))
        for size in np.unique(places.sizes).tolist():
            own = places.sizes == size
            which = entries[own]
            cells = places.begins[own, None] + np.arange(size)
            takers = owned[cells] & ~blank[cells]
            takers |= owned[cells] & ~takers.any(axis=1, keepdims=True)
            shares = takers.sum(axis=1)
            each = parts[which] / (times[which] * np.maximum(shares, 1))[:, None]
            np.add.at(given, cells[takers], each.repeat(shares, axis=0))
            nowhere += each[shares == 0].sum(axis=0)
        characters = np.zeros((len(text), parts.shape[1]))
        single = end - start == 1
        np.add.at(characters, start[single], given[single])
        for i in np.flatnonzero(end - start > 1).tolist():
            characters[start[i] : end[i]] += given[i] / (end[i] - start[i])
        return characters, nowhere


def _origins(
    text: str, encoded: bytes, featuriser: Featuriser
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """For each byte of ``b" " + encoded + b" "``: first and last code point it comes from, and whether it is blank.

    Bytes that come from none have an empty stretch.
    """
    start, end = np.zeros((2, len(encoded) + 1 + max(SIZES)), dtype=np.intp)
    blank = np.ones(len(start), dtype=np.bool_)
    at = 1
    for character in aligned(text, featuriser.contract):
        to = at + len(character.value.encode("utf-8", "replace"))
        start[at:to], end[at:to], blank[at:to] = character.start, character.end, character.value.isspace()
        at = to
    assert at == len(encoded) + 1, "alignment and encoding disagree"
    return start, end, blank


def _slope(
    total: NDArray[np.float64], rise: NDArray[np.float64], steps: NDArray[np.float64], rises: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logits per unit of margin, float64 [labels], by the chord.

    Where the text is on the level of the empty one: by the n-gram that moves the margin most.
    """
    labels = np.arange(len(total))
    if len(steps):
        largest = np.abs(steps).argmax(axis=0)
        flat = np.abs(total) <= _FLAT
        total = np.where(flat, steps[largest, labels], total)
        rise = np.where(flat, rises[largest, labels], rise)
    return np.divide(rise, total, out=np.zeros_like(rise), where=total != 0)


def _with_outputs(model: bytes) -> bytes:
    """The model with margin and logit as outputs.

    Two protobuf messages written one after the other are their union: fields of the later one are added to those of the
    first. So what is added is ``graph { output { name … type { tensor_type { elem_type: FLOAT } } } }``.
    """
    added = b""
    for name in (_MARGIN, _LOGIT):
        value_info = _field(1, name.encode()) + _field(2, _field(1, b"\x08\x01"))
        added += _field(12, value_info)
    return model + _field(7, added)


def _field(number: int, content: bytes) -> bytes:
    """A protobuf field that holds bytes, shorter than 128."""
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content
