import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.model import normalise
from streamtag.model.normalise import Normalisation

ALL_STEPS_OFF = dict.fromkeys(Normalisation.__struct_fields__, False)
ONLY_NFKC = Normalisation(**{**ALL_STEPS_OFF, "nfkc": True})

# Marks of several classes, all that hide marks, letters that compose with them, and what else a run may hold.
CHARACTERS = [
    *"\u0301\u0323\u0345\u05b0\u05b1\u0591\u3099\u0344\u0f71\u0f80",
    *normalise._MARKS_IN_DISGUISE,
    *"aéカ가ﷺ!🎉 ",
]


@given(st.text(CHARACTERS, max_size=80), st.text(CHARACTERS, max_size=80))
def test_sorting_the_marks_beforehand_does_not_change_what_nfkc_makes_of_a_text(head: str, tail: str) -> None:
    marks = "\u0323\u0301\u0f73\u0591\uff9e" * 60
    text = head + marks + tail
    assert normalise.normalise(text, ONLY_NFKC) == unicodedata.normalize("NFKC", text)


def test_every_character_that_begins_with_a_mark_after_nfkc_is_known() -> None:
    begins_with_mark = {
        character
        for character in map(chr, range(0x110000))
        if not unicodedata.is_normalized("NFKD", character)
        and not unicodedata.combining(character)
        and unicodedata.combining(unicodedata.normalize("NFKD", character)[0])
    }
    assert begins_with_mark == set(normalise._MARKS_IN_DISGUISE)


def test_no_combining_mark_is_a_letter() -> None:
    assert not [c for c in map(chr, range(0x110000)) if unicodedata.combining(c) and (c.isalnum() or c.isspace())]


@pytest.mark.parametrize("marks", ["\u0301\u0323", "\u0591\u05b1\u05b0", "\u0f73", "\uff9e\u0300"])
def test_marks_in_the_wrong_order_take_linear_time(marks: str) -> None:
    text = "a" + marks * (50_000 // len(marks))  # by exchanging neighbours: 5 s or more
    began = time.process_time()
    normalise.normalise(text, ONLY_NFKC)
    assert time.process_time() - began < 1
