"""What is masked before somebody looks, and what is left to read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.domain.personal_data import mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to anna.muster+news@mail.example.org, please", "write to [e-mail], please"),
        ("mailto:a@b.de", "mailto:[e-mail]"),
        (r'{"from": "anna\u0040example.org"}', '{"from": "[e-mail]"}'),
        ("jürgen@müller.example", "[e-mail]"),
        ("from 192.0.2.17:8080", "from [address]:8080"),
        ("from 2001:db8::1 today", "from [address] today"),
        ("::1", "[address]"),
        ("call +49 170 1234567", "call [phone]"),
        ("call (030) 123-4567 now", "call [phone] now"),
        ("call 0170/1234567", "call [phone]"),
        ("555-123-4567", "[phone]"),
        # Test numbers of the card networks.
        ("4111 1111 1111 1111", "[card]"),
        ("card=378282246310005.", "card=[card]."),
        ('{"pan":"5555555555554444"}', '{"pan":"[card]"}'),
    ],
)
def test_what_identifies_somebody_is_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # its check digit is wrong
        "at 1764345600000",
        "on 2026-11-28",
        "2026-11-28 17:04:05",
        "at 17:04:05",
        "version 1.2.3",
        "999.1.1.1",
        "id 550e8400-e29b-41d4-a716-446655440000",
        "a :: b, std::vector",
        "@anna, see #4711",
    ],
)
def test_what_does_not_is_left(text: str) -> None:
    assert mask(text) == text


@given(st.text(alphabet="a@.+-() /:0123456789f", max_size=200))
def test_no_address_survives_and_masking_again_changes_nothing(text: str) -> None:
    masked = mask(text)
    assert not re.search(r"[a-f0-9]@[a-f0-9]+\.[a-f0-9]", masked)
    assert mask(masked) == masked


def test_a_long_text_takes_time_that_grows_with_its_length() -> None:
    for part in ("a.", "1-", "1 ", "f:", "+", "a@a.", "(0"):
        mask(part * 100_000)
