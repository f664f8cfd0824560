"""``hashed-ngrams/3``: what ``hashed-ngrams/2`` sees, and how long the text is.

Weights of n-grams are divided by their norm, so a linear model over them cannot tell a word that is all of a text from
one of hundreds. Here it can: one id more, with the length as its weight. Specified in ``docs/models.md``; a change is a
new contract.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamtag.model.word_ngrams import WordFeaturiser, WordNgramContract

KIND: Literal["hashed-ngrams/3"] = "hashed-ngrams/3"
MAX_LENGTH = 8_191
"""Bytes; a longer text counts as this: the table below ends here."""

_LENGTH_WEIGHT = np.log1p(np.arange(MAX_LENGTH + 1)).astype(np.float32)  # a table: the same bits one by one and in bulk


class LengthNgramContract(WordNgramContract, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=KIND):
    """What a bundle promises its texts are turned into; fields as of ``hashed-ngrams/1``."""

    @property
    def kind(self) -> str:
        """Name of the contract."""
        return KIND


class LengthFeaturiser(WordFeaturiser):
    """`Featuriser` of this contract."""

    more_ids = 1

    def more(self, encoded: Sequence[bytes]) -> NDArray[np.float32]:
        """``ln(1 + bytes)`` of each text, float32 [n, 1]."""
        lengths = np.fromiter(map(len, encoded), dtype=np.intp, count=len(encoded))
        return _LENGTH_WEIGHT.take(lengths, mode="clip")[:, None]
