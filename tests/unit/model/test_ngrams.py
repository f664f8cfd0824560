"""The preprocessing contract ``hashed-ngrams/1`` against a plain reading of its specification in docs/models.md."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.model.ngrams import IDF_UNIT, MAX_COUNT, PAD_TO, Features, Featuriser, NgramContract
from streamtag.model.normalise import Normalisation, compose, fold

BITS = 10
CONTRACT = NgramContract(bits=BITS, head_chars=60, tail_chars=20)
BUCKETS = np.arange(0, 1 << BITS, 3, dtype=np.uint32)  # every third bucket is known
IDF = (np.arange(len(BUCKETS)) % 2_000 + 200).astype(np.uint16)

texts = st.text(max_size=120) | st.text(alphabet="ab \n", max_size=120)


def featuriser() -> Featuriser:
    return Featuriser(CONTRACT, BUCKETS, IDF)


def bucket_by_hand(gram: bytes, bits: int) -> int:
    """The specification, one n-gram at a time."""
    value = 0
    for byte in gram:
        value = (value * 0x01000193 + byte) % 2**32
    value = value * 0x9E3779B1 % 2**32
    value ^= value >> 15
    value = value * 0x85EBCA77 % 2**32
    return value >> (32 - bits)


def weights_by_hand(text: str) -> dict[int, float]:
    """Id to weight of one text, in exact words of the specification."""
    if len(text) > 80:
        text = text[:60] + " " + text[-20:]
    if not text.isascii():
        text = compose(text, CONTRACT.normalisation)
        if len(text) > 80:
            text = text[:60] + " " + text[-20:]
        text = fold(text, CONTRACT.normalisation)
    raw = bytes(
        32 if byte < 32 or byte == 127 else byte + 32 if 65 <= byte <= 90 else byte
        for byte in text.encode("utf-8", "replace")
    )
    if not raw:
        return {}
    spaced = b" " + raw + b" "
    known = {int(bucket): i for i, bucket in enumerate(BUCKETS)}
    times: Counter[int] = Counter()
    for size in (2, 3, 4, 5):
        for at in range(len(spaced) - size + 1):
            bucket = bucket_by_hand(spaced[at : at + size], BITS)
            if bucket in known:
                times[known[bucket]] += 1
    tf = {i: 1 + math.log(min(n, MAX_COUNT)) for i, n in times.items()}
    norm = math.sqrt(sum((tf[i] * int(IDF[i]) / IDF_UNIT) ** 2 for i in tf))
    return {i: tf[i] / norm for i in tf}


def as_dicts(features: Features) -> list[dict[int, float]]:
    return [
        {i: w for i, w in zip(ids.tolist(), weights.tolist(), strict=True) if i < len(BUCKETS)}
        for ids, weights in zip(features.ids, features.weights[:, 0], strict=True)
    ]


@settings(max_examples=200, deadline=None)
@given(st.lists(texts, min_size=1, max_size=8))
def test_a_batch_hashes_as_the_specification_says(batch: list[str]) -> None:
    for text, got in zip(batch, as_dicts(featuriser().features(batch)), strict=True):
        expected = weights_by_hand(text)
        assert got.keys() == expected.keys()
        for i, weight in expected.items():
            assert got[i] == pytest.approx(weight, rel=2e-3)  # the norm is in fixed point


@settings(max_examples=100, deadline=None)
@given(st.lists(texts, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_a_text_has_the_same_bits_in_any_batch(batch: list[str], random: object) -> None:
    made = featuriser()
    whole = made.features(batch)
    order = list(range(len(batch)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = made.features([batch[i] for i in order])
    for place, i in enumerate(order):
        alone = made.features([batch[i]])
        width = alone.ids.shape[1]
        for other in (
            Features(whole.ids[i : i + 1], whole.weights[i : i + 1]),
            Features(shuffled.ids[place : place + 1], shuffled.weights[place : place + 1]),
        ):
            assert (other.ids[:, :width] == alone.ids).all()
            assert (other.weights[..., :width].view(np.uint32) == alone.weights.view(np.uint32)).all()
            assert (other.ids[:, width:] == len(BUCKETS)).all()
            assert (other.weights[..., width:] == 0).all()


@pytest.mark.parametrize("bits", [8, 13, 15, 16, 17, 18])
def test_a_text_has_the_same_bits_wherever_its_sort_keys_are_cut(bits: int) -> None:
    """Up to 2**16 ids, texts are sorted in groups whose keys fit into 16 bits; beyond, all at once."""
    known = np.arange(1 << bits, dtype=np.uint32)
    made = Featuriser(NgramContract(bits=bits), known, (known % 4_000 + 1).astype(np.uint16))
    batch = [made.encode(f"{i} good mornings, {'x' * (i % 7)}!" if i % 5 else "") for i in range(300)]
    together = made.counts(batch)
    for i, text in enumerate(batch):
        alone, mine = made.counts([text]), slice(*together.row_at[i : i + 2])
        assert (together.ids[mine] == alone.ids).all()
        assert (together.weights[mine].view(np.uint32) == alone.weights.view(np.uint32)).all()
        assert (np.diff(alone.ids) > 0).all()


@pytest.mark.parametrize(
    ("gram", "bits", "bucket"),
    [(b" a", 18, 21_196), (b"ab", 18, 79_192), (b"tag", 18, 47_503), (b"strea", 18, 254_876), ("é ".encode(), 10, 187)],
)
def test_the_published_examples_of_the_hash_hold(gram: bytes, bits: int, bucket: int) -> None:
    assert bucket_by_hand(gram, bits) == bucket
    known = np.arange(1 << bits, dtype=np.uint32)
    made = Featuriser(NgramContract(bits=bits), known, np.full(1 << bits, IDF_UNIT, dtype=np.uint16))
    assert bucket in made.counts([made.encode(gram.decode())]).ids


def test_weights_make_a_row_of_length_one_under_the_idf() -> None:
    counts = featuriser().counts([b"the quick brown fox jumps over the lazy dog"])
    length = np.sqrt(np.square(counts.weights * IDF[counts.ids] / IDF_UNIT).sum())
    assert length == pytest.approx(1.0, abs=1e-3)


def test_an_empty_text_has_no_features_and_harms_no_neighbour() -> None:
    made = featuriser()
    assert as_dicts(made.features([""])) == [{}]
    together = as_dicts(made.features(["", "good morning", "", "", "good night", ""]))
    assert together[1] == as_dicts(made.features(["good morning"]))[0]
    assert together[4] == as_dicts(made.features(["good night"]))[0]
    assert together[0] == together[2] == together[3] == together[5] == {}


def test_no_text_at_all_is_no_row() -> None:
    features = featuriser().features([])
    assert features.ids.shape == (0, PAD_TO)
    assert features.weights.shape == (0, 1, PAD_TO)


def test_the_width_is_a_multiple_of_eight() -> None:
    for text in ("", "a", "some words", "some more words than before, and still more"):
        assert featuriser().features([text]).ids.shape[1] % PAD_TO == 0


def test_a_long_text_is_read_at_its_head_and_tail_only() -> None:
    made = featuriser()
    head, tail = "a" * 60, "z" * 20
    cut = as_dicts(made.features([head + "middle " * 1_000 + tail]))
    assert cut == as_dicts(made.features([head + " " + tail]))


def test_what_one_text_can_cost_is_bounded_even_where_normalising_lengthens_it() -> None:
    # U+FDFA becomes 18 characters under NFKC.
    assert len(featuriser().encode("\ufdfa" * 100_000)) <= 4 * (60 + 1 + 20)


def test_lone_surrogates_do_not_raise() -> None:
    assert as_dicts(featuriser().features(["\ud800 abc"])) == as_dicts(featuriser().features(["? abc"]))


def test_too_many_texts_at_once_are_refused() -> None:
    made = Featuriser(
        NgramContract(bits=24), np.arange(1 << 24, dtype=np.uint32), np.full(1 << 24, IDF_UNIT, dtype=np.uint16)
    )
    assert made.max_rows == 128
    with pytest.raises(ValueError, match="at most 128"):
        made.counts([b"a"] * 129)


def test_a_contract_without_casefold_keeps_case() -> None:
    rules = Normalisation(casefold=False)
    known, idf = np.arange(1 << BITS, dtype=np.uint32), np.full(1 << BITS, IDF_UNIT, dtype=np.uint16)
    made = Featuriser(NgramContract(bits=BITS, normalisation=rules), known, idf)
    assert made.counts([b"ABC"]).ids.tolist() != made.counts([b"abc"]).ids.tolist()
