"""The preprocessing contract ``hashed-ngrams/3``: that of ``/2``, and the length as one id more."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.model.length_ngrams import MAX_LENGTH, LengthFeaturiser, LengthNgramContract
from streamtag.model.word_ngrams import WordFeaturiser, WordNgramContract

BITS = 10
BUCKETS = np.arange(0, 1 << BITS, 3, dtype=np.uint32)
IDF = (np.arange(len(BUCKETS)) % 2_000 + 200).astype(np.uint16)
FEATURISER = LengthFeaturiser(LengthNgramContract(bits=BITS), BUCKETS, IDF)
WORDS = WordFeaturiser(WordNgramContract(bits=BITS), BUCKETS, IDF)
TEXTS = st.text(st.sampled_from("ab e1!0'* \n.é"), max_size=60) | st.text(max_size=60)


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=6))
def test_n_grams_are_those_of_the_second_contract_and_the_length_stands_behind_them(texts: list[str]) -> None:
    encoded = FEATURISER.encode_all(texts)
    assert encoded == WORDS.encode_all(texts)
    found, words = FEATURISER.entries(encoded), WORDS.entries(encoded)
    for i, one in enumerate(encoded):
        mine, theirs = slice(*found.row_at[i : i + 2]), slice(*words.row_at[i : i + 2])
        assert found.ids[mine].tolist() == [*words.ids[theirs].tolist(), len(BUCKETS)]
        *weights, length = found.weights[mine].tolist()
        assert weights == words.weights[theirs].tolist()
        assert length == np.float32(math.log1p(len(one)))


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_rectangles_hold_the_entries_and_a_row_of_zeros_behind_all_ids(texts: list[str]) -> None:
    encoded = FEATURISER.encode_all(texts)
    entries, features = FEATURISER.entries(encoded), FEATURISER.features_of(encoded)
    assert features.ids.shape[1] % 8 == 0
    for i in range(len(texts)):
        mine = slice(*entries.row_at[i : i + 2])
        n = mine.stop - mine.start
        assert features.ids[i, :n].tolist() == entries.ids[mine].tolist()
        assert features.weights[i, 0, :n].tolist() == entries.weights[mine].tolist()
        assert set(features.ids[i, n:].tolist()) <= {len(BUCKETS) + 1}
        assert not features.weights[i, 0, n:].any()


def test_a_length_beyond_the_table_counts_as_its_end() -> None:
    lengths = FEATURISER.more([b"", b"abc", b"x" * MAX_LENGTH, b"x" * (MAX_LENGTH + 9)])
    assert lengths[:, 0].tolist() == [np.float32(math.log1p(n)) for n in (0, 3, MAX_LENGTH, MAX_LENGTH)]


def test_no_text_at_all() -> None:
    assert FEATURISER.entries([]).row_at.tolist() == [0]
    assert FEATURISER.features_of([]).ids.shape == (0, 8)
