"""The preprocessing contract ``hashed-ngrams/2`` against a plain reading of its specification in docs/models.md."""

import itertools
import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.model.alignment import aligned
from streamtag.model.ngrams import IDF_UNIT, MAX_COUNT, Featuriser, NgramContract
from streamtag.model.unmask import unmask
from streamtag.model.word_ngrams import WordFeaturiser, WordNgramContract, read_signs

BITS = 10
CONTRACT = WordNgramContract(bits=BITS)
BUCKETS = np.arange(0, 1 << BITS, 3, dtype=np.uint32)  # every third bucket is known
IDF = (np.arange(len(BUCKETS)) % 2_000 + 200).astype(np.uint16)
LEET = dict(zip("01345789@$!", "oieastbgasi", strict=True))
TEXTS = st.text(st.sampled_from("ab e1!0'* \n.é"), max_size=40) | st.text(max_size=60)


def featuriser() -> WordFeaturiser:
    return WordFeaturiser(CONTRACT, BUCKETS, IDF)


def signs_by_hand(text: str) -> str:
    """The specification, a stretch of letters and signs at a time."""

    def plain(found: re.Match[str]) -> str:
        token = found[0]
        if not re.search("[a-z]", token):
            return token
        return re.sub("11+", lambda ones: "l" * len(ones[0]), token).translate(
            {ord(sign): letter for sign, letter in LEET.items()}
        )

    return re.sub(r"(?:[a-z01345789@$]|!(?=[a-z01345789@$]))+", plain, text)


def mixed(value: int) -> int:
    value = value * 0x9E3779B1 % 2**32
    value ^= value >> 15
    return (value * 0x85EBCA77 % 2**32) >> (32 - BITS)


def buckets_by_hand(raw: bytes) -> list[int]:
    """Of every n-gram, word and pair of a text in plain spelling."""
    if not raw:
        return []
    spaced = b" " + raw + b" "
    found = []
    for size in (2, 3, 4, 5):
        for at in range(len(spaced) - size + 1):
            value = 0
            for byte in spaced[at : at + size]:
                value = (value * 0x01000193 + byte) % 2**32
            found.append(mixed(value))
    words = [
        sum(byte * pow(0x01000193, i, 2**32) for i, byte in enumerate(word)) % 2**32
        for word in re.findall(rb"[a-z0-9'*\x80-\xff]+", spaced)
    ]
    found += [mixed((word + 0x5BD1E995) % 2**32) for word in words]
    found += [mixed((a * 0x85EBCA77 + b + 0x2545F491) % 2**32) for a, b in itertools.pairwise(words)]
    return found


def weights_by_hand(text: str) -> dict[int, float]:
    encoded = featuriser().encode(text)
    lowered = bytes(32 if b < 32 or b == 127 else b + 32 if 65 <= b <= 90 else b for b in encoded)
    raw = signs_by_hand(lowered.decode("latin-1")).encode("latin-1")
    known = {int(bucket): i for i, bucket in enumerate(BUCKETS)}
    times = Counter(known[bucket] for bucket in buckets_by_hand(raw) if bucket in known)
    tf = {i: 1 + math.log(min(n, MAX_COUNT)) for i, n in times.items()}
    norm = math.sqrt(sum((tf[i] * int(IDF[i]) / IDF_UNIT) ** 2 for i in tf))
    return {i: tf[i] / norm for i in tf}


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_a_batch_hashes_as_the_specification_says(batch: list[str]) -> None:
    made = featuriser()
    counts = made.counts(made.encode_all(batch))
    for text, (start, end) in zip(batch, itertools.pairwise(counts.row_at.tolist()), strict=True):
        got = dict(zip(counts.ids[start:end].tolist(), counts.weights[start:end].tolist(), strict=True))
        expected = weights_by_hand(text)
        assert got.keys() == expected.keys()
        for i, weight in expected.items():
            assert got[i] == pytest.approx(weight, rel=2e-3)  # the norm is in fixed point


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("l4n73rn", "lantern"),
        ("w1nd0w!", "window!"),
        ("$ilent gr!n", "silent grin"),
        ("fu11 hi11", "full hill"),
        ("wow! great!!", "wow! great!!"),
        ("1984 and 10:30", "1984 and 10:30"),
    ],
)
def test_signs_within_words_are_read_as_letters(written: str, read: str) -> None:
    data = np.frombuffer(f" {written} \0\0\0\0".encode(), dtype=np.uint8)
    assert bytes(read_signs(data)) == f" {read} \0\0\0\0".encode()


@given(TEXTS)
def test_a_disguised_text_is_hashed_as_the_plain_one(text: str) -> None:
    made = featuriser()
    assert made.encode(text) == unmask(Featuriser(NgramContract(bits=BITS), BUCKETS, IDF)._normalised(text)).encode(
        "utf-8", "replace"
    )


@given(TEXTS)
def test_characters_are_followed_to_the_bytes_that_are_hashed(text: str) -> None:
    found = aligned(text, CONTRACT)
    assert "".join(c.value for c in found).encode("utf-8", "replace") == featuriser().encode(text)
    assert all(0 <= c.start <= c.end <= len(text) for c in found)


@given(TEXTS)
def test_places_are_those_of_what_is_counted(text: str) -> None:
    made = featuriser()
    encoded = made.encode(text)
    counts, places = made.counts([encoded]), made.places(encoded)
    assert set(places.ids.tolist()) == set(counts.ids.tolist())
    assert (places.begins + places.sizes <= len(encoded) + 2).all()
