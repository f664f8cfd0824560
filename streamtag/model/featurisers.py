"""Which featuriser keeps which contract of hashed n-grams."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from streamtag.model import length_ngrams, ngrams, word_ngrams
from streamtag.model.length_ngrams import LengthFeaturiser, LengthNgramContract
from streamtag.model.ngrams import Featuriser, NgramContract
from streamtag.model.word_ngrams import WordFeaturiser, WordNgramContract

__all__ = ["CONTRACTS", "make_featuriser"]

CONTRACTS: Mapping[str, type[NgramContract]] = {
    ngrams.KIND: NgramContract,
    word_ngrams.KIND: WordNgramContract,
    length_ngrams.KIND: LengthNgramContract,
}
"""By the name in a manifest."""

_FEATURISERS: Mapping[type[NgramContract], type[Featuriser]] = {
    NgramContract: Featuriser,
    WordNgramContract: WordFeaturiser,
    LengthNgramContract: LengthFeaturiser,
}


def make_featuriser(contract: NgramContract, buckets: NDArray[np.uint32], idf: NDArray[np.uint16]) -> Featuriser:
    """The featuriser of any contract of hashed n-grams; arguments as of `Featuriser`."""
    return _FEATURISERS[type(contract)](contract, buckets, idf)
