"""Documents in, calibrated probabilities out: what the tagger, `streamtag score` and the evaluation all call."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from streamtag.model.bundle import Bundle
from streamtag.model.contracts.hashed_ngrams import HashedNgrams
from streamtag.model.contracts.preprocessor import Documents, FeatureRow, Unfit
from streamtag.model.contracts.registry import make_preprocessor
from streamtag.model.manifest import Batching
from streamtag.model.ngrams import Featuriser
from streamtag.model.session import GraphSession


class Scorer:
    """Scores documents by one bundle. For one thread at a time.

    Args:
        bundle: a verified bundle; `streamtag.model.loading` also runs its gates.
        batch: documents per run of the model, within what the bundle allows.

    Raises:
        BundleError: the graph cannot be loaded, or is not fed by the bundle's contract.
    """

    def __init__(self, bundle: Bundle, *, batch: int) -> None:
        self.bundle = bundle
        self.labels = bundle.labels
        self.preprocessor = make_preprocessor(bundle.manifest.preprocessing, bundle.contents)
        limits = bundle.manifest.batching or Batching()
        most = min(batch, self.preprocessor.max_rows, limits.max_rows or batch)
        self._least = limits.min_rows
        self.batch = max(most, self._least)
        self.session = GraphSession(bundle, self.preprocessor.signature)
        self.second = None if bundle.stage2 is None else Scorer(bundle.stage2, batch=batch)
        """Stage 2 of a bundle that has one; whoever decides asks it, `score` does not."""
        self.bands = bundle.bands

    @property
    def reads_text(self) -> bool:
        """Whether an event without text cannot be scored."""
        return self.preprocessor.reads_text

    @property
    def reads_features(self) -> bool:
        """Whether `score` looks at the features."""
        return self.preprocessor.reads_features

    @property
    def featuriser(self) -> Featuriser:
        """Of a bundle whose contract is ``hashed-ngrams/1``; others have none."""
        if not isinstance(self.preprocessor, HashedNgrams):
            raise TypeError(f"{self.bundle.ref} reads no hashed n-grams but {self.bundle.manifest.preprocessing.kind}")
        return self.preprocessor.featuriser

    def score(self, texts: Sequence[str], features: Sequence[FeatureRow | None] | None = None) -> NDArray[np.float32]:
        """Calibrated probabilities, float32 [n, labels]; row i belongs to ``texts[i]`` and ``features[i]``.

        A document gets the same bits in any company. Those that the contract refuses (`unfit` says why) get NaN.
        """
        scores = np.empty((len(texts), len(self.labels)), dtype=np.float32)
        documents = self.preprocessor.read(texts, features)
        for run in self.preprocessor.runs(documents, self.batch):
            scores[run] = self.run(documents, run)
        if documents.refused:
            scores[documents.refused] = np.nan
        return scores

    def run(self, documents: Documents, run: NDArray[np.intp], *, wider: int = 0) -> NDArray[np.float32]:
        """One run of the graph on some documents, float32 [run, labels].

        Args:
            documents: as the preprocessor has read them.
            run: their indices.
            wider: as of `Preprocessor.inputs`.
        """
        if len(run) >= self._least:
            return self.session.run(self.preprocessor.inputs(documents, run, wider=wider))
        filled_up = np.resize(run, self._least)
        return self.session.run(self.preprocessor.inputs(documents, filled_up, wider=wider))[: len(run)]

    def unfit(self, text: str | None, features: FeatureRow | None) -> Unfit | None:
        """Why a document cannot be scored; None when it can."""
        return self.preprocessor.unfit(text, features)

    def take_filled(self) -> Mapping[tuple[str, str], int]:
        """(feature, why) to how many values were filled in or cut back since this was last asked."""
        filled = self.preprocessor.filled
        second = {} if self.second is None else self.second.take_filled()
        if not filled and not second:
            return filled
        taken = {key: filled.get(key, 0) + second.get(key, 0) for key in {**filled, **second}}
        filled.clear()
        return taken
