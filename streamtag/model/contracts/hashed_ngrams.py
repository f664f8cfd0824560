"""``hashed-ngrams/1`` to ``/3`` as contracts; the arithmetic is in `streamtag.model.ngrams` and what builds on it."""

import io
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from streamtag.model.contracts.preprocessor import Documents, FeatureRow, Inputs, InputSpec, Preprocessor
from streamtag.model.contracts.text_rules import cut_problems
from streamtag.model.contracts.weighted_ids import SIGNATURE, by_length, idf_problems, read_vector
from streamtag.model.featurisers import make_featuriser
from streamtag.model.ngrams import IDS, PAD_TO, WEIGHTS, NgramContract

BUCKETS, IDF = "buckets.npy", "idf.npy"


class HashedNgrams(Preprocessor):
    """Texts to weighted ids of hashed byte n-grams.

    Args:
        contract: what was promised.
        contents: ``buckets.npy`` and ``idf.npy``.
    """

    files = (BUCKETS, IDF)
    reads_text = True

    def __init__(self, contract: NgramContract, contents: Mapping[str, bytes]) -> None:
        super().__init__()
        self.featuriser = make_featuriser(contract, *tables(contents))
        self.max_rows = self.featuriser.max_rows

    @staticmethod
    def problems(contract: NgramContract, contents: Mapping[str, bytes]) -> list[str]:
        """Every contradiction in the two files, and between them and the contract."""
        found: list[str] = []
        buckets = read_vector(BUCKETS, contents[BUCKETS], np.uint32, found)
        idf = read_vector(IDF, contents[IDF], np.uint16, found)
        if np.any(buckets[1:] <= buckets[:-1]) or int(buckets.max(initial=0)) >= 1 << contract.bits:
            found.append(f"{BUCKETS}: must be ascending, without repetition, and below 2**{contract.bits}")
        return found + idf_problems(IDF, idf, len(buckets), "buckets")

    @property
    def signature(self) -> Mapping[str, InputSpec]:
        """As of the base."""
        return SIGNATURE

    def read(self, texts: Sequence[str], features: Sequence[FeatureRow | None] | None) -> Documents:
        """Rows are the encoded texts."""
        return Documents(len(texts), self.featuriser.encode_all(texts))

    def runs(self, documents: Documents, most: int) -> Iterator[NDArray[np.intp]]:
        """By length of the texts."""
        return by_length(np.fromiter(map(len, documents.rows), dtype=np.intp, count=documents.n), most)

    def inputs(self, documents: Documents, run: NDArray[np.intp], *, wider: int = 0) -> Inputs:
        """As of the base; a step of padding is eight n-grams."""
        rows = documents.rows
        features = self.featuriser.features_of([rows[i] for i in run.tolist()])
        if not wider:
            return {IDS: features.ids, WEIGHTS: features.weights}
        extra = wider * PAD_TO
        return {
            IDS: np.pad(features.ids, ((0, 0), (0, extra)), constant_values=self.featuriser.padding),
            WEIGHTS: np.pad(features.weights, ((0, 0), (0, 0), (0, extra))),
        }


def tables(contents: Mapping[str, bytes]) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """Buckets, uint32 [m], and their IDF, uint16 [m], of a verified bundle."""
    buckets, idf = (np.load(io.BytesIO(contents[name]), allow_pickle=False) for name in (BUCKETS, IDF))
    return buckets, idf


def contract_problems(contract: NgramContract) -> list[str]:
    """Every contradiction within the contract."""
    found = cut_problems(contract.head_chars, contract.tail_chars)
    if not 8 <= contract.bits <= 24:
        found.append(f"bits {contract.bits} is outside 8 … 24")
    return found
