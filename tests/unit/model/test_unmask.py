"""Words in disguise come back in plain spelling; ordinary text stays as it is."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamtag.model.unmask import unmask, unmask_all

HARD = "ab Z1@$! .-_*'\n🔥·—é中"
TEXTS = st.text(st.sampled_from(HARD), max_size=40) | st.text(max_size=40)


@pytest.mark.parametrize(
    ("masked", "plain"),
    [
        ("see you s o o n there", "see you soon there"),
        ("l.a.n.t.e.r.n!", "lantern!"),
        ("l - a - n - t - e - r - n", "lantern"),
        ("g r e e n  h i l l", "green  hill"),
        ("l a n t 3 r n", "lant3rn"),
        ("lanternnnn", "lantern"),
        ("lan🔥tern", "lantern"),
        ("lan·tern", "lantern"),
    ],
)
def test_a_word_in_disguise_is_put_together(masked: str, plain: str) -> None:
    assert unmask(masked) == plain


@pytest.mark.parametrize(
    "text",
    [
        "a letter, balloon and committee",
        "1 2 3 4 5",
        "192.168.1.1 at 10:30",
        "dashes — like this—stay, and so do dots… and 'quotes'",
        "I am a b",
        "good 🔥 morning",
        "e.g. this, i.e. that",
        "well-known x-ray",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert unmask(text) == text


@given(st.lists(TEXTS, max_size=6))
@example(["o.w.l!"])
@example(["o w l!!", "d e f"])
@example(["a.b.!!"])
@example(["1 🔥2", "a🔥b", "é🔥b", "🔥🔥b c d"])
def test_texts_that_are_not_rewritten_would_not_have_changed(texts: list[str]) -> None:
    assert unmask_all(texts) == [unmask(text).encode("utf-8", "replace") for text in texts]


@pytest.mark.parametrize("piece", ["a ", "a.b-", "aa", "a  ", "@!", "a . b", "🔥a"])
def test_a_hostile_text_takes_time_in_proportion_to_its_length(piece: str) -> None:
    hostile = piece * 200_000  # in quadratic time it would take hours
    assert len(unmask(hostile)) <= len(hostile)
