"""Words of rendered events as sparse matrices, weighted as the contract ``rendered-log/2`` weighs them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from streamtag.model.contracts.rendered_log import ROWS_LENGTH, RenderedLogContract, hashes
from streamtag.model.ngrams import IDF_UNIT
from streamtag.model.rendering.words import ROW_BIT
from streamtag.model.training.matrix import inverse_document_frequency


@dataclass(frozen=True)
class WordCounts:
    """How often each word stands in each document.

    Attributes:
        words: uint32 [n], ascending: hashes of all words met.
        counts: int32 [documents, n].
    """

    words: NDArray[np.uint32]
    counts: csr_matrix

    def take(self, use: NDArray[np.bool_]) -> "WordCounts":
        """Some documents."""
        return WordCounts(self.words, self.counts[use])

    def vocabulary(self, rarest: int) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        """Words of at least ``rarest`` documents, and their IDF in units of 1/256."""
        frequency = np.bincount(self.counts.indices, minlength=len(self.words))
        kept = frequency >= rarest
        return self.words[kept], inverse_document_frequency(self.counts)[kept]


def count_words(texts: Sequence[str], contract: RenderedLogContract) -> WordCounts:
    """Words of all texts, by the code that serves."""
    found = [np.array(hashes(text, contract), dtype=np.uint32) for text in texts]
    ends = np.cumsum([0, *map(len, found)])
    words, columns = np.unique(np.concatenate(found), return_inverse=True)
    ones = np.ones(len(columns), dtype=np.int32)
    counts = csr_matrix((ones, columns, ends), shape=(len(texts), len(words)))  # type: ignore[no-untyped-call]
    counts.sum_duplicates()  # type: ignore[no-untyped-call]
    return WordCounts(words, counts)


def weigh(counts: WordCounts, words: NDArray[np.uint32], idf: NDArray[np.uint16]) -> csr_matrix:
    """Rows as the graph's table will meet them, with the IDF that the table has in its coefficients.

    Args:
        counts: of the documents.
        words: uint32 [n], ascending; others are dropped.
        idf: uint16 [n].

    Returns:
        float32 [documents, n]; the words of a document have length 1 (or 0: none is known), its rows `ROWS_LENGTH`.
    """
    kept: csr_matrix = counts.counts[:, np.searchsorted(counts.words, words)].tocsr()
    values = (1 + np.log(kept.data.astype(np.float64))) * (idf / IDF_UNIT)[kept.indices]
    is_row = kept.indices >= words.searchsorted(ROW_BIT)
    part = 2 * np.repeat(np.arange(kept.shape[0]), np.diff(kept.indptr)) + is_row
    norms = np.sqrt(np.bincount(part, weights=np.square(values), minlength=2 * kept.shape[0]))
    weights = (np.where(is_row, ROWS_LENGTH, 1.0) * values / norms[part]).astype(np.float32)
    return csr_matrix((weights, kept.indices, kept.indptr), shape=kept.shape)  # type: ignore[no-untyped-call]
