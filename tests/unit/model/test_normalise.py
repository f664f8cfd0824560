import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.model.normalise import _CONFUSABLES, Normalisation, byte_table, compose, fold, normalise

ALL = Normalisation()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("ｆｕｌｌ ｗｉｄｔｈ", "full width"),
        ("𝓕𝓪𝓷𝓬𝔂", "fancy"),
        ("zero\u200bwidth\u200d\u2060", "zerowidth"),
        ("so\u00adft", "soft"),
        ("mixеd sсript", "mixed script"),  # Cyrillic е and с
        ("СОРУ", "copy"),  # all Cyrillic
        ("STRASSE straße", "strasse strasse"),
        ("e\u0301", "é"),  # composes
        ("e\u200b\u0301", "é"),  # composes once nothing stands between
        ("a\u0336b\u0336", "ab"),  # strike-through does not compose
        ("👍🏽", "👍🏽"),
        ("ﬁne", "fine"),
    ],
)
def test_what_looks_the_same_reads_the_same(written: str, read: str) -> None:
    table = byte_table(ALL)
    assert normalise(written, ALL).encode().translate(table).decode() == read


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_ascii_may_go_straight_to_its_bytes(text: str) -> None:
    table = byte_table(ALL)
    assert normalise(text, ALL) == text
    assert fold(compose(text, ALL), ALL).encode().translate(table) == text.encode().translate(table)


@given(st.text() | st.text(alphabet=st.sampled_from([*_CONFUSABLES, "a", "é", " "])))
def test_each_lookalike_becomes_its_letter_and_nothing_else_changes(text: str) -> None:
    only = Normalisation(nfkc=False, drop_invisible=False, drop_marks=False, casefold=False)
    assert fold(text, only) == "".join(_CONFUSABLES.get(letter, letter) for letter in text)


@given(st.text())
def test_what_is_normalised_is_valid_for_the_bytes_that_follow(text: str) -> None:
    normalise(text, ALL).encode("utf-8", "replace").translate(byte_table(ALL)).decode("utf-8")


@pytest.mark.parametrize(
    ("rules", "written", "read"),
    [
        (Normalisation(nfkc=False), "ｆ", "ｆ"),
        (Normalisation(drop_invisible=False), "a\u200b", "a\u200b"),
        (Normalisation(drop_marks=False), "b\u0336", "b\u0336"),
        (Normalisation(fold_confusables=False), "р", "р"),
        (Normalisation(casefold=False), "É", "É"),
    ],
)
def test_each_step_can_be_switched_off(rules: Normalisation, written: str, read: str) -> None:
    assert normalise(written, rules) == read
    assert normalise(written, ALL) != read


def test_the_byte_table_lowers_ascii_and_blanks_controls() -> None:
    assert b"Ab\tZ\r\n\x00\x7f\xc3\x89".translate(byte_table(ALL)) == b"ab z    \xc3\x89"
    kept = byte_table(Normalisation(casefold=False, blank_controls=False))
    assert bytes(range(256)).translate(kept) == bytes(range(256))


def test_lookalikes_fold_to_one_latin_letter_of_the_same_case() -> None:
    for other, latin in _CONFUSABLES.items():
        assert not other.isascii()
        assert len(other) == len(latin) == 1
        assert latin.isascii()
        assert latin.isalpha()
        assert unicodedata.category(other)[0] == "L", f"{other!r} is no letter"
