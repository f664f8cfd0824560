"""``hashed-ngrams/2``: byte n-grams, words and pairs of words, of texts in plain spelling.

What it adds to ``hashed-ngrams/1``: words that are spelled apart or drawn out are put together (`unmask`), digits and
signs in the place of letters are read as letters, and whole words and pairs of neighbours count beside their n-grams.
Specified in ``docs/models.md``; a change is a new contract.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from streamtag.model.ngrams import MIX_2, ROLL, Featuriser, KnownIds, NgramContract, Places, known_ids
from streamtag.model.unmask import unmask, unmask_all

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
        return unmask_all(self._normalised_all(texts))

    def places(self, encoded: bytes) -> Places:
        """As of the base, then words and pairs."""
        data = self._joined([encoded])
        grams = self._places_in(data, np.array([len(encoded)], dtype=np.intp))
        begins, ends, ids = self._words(data, np.zeros(1, dtype=np.intp))
        words = Places(begins, ends - begins, ids[:, 0])
        pairs = Places(begins[:-1], ends[1:] - begins[:-1], ids[:-1, 1])
        together = Places(*(np.concatenate(part) for part in zip(grams, words, pairs, strict=True)))
        return Places(*(part[together.ids >= 0] for part in together))

    def _joined(self, encoded: Sequence[bytes]) -> NDArray[np.uint8]:
        return read_signs(super()._joined(encoded))

    def _known(
        self, joined: NDArray[np.uint8], lengths: NDArray[np.intp], begins: NDArray[np.intp]
    ) -> Sequence[KnownIds]:
        """As of the base, and words with pairs."""
        words, _, ids = self._words(joined, begins[:-1])
        return [*super()._known(joined, lengths, begins), known_ids(ids, words.searchsorted(begins))]

    def _words(
        self, data: NDArray[np.uint8], starts: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any]]:
        """Words of texts that start at ``starts``.

        Returns:
            where each begins and ends, intp [n], and int [n, 2]: its id, and that of it and the next one in its text,
            -1 for none and for those that are not known.
        """
        inside = np.frombuffer(data.tobytes().translate(_WORDS), dtype=np.bool_)
        edges = (inside[1:] != inside[:-1]).nonzero()[0] + 1
        begins, ends = edges[::2], edges[1::2]
        if not len(begins):
            return begins, ends, np.empty((0, 2), dtype=self._id_of.dtype)
        if len(self._powers) < len(data):
            self._powers = _powers_of(ROLL, 2 * len(data))
            self._inverse_powers = _powers_of(_ROLL_BACK, 2 * len(data))
        sums = np.zeros(len(data) + 1, dtype=np.uint32)
        np.cumsum(data * self._powers[: len(data)], dtype=np.uint32, out=sums[1:])
        words = (sums[ends] - sums[begins]) * self._inverse_powers[begins]
        hashes = np.empty((len(words), 2), dtype=np.uint32)
        hashes[:, 0] = words + np.uint32(WORD_SALT)
        hashes[:, 1] = words * np.uint32(MIX_2) + np.uint32(PAIR_SALT)
        hashes[:-1, 1] += words[1:]
        ids: NDArray[Any] = self._id_of.take(self._mixed(hashes))
        ids[begins.searchsorted(starts) - 1, 1] = -1  # the last word of each text but the last, and of all
        return begins, ends, ids


def plain_spelling(text: str) -> str:
    """A text as this contract reads it, but for case: words put together, signs as the letters they stand for."""
    data = np.frombuffer(b" " + unmask(text).encode("utf-8", "replace") + b"  ", dtype=np.uint8)
    return read_signs(data)[1:-2].tobytes().decode()


def read_signs(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes with digits and signs as the letters that they stand for, within words that have a letter.

    A ``!`` belongs to a word only when the word goes on behind it.
    """
    kinds = np.frombuffer(data.tobytes().translate(_SIGNS), dtype=np.uint8)
    if not ((kinds[1:] + kinds[:-1]) == _LETTER + _SIGN).any():
        return data
    bangs = (data == ord("!")).nonzero()[0]
    if len(bangs):
        kinds = kinds.copy()
        kinds[bangs[(kinds[bangs + 1] == 0) | (data[bangs + 1] == ord("!"))]] = 0
    signs = (kinds == _SIGN).nonzero()[0]
    gaps = (kinds == 0).nonzero()[0]
    behind = gaps.searchsorted(signs)
    begins, ends = gaps[behind - 1] + 1, gaps[behind]  # of the stretch that each sign is in
    all_signs = signs.searchsorted(ends) - signs.searchsorted(begins) == ends - begins
    signs = signs[~all_signs]
    if not len(signs):
        return data
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
