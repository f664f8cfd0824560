"""Disguised spellings: repeatable, never the text as it was, and read as it was where the contract undoes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.model.normalise import Normalisation, normalise
from streamtag.model.training.obfuscate import KINDS, obfuscate

TEXT = "please close the garden window before the storm"


@pytest.mark.parametrize("kind", list(KINDS))
def test_it_changes_words_and_repeats_itself(kind: str) -> None:
    once = obfuscate(TEXT, kind, seed="a")
    assert once != TEXT
    assert obfuscate(TEXT, kind, seed="a") == once
    assert obfuscate(TEXT, kind, seed="b") != once


@pytest.mark.parametrize("kind", ["homoglyphs", "zero_width"])
def test_the_contract_undoes_lookalikes_and_invisible_characters(kind: str) -> None:
    assert normalise(obfuscate(TEXT, kind, seed="a", share=1), Normalisation()) == TEXT


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=40), st.sampled_from(sorted(KINDS)))
def test_it_takes_any_text_and_leaves_small_words_alone(text: str, kind: str) -> None:
    assert isinstance(obfuscate(text, kind, seed="a"), str)
    assert obfuscate("on the way to it", kind, seed="a") == "on the way to it"
