"""``hashed-ngrams/2``: byte n-grams, words and pairs of words, of texts in plain spelling.

What it adds to ``hashed-ngrams/1``: words that are spelled apart or drawn out are put together (`unmask`), digits and
signs in the place of letters are read as letters, and whole words and pairs of neighbours count beside their n-grams.
Specified in ``docs/models.md``; a change is a new contract.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from streamtag.model.ngrams import MIX_2, ROLL, SIZES, Featuriser, NgramContract, Places
from streamtag.model.unmask import unmask_all

KIND: Literal["hashed-ngrams/2"] = "hashed-ngrams/2"
WORD_SALT, PAIR_SALT = 0x5BD1E995, 0x2545F491
"""Added before mixing: a word is another feature than the n-gram of its bytes."""
_LEET = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g", "@": "a", "$": "s", "!": "i"}
_LETTER, _SIGN = 1, 2
_ROLL_BACK = pow(ROLL, -1, 1 << 32)


class WordNgramContract(NgramContract, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=KIND):
    """What a bundle promises its texts are turned into; fields as of ``hashed-ngrams/1``."""

    @property
    def kind(self) -> str:
        """Name of the contract."""
        return KIND


def _table(kinds: dict[int, str]) -> bytes:
    table = bytearray(256)
    for kind, characters in kinds.items():
        for character in characters:
            table[ord(character)] = kind
    return bytes(table)


_ASCII_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SIGNS = _table({_LETTER: _ASCII_LETTERS, _SIGN: "".join(_LEET)})
_WORDS = _table({1: _ASCII_LETTERS + "0123456789'*" + "".join(map(chr, range(128, 256)))})
_PLAIN_OF = np.array([ord(_LEET.get(chr(byte), chr(byte))) for byte in range(256)], dtype=np.uint8)


class WordFeaturiser(Featuriser):
    """`Featuriser` of this contract."""

    _powers = np.ones(1, dtype=np.uint32)
    _inverse_powers = np.ones(1, dtype=np.uint32)

    def encode(self, text: str) -> bytes:
        """As of the base, in plain spelling."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[bytes]:
        """`encode` of each."""
        return unmask_all(list(map(self._normalised, texts)))

    def places(self, encoded: bytes) -> Places:
        """As of the base, then words and pairs."""
        data = self._joined([encoded])
        grams = self._places_in(data, np.array([len(encoded)], dtype=np.intp))
        words = self._words(data, np.zeros(1, dtype=np.intp))
        together = Places(*(np.concatenate(part) for part in zip(grams, *words, strict=True)))
        return Places(*(part[together.ids >= 0] for part in together))

    def _joined(self, encoded: Sequence[bytes]) -> NDArray[np.uint8]:
        return read_signs(super()._joined(encoded))

    def _ids_in(self, joined: NDArray[np.uint8], lengths: NDArray[np.intp], begins: NDArray[np.intp]) -> NDArray[Any]:
        """As of the base, and in two more columns words and pairs, where they begin."""
        grams = super()._ids_in(joined, lengths, begins)
        ids = np.full((len(grams), len(SIZES) + 2), -1, dtype=grams.dtype)
        ids[:, : len(SIZES)] = grams
        for column, words in enumerate(self._words(joined, begins[:-1]), start=len(SIZES)):
            ids[words.begins, column] = words.ids
        return ids

    def _words(self, data: NDArray[np.uint8], starts: NDArray[np.intp]) -> tuple[Places, Places]:
        """Words, and pairs of neighbours in a text, with -1 for those that are not known."""
        inside = np.frombuffer(data.tobytes().translate(_WORDS), dtype=np.bool_)
        edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
        begins, ends = edges[::2], edges[1::2]
        if not len(begins):
            nothing = Places(begins, begins, begins)
            return nothing, nothing
        if len(self._powers) < len(data):
            self._powers = _powers_of(ROLL, 2 * len(data))
            self._inverse_powers = _powers_of(_ROLL_BACK, 2 * len(data))
        sums = np.zeros(len(data) + 1, dtype=np.uint32)
        np.cumsum(data * self._powers[: len(data)], dtype=np.uint32, out=sums[1:])
        words = (sums[ends] - sums[begins]) * self._inverse_powers[begins]
        pairs = words[:-1] * np.uint32(MIX_2) + words[1:]
        goes_on = np.ones(len(words), dtype=np.bool_)
        goes_on[begins.searchsorted(starts) - 1] = False  # the last word of each text but the last, and of all
        first = np.flatnonzero(goes_on)
        return (
            Places(begins, ends - begins, self._id_of.take(self._mixed(words + np.uint32(WORD_SALT)))),
            Places(
                begins[first],
                ends[first + 1] - begins[first],
                self._id_of.take(self._mixed(pairs[first] + np.uint32(PAIR_SALT))),
            ),
        )


def read_signs(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes with digits and signs as the letters that they stand for, within words that have a letter.

    A ``!`` belongs to a word only when the word goes on behind it.
    """
    kinds = np.frombuffer(data.tobytes().translate(_SIGNS), dtype=np.uint8)
    if not ((kinds[1:] + kinds[:-1]) == _LETTER + _SIGN).any():
        return data
    bangs = np.flatnonzero(data == ord("!"))
    if len(bangs):
        kinds = kinds.copy()
        kinds[bangs[(kinds[bangs + 1] == 0) | (data[bangs + 1] == ord("!"))]] = 0
    signs = np.flatnonzero(kinds == _SIGN)
    gaps = np.flatnonzero(kinds == 0)
    behind = gaps.searchsorted(signs)
    begins, ends = gaps[behind - 1] + 1, gaps[behind]  # of the stretch that each sign is in
    all_signs = signs.searchsorted(ends) - signs.searchsorted(begins) == ends - begins
    signs = signs[~all_signs]
    plain = data.copy()
    plain[signs] = _PLAIN_OF[data[signs]]
    # "11" is a double l: no word has a double i
    double = signs[:-1][(np.diff(signs) == 1) & (data[signs[:-1]] == ord("1")) & (data[signs[1:]] == ord("1"))]
    plain[double], plain[double + 1] = ord("l"), ord("l")
    return plain


def _powers_of(base: int, n: int) -> NDArray[np.uint32]:
    powers = np.full(n, base, dtype=np.uint32)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint32)


def make_featuriser(contract: NgramContract, buckets: NDArray[np.uint32], idf: NDArray[np.uint16]) -> Featuriser:
    """The featuriser of either contract of hashed n-grams."""
    kind = WordFeaturiser if isinstance(contract, WordNgramContract) else Featuriser
    return kind(contract, buckets, idf)
