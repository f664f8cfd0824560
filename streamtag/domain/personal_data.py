"""Masks what identifies a person in a text, so that somebody can look at the rest. Pure.

A mask is for people who look, not a way to make data anonymous: names, addresses and whatever has another form stay.
"""

import ipaddress
import re
from datetime import date

__all__ = ["mask"]

# Every repetition is bounded: whatever a text holds, it is read in time that grows with its length.
_EMAIL = re.compile(r"[\w.+-]{1,64}(?:@|\\u0040|%40)[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_ADDRESS = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}(?![\w.]\d)|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:]))(?!\w)"
)
_NUMBER = re.compile(r"(?<![\w.])[+(]?\d(?:[ ()/.-]{0,2}\d){6,18}(?!\w)")
_SEPARATOR = re.compile(r"[ ()/.-]")
_CARD, _PHONE = range(13, 20), range(7, 16)


def mask(text: str) -> str:
    """The text with ``[e-mail]``, ``[address]`` (IP), ``[card]`` and ``[phone]`` in the place of such.

    A card number is one whose check digit is right (Luhn, ISO/IEC 7812-1). A telephone number begins with +, 0 or a
    bracket, or has at least two separators; a date or a plain run of digits is none.

    Example:
        >>> mask("ask anna@example.org or +49 170 1234567 (order 20261128)")
        'ask [e-mail] or [phone] (order 20261128)'
    """
    text = _EMAIL.sub("[e-mail]", text)
    text = _ADDRESS.sub(_address, text)
    return _NUMBER.sub(_number, text)


def _address(found: re.Match[str]) -> str:
    try:
        known = ipaddress.ip_address(found[0])
    except ValueError:
        return found[0]
    return found[0] if known.is_unspecified else "[address]"


def _number(found: re.Match[str]) -> str:
    text = found[0]
    digits = [int(c) for c in text if c.isdigit()]
    if len(digits) in _CARD and _luhn(digits):
        return "[card]"
    if len(digits) not in _PHONE or _is_date(text):
        return text
    return "[phone]" if text[0] in "+(0" or len(_SEPARATOR.findall(text)) >= 2 else text


def _luhn(digits: list[int]) -> bool:
    doubled = [d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return False
    return True
