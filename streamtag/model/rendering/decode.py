"""What encodings hide: escapes of URLs, HTML and programs, base64 (UTF-8 and PowerShell's UTF-16), hexadecimal.

Every function is linear in its input, never raises, and returns its input where there is nothing to decode.
"""

import base64
import binascii
import html
import re
from urllib.parse import unquote

MAX_TOKENS = 8
"""Base64 and hexadecimal tokens looked at in one value."""
MAX_TOKEN_CHARS = 4_096

_PERCENT_U = re.compile(r"%u([0-9a-fA-F]{4})")
_PERCENT = re.compile(r"%[0-9a-fA-F]{2}")
_BACKSLASH = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,5})\})")
_ENTITY = re.compile(r"&(?:#|[a-zA-Z]{2,8};)")
_LOOKUP = re.compile(r"\$\{(?:(?:lower|upper):([^${}]{1,64})|[^${}]{0,64}:-([^${}]{1,64}))\}")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,}+={0,2}")
_HEX_TEXT = re.compile(r"(?<![A-Za-z0-9])0x((?:[0-9a-fA-F]{2}){4,})(?![A-Za-z0-9])")
_URL_SAFE = str.maketrans("-_", "+/")
_TEXT_BYTES = frozenset(b"\t\n\r" + bytes(range(32, 127)))


def unescape(text: str) -> str:
    r"""One layer of percent, HTML, backslash and look-up (``${lower:j}``) escapes.

    >>> unescape(r"a%20b%u0041 &lt;i&gt; \x43")
    'a bA <i> C'
    """
    if "%" in text:
        text = _PERCENT_U.sub(lambda found: chr(int(found[1], 16)), text)
        if _PERCENT.search(text):
            text = unquote(_plus_as_space(text), errors="replace")
    if "&" in text and _ENTITY.search(text):
        text = _unescape_html(text)
    if "\\" in text:
        text = _BACKSLASH.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), text)
    if "${" in text:
        text = _LOOKUP.sub(lambda found: found[1] or found[2], text)
    return text


def _unescape_html(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:  # a number of thousands of digits
        return text


def _plus_as_space(text: str) -> str:
    """In a form or a query, which has no spaces of its own, a plus is one."""
    return text.replace("+", " ") if "=" in text and " " not in text else text


def embedded_texts(text: str) -> list[str]:
    """The texts that base64 and hexadecimal tokens of ``text`` stand for; what decodes to no text is no such token.

    >>> embedded_texts("run aGVsbG8gd29ybGQgYWdhaW4= now")
    ['hello world again']
    """
    found = [_from_base64(match[0]) for match in _first(_BASE64, text)]
    if "0x" in text:
        found += [_readable(bytes.fromhex(match[1])) for match in _first(_HEX_TEXT, text)]
    return [decoded for decoded in found if decoded]


def _first(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    found = []
    for match in pattern.finditer(text):
        if match.end() - match.start() <= MAX_TOKEN_CHARS:
            found.append(match)
            if len(found) == MAX_TOKENS:
                break
    return found


def _from_base64(token: str) -> str:
    token = token.rstrip("=").translate(_URL_SAFE)
    token = token[: len(token) - (len(token) % 4 == 1)]  # a cut token loses its last sextet, not its meaning
    try:
        return _readable(base64.b64decode(token + "=" * (-len(token) % 4), validate=True))
    except binascii.Error:
        return ""


def _readable(content: bytes) -> str:
    """Bytes as text, or "" when they are none: UTF-16LE when every other byte is zero, else ASCII or UTF-8."""
    if len(content) >= 8 and not any(content[1:9:2]) and not any(content[1::2][:64]):
        content = content[::2]  # of ASCII in UTF-16LE
    sample = content[:256]
    if sum(byte in _TEXT_BYTES for byte in sample) == len(sample):
        return content.decode("ascii", "replace")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    # Random bytes are UTF-8 by chance when they are few; text of other scripts is printable throughout.
    return text if len(content) >= 24 and text.replace("\n", " ").replace("\t", " ").isprintable() else ""
