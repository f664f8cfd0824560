"""``hashed-ngrams/1``: texts to weighted byte n-grams, the second half of the preprocessing contract.

Training and serving call the same code. All texts of a batch are hashed at once, as one array of bytes; everything
that reaches the model is exact integer arithmetic followed by one rounding per value, so a text gets the same bits
alone and in any batch. The arithmetic is specified in ``docs/models.md``; a change to it is a new contract.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.model.normalise import Normalisation, byte_table, compose, cut, fold

KIND: Literal["hashed-ngrams/1"] = "hashed-ngrams/1"
IDS, WEIGHTS = "ids", "weights"
"""Inputs of the graph."""
SIZES = (2, 3, 4, 5)
# FNV's prime rolls the hash on by a byte; the other two and the shift mix its bits (golden ratio; murmur3's finaliser).
ROLL, MIX_1, MIX_2, MIX_SHIFT = 0x01000193, 0x9E3779B1, 0x85EBCA77, 15
MAX_COUNT = 1_023
"""Repetitions of one n-gram above this count as this: the tables below end here, and look-ups are clipped."""
_SHORT_KEY = 16
PAD_TO = 8
"""Widths are multiples of this: with them, onnxruntime's MatMul gives the same bits whatever the padding."""

# (row of the size, bytes before the trailing space) of every n-gram that begins in a text and would end beyond it
_TOO_FAR_ROW, _TOO_FAR_BACK = np.array(
    [(row, back) for row, size in enumerate(SIZES) for back in range(1, size - 1)], dtype=np.intp
).T
_LOG_TF = np.concatenate([[0.0], 1.0 + np.log(np.arange(1, MAX_COUNT + 1))])
_LOG_TF_32 = _LOG_TF.astype(np.float32)
# Fixed point, so that a norm does not depend on the order of its sum: 2**16 (log-TF**2) times 2**24 (IDF**2) of a
# text's n-grams, fewer than 2**22, add up within 63 bits.
_TF_SQUARED_UNIT = 1 << 10
_LOG_TF_SQUARED = np.rint(np.square(_LOG_TF) * _TF_SQUARED_UNIT).astype(np.int64)
IDF_UNIT = 1 << 8
"""IDF is kept in units of 1/256, uint16; above 16 it is cut, which takes a corpus of millions."""
MAX_IDF = 16 * IDF_UNIT - 1


class NgramContract(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=KIND):
    """What a bundle promises its texts are turned into.

    Attributes:
        normalisation: steps before hashing.
        head_chars, tail_chars: a longer text is read at its first and last characters only, so that what one event
            can cost is bounded.
        bits: the hash has ``2**bits`` buckets.
    """

    normalisation: Normalisation = Normalisation()
    head_chars: int = 1_500
    tail_chars: int = 500
    bits: int = 18

    @property
    def kind(self) -> str:
        """Name of the contract."""
        return KIND


@dataclass(frozen=True)
class Counts:
    """Distinct n-grams of a batch, text by text, ids ascending within a text.

    Attributes:
        row_at: intp [n + 1]; text i owns entries ``row_at[i]:row_at[i + 1]``.
        ids: int32 [entries], index of the bucket among those of the featuriser; further features have ids behind them.
        weights: float32 [entries], of n-grams log-TF over the text's norm: the L2 norm of its log-TF x IDF. The IDF
            above the line is a constant per bucket, so the model's table has it in its coefficients.
    """

    row_at: NDArray[np.intp]
    ids: NDArray[np.int32]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """The same as rectangles for the model graph; a text's entries first, then padding.

    Attributes:
        ids: int32 [n, width]; padding points at the row of zeros behind the table.
        weights: float32 [n, 1, width]; zero in the padding.
    """

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]


class Places(NamedTuple):
    """Where the known n-grams of one text stand; one entry per n-gram and place.

    Attributes:
        begins: intp [n], byte of ``b" " + encoded + b" "`` at which it begins.
        sizes: intp [n], its bytes.
        ids: int [n], its id.
    """

    begins: NDArray[np.intp]
    sizes: NDArray[np.intp]
    ids: NDArray[Any]


class KnownIds(NamedTuple):
    """Ids of one kind of feature that a batch has, text by text, with repetitions and in no order within a text.

    Attributes:
        ids: int [n].
        row_at: intp [texts + 1]; text i owns ``row_at[i]:row_at[i + 1]``.
    """

    ids: NDArray[Any]
    row_at: NDArray[np.intp]


class Featuriser:
    """Turns texts into weighted ids, by the contract and for the buckets of one model.

    Args:
        contract: what to do.
        buckets: uint32 [n], those the model knows, ascending, unique; n-grams of others are dropped.
        idf: uint16 [n], in units of 1/256, at most `MAX_IDF`.

    Attributes:
        more_ids: of features that are no n-grams, behind those of the buckets.
    """

    more_ids: ClassVar[int] = 0

    def __init__(self, contract: NgramContract, buckets: NDArray[np.uint32], idf: NDArray[np.uint16]) -> None:
        self.contract = contract
        self.buckets = buckets
        self.idf = idf
        self._idf_squared = np.square(idf.astype(np.int64))
        self._terms_once = self._idf_squared * _TF_SQUARED_UNIT
        self.n_buckets = len(buckets)
        self.padding = self.n_buckets + self.more_ids
        """Id of the row of zeros behind the table."""
        self._id_bits = max(1, (self.n_buckets - 1).bit_length())
        # The smaller it is, the more of it stays in the processor's cache.
        smallest = np.int16 if self.n_buckets <= np.iinfo(np.int16).max else np.int32
        self._id_of = np.full(1 << contract.bits, -1, dtype=smallest)
        self._id_of[buckets] = np.arange(self.n_buckets)
        self._byte_table = byte_table(contract.normalisation)
        self.max_rows = 1 << (31 - self._id_bits)
        """Texts per call: text and bucket share the 31 bits of a sort key."""
        # numpy sorts keys of 16 bits by radix: so many texts have keys that short. Keys of 32 bits it sorts with vector
        # instructions, which takes a fourth less on one processor, and seven times as much on another.
        self._neighbours = 1 << (_SHORT_KEY - self._id_bits) if self._id_bits <= _SHORT_KEY else self.max_rows

    def encode(self, text: str) -> bytes:
        """UTF-8 of the text after cutting and normalising; lone surrogates become ``?``."""
        return self._normalised(text).encode("utf-8", "replace")

    def _normalised(self, text: str) -> str:
        contract = self.contract
        text = cut(text, contract.head_chars, contract.tail_chars)
        if text.isascii():
            return text
        rules = contract.normalisation
        # Cut again before the dearer half: composing can lengthen a text by a factor of 18.
        return fold(cut(compose(text, rules), contract.head_chars, contract.tail_chars), rules)

    def _normalised_all(self, texts: Sequence[str]) -> list[str]:
        most = self.contract.head_chars + self.contract.tail_chars
        # Most texts are short ASCII, which nothing changes: a call each would cost more than the look.
        return [text if len(text) <= most and text.isascii() else self._normalised(text) for text in texts]

    def encode_all(self, texts: Sequence[str]) -> list[bytes]:
        """`encode` of each."""
        return [text.encode("utf-8", "replace") for text in self._normalised_all(texts)]

    def counts(self, encoded: Sequence[bytes]) -> Counts:
        """Distinct n-grams per text with their weights.

        Args:
            encoded: texts as `encode` gives them, at most `max_rows`.
        """
        n = len(encoded)
        if n > self.max_rows:
            raise ValueError(f"{n} texts at once; at most {self.max_rows}")
        lengths = np.fromiter(map(len, encoded), dtype=np.intp, count=n)
        keys, key_at = self._sorted_keys(encoded, lengths)
        # Runs of equal keys: where each distinct n-gram of a text begins, and how often it occurs. Keys of one text
        # differ from those of the next, but may equal those of another.
        is_first = np.empty(len(keys) + 1, dtype=np.bool_)
        np.not_equal(keys[1:], keys[:-1], out=is_first[1:-1])
        is_first[key_at] = True
        first_at = is_first.nonzero()[0]
        times = _steps(first_at)
        row_at = first_at.searchsorted(key_at)
        ids = np.bitwise_and(keys.take(first_at[:-1]), keys.dtype.type((1 << self._id_bits) - 1)).astype(np.int32)
        # Weights: log-TF over the norm, whose squares are summed in integers. Most n-grams occur once: log-TF 1.
        repeated = (times > 1).nonzero()[0]
        times = times.take(repeated)
        terms = self._terms_once.take(ids)
        terms[repeated] = self._idf_squared.take(ids.take(repeated)) * _LOG_TF_SQUARED.take(times, mode="clip")
        squared_norm = np.maximum(_sums(terms, row_at), 1) / (_TF_SQUARED_UNIT * IDF_UNIT**2)
        inverse_norm = (1.0 / np.sqrt(squared_norm)).astype(np.float32)
        weights = inverse_norm.repeat(_steps(row_at))
        weights[repeated] *= _LOG_TF_32.take(times, mode="clip")
        return Counts(row_at, ids, weights)

    def features(self, texts: Sequence[str]) -> Features:
        """Texts as inputs of the graph; for callers that do not need their encoded lengths."""
        return self.features_of(self.encode_all(texts))

    def more(self, encoded: Sequence[bytes]) -> NDArray[np.float32]:
        """Features that are no n-grams, and no part of the norm: float32 [n, more_ids]."""
        return np.empty((len(encoded), self.more_ids), dtype=np.float32)

    def entries(self, encoded: Sequence[bytes]) -> Counts:
        """All that the graph is given: `counts`, and behind those of each text `more`."""
        counts, k = self.counts(encoded), self.more_ids
        ends = counts.row_at[1:].repeat(k)
        ids = np.tile(np.arange(self.n_buckets, self.padding), len(encoded))
        return Counts(
            counts.row_at + k * np.arange(len(counts.row_at)),
            np.insert(counts.ids, ends, ids),
            np.insert(counts.weights, ends, self.more(encoded).ravel()),
        )

    def features_of(self, encoded: Sequence[bytes]) -> Features:
        """`entries` as rectangles, as wide as the text with most of them needs."""
        counts = self.counts(encoded)
        per_text = _steps(counts.row_at).astype(np.int32)
        width = max(1, -(-(int(per_text.max(initial=0)) + self.more_ids) // PAD_TO)) * PAD_TO
        # Entries stand text by text, as the cells of a mask do: assigning by it copies whole stretches.
        used = np.arange(width, dtype=np.int32) < per_text[:, None]
        ids = np.full(used.shape, self.padding, dtype=np.int32)
        ids[used] = counts.ids
        weights = np.zeros(used.shape, dtype=np.float32)
        weights[used] = counts.weights
        if self.more_ids:
            cells = np.arange(len(encoded))[:, None], per_text[:, None] + np.arange(self.more_ids)
            ids[cells] = np.arange(self.n_buckets, self.padding)
            weights[cells] = self.more(encoded)
        return Features(ids, weights[:, None])

    def places(self, encoded: bytes) -> Places:
        """Where the known n-grams of one text stand, for explanations."""
        lengths = np.array([len(encoded)], dtype=np.intp)
        return self._places_in(self._joined([encoded]), lengths)

    def _places_in(self, data: NDArray[np.uint8], lengths: NDArray[np.intp]) -> Places:
        ids = self._ids_in(data, lengths, text_begins(lengths))
        begins, columns = np.nonzero(ids >= 0)
        return Places(begins, np.array(SIZES).take(columns), ids[begins, columns])

    def _sorted_keys(
        self, encoded: Sequence[bytes], lengths: NDArray[np.intp]
    ) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """A key for each known n-gram, text by text, ascending within each: its text, modulo a few, above its id.

        Returns:
            the keys, and intp [n + 1]: text i has those from the i-th to the next.
        """
        short = self._id_bits <= _SHORT_KEY
        key = np.dtype(np.uint16 if short else np.int32)
        if not encoded:
            return np.empty(0, dtype=key), np.zeros(1, dtype=np.intp)
        kinds = self._known(self._joined(encoded), lengths, text_begins(lengths))
        numbers = (np.arange(len(lengths)) % self._neighbours << self._id_bits).astype(key)
        parts = [kind.ids.astype(key, copy=False) | numbers.repeat(_steps(kind.row_at)) for kind in kinds]
        key_at: NDArray[np.intp] = sum((kind.row_at for kind in kinds[1:]), kinds[0].row_at)
        keys = np.empty(int(key_at[-1]), dtype=key)
        ends = [*range(0, len(lengths), self._neighbours), len(lengths)]
        part_ends = [kind.row_at[ends].tolist() for kind in kinds]
        for group, (start, end) in enumerate(itertools.pairwise(key_at[ends].tolist())):
            stretches = [part[at[group] : at[group + 1]] for part, at in zip(parts, part_ends, strict=True)]
            np.concatenate(stretches, out=keys[start:end])
            keys[start:end].sort(kind="stable" if short else None)
        return keys, key_at

    def _known(
        self, joined: NDArray[np.uint8], lengths: NDArray[np.intp], begins: NDArray[np.intp]
    ) -> Sequence[KnownIds]:
        """What the model knows of a batch, by kind of feature."""
        return [known_ids(self._ids_in(joined, lengths, begins), begins)]

    def _joined(self, encoded: Sequence[bytes]) -> NDArray[np.uint8]:
        """All texts, and behind them what n-grams at the end would read."""
        # A text is hashed between two spaces, so that n-grams see where its first and last word end. Neighbours share
        # one: a text (its leading space begins it) owns the n-grams that begin there or at any of its bytes.
        joined = b" " + b" ".join(encoded) + b" " + bytes(max(SIZES) - 1)
        return np.frombuffer(joined.translate(self._byte_table), dtype=np.uint8)

    def _ids_in(self, joined: NDArray[np.uint8], lengths: NDArray[np.intp], begins: NDArray[np.intp]) -> NDArray[Any]:
        """Id of the n-gram of each size that begins at each byte, [bytes, sizes], -1 for none."""
        ids: NDArray[Any] = self._id_of.take(self._hash(joined).T, mode="clip")
        ids[np.maximum(begins[1:] - _TOO_FAR_BACK[:, None], begins[:-1]), _TOO_FAR_ROW[:, None]] = -1
        # An empty text has no n-gram at all: not even its two spaces.
        ids[begins[:-1][lengths == 0], 0] = -1
        return ids

    def _hash(self, joined: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Bucket of the n-gram of each size that begins at each byte, [sizes, bytes]."""
        data = joined.astype(np.uint32)
        n = len(data) - max(SIZES)  # none begins at the padding, nor at the last trailing space
        rolled = np.empty((len(SIZES), n), dtype=np.uint32)
        previous = data[:n]
        for row, size in zip(rolled, SIZES, strict=True):
            np.multiply(previous, np.uint32(ROLL), out=row)
            np.add(row, data[size - 1 : size - 1 + n], out=row)
            previous = row
        return self._mixed(rolled)

    def _mixed(self, rolled: NDArray[np.uint32]) -> NDArray[np.int32]:
        """Buckets of rolled hashes, which are overwritten."""
        rolled *= np.uint32(MIX_1)
        rolled ^= rolled >> np.uint32(MIX_SHIFT)
        rolled *= np.uint32(MIX_2)
        rolled >>= np.uint32(32 - self.contract.bits)
        return rolled.view(np.int32)


def known_ids(ids: NDArray[Any], row_at: NDArray[np.intp]) -> KnownIds:
    """Those of a table that are not -1.

    Args:
        ids: [rows, kinds].
        row_at: intp [texts + 1]; text i owns rows ``row_at[i]:row_at[i + 1]``.
    """
    cells = ids.reshape(-1)
    # By position, not by mask: which are known is a coin toss that branch prediction loses.
    known = (cells >= 0).nonzero()[0]
    return KnownIds(cells.take(known), known.searchsorted(row_at * ids.shape[1]))


def _steps(at: NDArray[np.intp]) -> NDArray[np.intp]:
    """From each to the next, [n - 1]; of ``row_at``, how many entries each text has."""
    return at[1:] - at[:-1]


def _sums(terms: NDArray[np.int64], row_at: NDArray[np.intp]) -> NDArray[np.int64]:
    """Of each text's terms, int64 [texts]; text i owns ``row_at[i]:row_at[i + 1]``."""
    some = _steps(row_at).nonzero()[0]  # `reduceat` takes one that has none for one that has the next term
    sums = np.zeros(len(row_at) - 1, dtype=np.int64)
    sums[some] = np.add.reduceat(terms, row_at.take(some))
    return sums


def text_begins(lengths: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where each text's leading space stands in the joined texts, and behind the last one its trailing space."""
    begins = np.zeros(len(lengths) + 1, dtype=np.intp)
    np.cumsum(lengths + 1, out=begins[1:])
    return begins
