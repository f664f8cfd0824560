"""Texts in, calibrated probabilities out: what the tagger, `streamtag score` and the evaluation all call."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamtag.model.bundle import Bundle
from streamtag.model.ngrams import Featuriser
from streamtag.model.session import GraphSession


class Scorer:
    """Scores texts by one bundle. For one thread at a time.

    Args:
        bundle: a verified bundle; `streamtag.model.loading` also runs its gates.
        batch: texts per run of the model.
    """

    def __init__(self, bundle: Bundle, *, batch: int) -> None:
        self.bundle = bundle
        self.labels = bundle.labels
        self.featuriser = Featuriser(bundle.manifest.preprocessing, bundle.buckets, bundle.idf)
        self.batch = min(batch, self.featuriser.max_rows)
        self.session = GraphSession(bundle)

    def score(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Calibrated probabilities, float32 [n, labels]; row i belongs to ``texts[i]``.

        A text gets the same bits in any company. Texts are sorted by length and cut into runs of ``batch``: a run is
        as wide as the text with most n-grams in it, so neighbours of one length waste little work on padding.
        """
        scores = np.empty((len(texts), len(self.labels)), dtype=np.float32)
        encoded = list(map(self.featuriser.encode, texts))
        lengths = np.fromiter(map(len, encoded), dtype=np.intp, count=len(encoded))
        order = lengths.argsort(kind="stable")
        for at in range(0, len(order), self.batch):
            run = order[at : at + self.batch]
            features = self.featuriser.features_of([encoded[i] for i in run.tolist()])
            scores[run] = self.session.run(features)
        return scores
