"""``rendered-log/1`` and ``/2``: events of any shape, rendered to text, as weighted ids of their words.

Rendering and words are those of `streamtag.model.rendering`. A row depends on its event alone: it gets the same bits
alone and in any batch. Specified in ``docs/rendered-logs.md``; a change is a new contract.
"""

import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.model.contracts.preprocessor import Documents, FeatureRow, Inputs, InputSpec, Preprocessor
from streamtag.model.contracts.weighted_ids import SIGNATURE, by_length, idf_problems, read_vector
from streamtag.model.ngrams import IDF_UNIT, IDS, PAD_TO, WEIGHTS
from streamtag.model.normalise import Normalisation, normalise
from streamtag.model.rendering import first
from streamtag.model.rendering.log_text import render
from streamtag.model.rendering.words import ROW_BIT, word_hashes

WORDS, WORDS_IDF = "words.npy", "words-idf.npy"
ROWS_LENGTH = 0.5
"""Of an event's rows, where that of its words is 1: signs say less of most events than words do."""
_MOST_WORDS = 1 << 20


class _Rendered(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    normalisation: Normalisation = Normalisation(casefold=False)

    @property
    def kind(self) -> str:
        """Name of the contract."""
        tag = self.__struct_config__.tag
        assert isinstance(tag, str)
        return tag


class PartialLogContract(_Rendered, frozen=True, forbid_unknown_fields=True, tag="rendered-log/1"):
    """What an event is turned into, but for what stands where `RenderedLogContract` still looks.

    Attributes:
        normalisation: of the rendered text; letters keep their case until words are cut.
    """


class RenderedLogContract(_Rendered, frozen=True, forbid_unknown_fields=True, tag="rendered-log/2"):
    """What an event is turned into.

    Attributes:
        normalisation: of the rendered text; letters keep their case until words are cut.
    """


LogContract = PartialLogContract | RenderedLogContract


class Row(NamedTuple):
    """The known words of one event.

    Attributes:
        ids: int32 [k], ascending.
        weights: float32 [k]: log-TF over the norm of the event's words, or of its rows: the L2 norm of log-TF x IDF.
            The IDF above the line is in the coefficients of the model.
    """

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]


class RenderedLog(Preprocessor):
    """Events to weighted ids of their words.

    Args:
        contract: what was promised.
        contents: ``words.npy`` (uint32 [n], ascending: hashes of the words and rows that the model knows) and
            ``words-idf.npy`` (uint16 [n]: their inverse document frequencies, in units of 1/256).
    """

    files = (WORDS, WORDS_IDF)
    reads_text = True

    def __init__(self, contract: LogContract, contents: Mapping[str, bytes]) -> None:
        super().__init__()
        self.contract = contract
        known, idf = (np.load(io.BytesIO(contents[name]), allow_pickle=False) for name in self.files)
        self.n_words = len(known)
        self._id_of = {word: i for i, word in enumerate(known.tolist())}
        self._idf = idf / IDF_UNIT
        self._first_row = int(known.searchsorted(ROW_BIT))

    @staticmethod
    def problems(contract: LogContract, contents: Mapping[str, bytes]) -> list[str]:
        """Every contradiction in the two files."""
        found: list[str] = []
        known = read_vector(WORDS, contents[WORDS], np.uint32, found)
        idf = read_vector(WORDS_IDF, contents[WORDS_IDF], np.uint16, found)
        if np.any(known[1:] <= known[:-1]) or len(known) > _MOST_WORDS:
            found.append(f"{WORDS}: must be ascending, without repetition, and at most {_MOST_WORDS} long")
        return found + idf_problems(WORDS_IDF, idf, len(known), "words")

    @property
    def signature(self) -> Mapping[str, InputSpec]:
        """As of the base."""
        return SIGNATURE

    def read(self, texts: Sequence[str], features: Sequence[FeatureRow | None] | None) -> Documents:
        """Rows are `Row`."""
        return Documents(len(texts), [self._row(text) for text in texts])

    def runs(self, documents: Documents, most: int) -> Iterator[NDArray[np.intp]]:
        """By number of words."""
        return by_length(np.fromiter((len(row.ids) for row in documents.rows), np.intp, count=documents.n), most)

    def inputs(self, documents: Documents, run: NDArray[np.intp], *, wider: int = 0) -> Inputs:
        """As of the base; padding points at the row of zeros behind the table, a step of it is eight words."""
        rows: list[Row] = [documents.rows[i] for i in run.tolist()]
        width = (max(1, -(-max(len(row.ids) for row in rows) // PAD_TO)) + wider) * PAD_TO
        ids = np.full((len(rows), width), self.n_words, dtype=np.int32)
        weights = np.zeros((len(rows), 1, width), dtype=np.float32)
        for i, row in enumerate(rows):
            ids[i, : len(row.ids)] = row.ids
            weights[i, 0, : len(row.ids)] = row.weights
        return {IDS: ids, WEIGHTS: weights}

    def _row(self, text: str) -> Row:
        counts = Counter(map(self._id_of.get, hashes(text, self.contract)))
        counts.pop(None, None)
        if not counts:
            return Row(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32))
        ids = np.array(sorted(counts), dtype=np.int32)  # type: ignore[type-var] # None is out
        weights = 1 + np.log(np.array([counts[i] for i in ids.tolist()], dtype=np.float64))
        square = np.square(weights * self._idf[ids])
        first_row = int(ids.searchsorted(self._first_row))
        for part, length in ((slice(0, first_row), 1.0), (slice(first_row, len(ids)), ROWS_LENGTH)):
            # fsum has no order and no rounding on the way
            weights[part] *= length / (math.sqrt(math.fsum(square[part].tolist())) or 1.0)
        return Row(ids, weights.astype(np.float32))


def hashes(text: str, contract: LogContract) -> list[int]:
    """Hash of each word and row of an event, as `word_hashes` gives them."""
    if isinstance(contract, PartialLogContract):
        return word_hashes(normalise(first.render(text), contract.normalisation), first.MAX_WORDS)
    return word_hashes(normalise(render(text), contract.normalisation))


def contract_problems(contract: LogContract) -> list[str]:
    """What is wrong within the contract."""
    return (
        ["normalisation.casefold must be off: words are cut by their capitals"]
        if contract.normalisation.casefold
        else []
    )
