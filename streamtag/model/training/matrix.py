"""Texts as a sparse matrix, by the very code that serves."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from streamtag.model.featurisers import make_featuriser
from streamtag.model.ngrams import IDF_UNIT, MAX_IDF, NgramContract

_RUN = 256


def count_matrix(
    contract: NgramContract,
    texts: Sequence[str],
    *,
    buckets: NDArray[np.uint32],
    idf: NDArray[np.uint16],
    progress: Callable[[int], None] = lambda done: None,
) -> csr_matrix:
    """N-grams as the graph's table will meet them, with the IDF that the table has in its coefficients.

    Args:
        contract: preprocessing.
        texts: one per row.
        buckets: as of `Featuriser`.
        idf: as of `Featuriser`.
        progress: called with the number of texts done.

    Returns:
        float32 [texts, buckets], every row of length 1 (or 0: no known n-gram).
    """
    featuriser = make_featuriser(contract, buckets, idf)
    ids, weights, ends = [], [], [np.zeros(1, dtype=np.int64)]
    for at in range(0, len(texts), _RUN):
        counts = featuriser.counts(featuriser.encode_all(texts[at : at + _RUN]))
        ids.append(counts.ids)
        weights.append(counts.weights)
        ends.append(counts.row_at[1:] + ends[-1][-1])
        progress(min(at + _RUN, len(texts)))
    columns = np.concatenate(ids) if ids else np.empty(0, dtype=np.int32)
    values = np.concatenate(weights) if weights else np.empty(0, dtype=np.float32)
    values *= (idf / np.float32(IDF_UNIT)).astype(np.float32)[columns]
    shape = (len(texts), len(buckets))
    return csr_matrix((values, columns, np.concatenate(ends)), shape=shape)  # type: ignore[no-untyped-call]


def inverse_document_frequency(present: csr_matrix) -> NDArray[np.uint16]:
    """Smoothed ``ln((1 + n) / (1 + df)) + 1`` of every column, in units of 1/256.

    Args:
        present: [texts, buckets]; only which entries exist is read.
    """
    frequency = np.bincount(present.indices, minlength=present.shape[1])
    idf = np.log((1 + present.shape[0]) / (1 + frequency)) + 1
    units: NDArray[np.uint16] = np.minimum(np.rint(idf * IDF_UNIT), MAX_IDF).astype(np.uint16)
    return units
