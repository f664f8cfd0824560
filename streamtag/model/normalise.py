"""One spelling for texts that look the same: the first half of the preprocessing contract.

The tables below are part of the contract ``hashed-ngrams/1``: a change to any of them is a new contract, because a
model must be served with the text it was trained on. Characters follow the Unicode tables of the running Python.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby

import msgspec

# Latin letters, followed by letters of other scripts (Cyrillic, Greek, Armenian, Cherokee, Lisu) that look like them.
# Compatibility forms (full-width, mathematical, circled) are not here: NFKC folds those.
_LOOKALIKES = """
A ΑАᎪꓮ  B ΒВᏴꓐ  C СϹᏟꓚ  D ᎠꓓԀ  E ΕЕᎬꓰ  F Ϝꓝ  G ԌᏀꓖ  H ΗНᎻꓧ  I ΙІӀꓲ  J ЈᎫꓙ  K ΚКᏦꓗ  L ᏞꓡԼ  M ΜМᎷꓟ
N Νꓠ  O ΟОՕꓳ  P ΡРᏢꓑ  Q Ԛ  R ᎡꓣԻ  S ЅՏᏚꓢ  T ΤТᎢꓔ  U Սꓴ  V ѴᏙꓦ  W ԜᎳꓪ  X ΧХꓫ  Y ΥУҮҰꓬ  Z ΖᏃꓜ
a аα  b Ьƅ  c сϲ  d ԁɗ  e еєҽ  f ƒϝ  g ցɡ  h һհ  i іıɩι  j јϳ  k кκ  l ӏӀ  m мm  n ոп  o оοօσ  p рρ  q ԛգ  r г
s ѕ  t тτ  u սυц  v ѵν  w ԝшω  x хχ  y уγү  z ᴢ
"""


def _lookalike_table() -> dict[str, str]:
    cells = _LOOKALIKES.split()
    table: dict[str, str] = {}
    for latin, others in zip(cells[::2], cells[1::2], strict=True):
        for other in others:
            if not other.isascii():
                table.setdefault(other, latin)
    return table


_CONFUSABLES = _lookalike_table()
_CONFUSABLE = re.compile(f"[{''.join(_CONFUSABLES)}]")
# Soft hyphen, grapheme joiner, Hangul and Khmer fillers, zero-width and direction marks, word joiner and invisible
# operators, variation selectors, byte order mark, tag characters.
_INVISIBLE_SET = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff"
)
# Combining marks of Latin, Greek and Cyrillic, and those for symbols; what NFKC composes (é) is a letter and stays.
_MARK_SET = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"

_INVISIBLE = re.compile(f"[{_INVISIBLE_SET}]+")
_MARKS = re.compile(f"[{_MARK_SET}]+")
_REMOVABLE = re.compile(f"[{_INVISIBLE_SET}{_MARK_SET}]")  # one look, for the many texts that have neither
# Not marks themselves, but NFKC makes marks of them.
_MARKS_IN_DISGUISE = {
    "\u0f73": "\u0f71\u0f72",
    "\u0f75": "\u0f71\u0f74",
    "\u0f81": "\u0f71\u0f80",
    "\uff9e": "\u3099",
    "\uff9f": "\u309a",
}
# NFKC sorts a run of marks by exchanging neighbours, in quadratic time; up to this length nobody notices.
_SHORT = 256
_RUN = 32
_LONG_RUN = re.compile(rf"[^\w\s]{{{_RUN},}}+")  # all marks are in it: none is a letter
_IN_A_RUN = re.compile(r"[^\w\s]")


class Normalisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which steps a bundle wants, in the order they are applied.

    Attributes:
        nfkc: Unicode compatibility composition.
        drop_invisible: removes zero-width, direction and filler characters.
        drop_marks: removes combining marks that NFKC left over.
        fold_confusables: letters of other scripts that look Latin become Latin. For models of Latin-script text only.
        casefold: case is removed.
        blank_controls: ASCII control characters, line ends included, count as spaces.
    """

    nfkc: bool = True
    drop_invisible: bool = True
    drop_marks: bool = True
    fold_confusables: bool = True
    casefold: bool = True
    blank_controls: bool = True


def normalise(text: str, rules: Normalisation) -> str:
    """Applies all of ``rules`` but the two that work on bytes (see `byte_table`), which finish the job.

    ASCII text comes back as it is: nothing but those two can change it.
    """
    return text if text.isascii() else fold(compose(text, rules), rules)


def cut(text: str, head: int, tail: int) -> str:
    """A text that is too long as its first ``head`` and last ``tail`` characters, with a space between them."""
    if len(text) <= head + tail:
        return text
    return f"{text[:head]} {text[len(text) - tail :]}" if tail else text[:head]


def compose(text: str, rules: Normalisation) -> str:
    """The first half, which can lengthen a text: NFKC makes up to 18 characters of one."""
    # Invisible first: one between a letter and its accent would keep NFKC from composing them.
    if rules.drop_invisible and _REMOVABLE.search(text):
        text = _INVISIBLE.sub("", text)
    if rules.nfkc:
        text = unicodedata.normalize("NFKC", text if len(text) <= _SHORT else _with_marks_in_order(text))
    return text


def fold(text: str, rules: Normalisation) -> str:
    """The second half, on what `compose` returned."""
    if _REMOVABLE.search(text):
        if rules.drop_invisible:
            text = _INVISIBLE.sub("", text)
        if rules.drop_marks:
            text = _MARKS.sub("", text)
    if rules.fold_confusables:
        text = _fold_confusables(text)
    return text.casefold() if rules.casefold else text


def _fold_confusables(text: str) -> str:
    # A letter at a time, all of it at once: a text has few different ones, and many of each.
    found = _CONFUSABLE.search(text)
    while found:
        text = text.replace(found[0], _CONFUSABLES[found[0]])
        found = _CONFUSABLE.search(text, found.end())
    return text


def _with_marks_in_order(text: str) -> str:
    """A text that NFKC makes the same of, with long runs of marks in the order that NFKC gives them."""
    for disguised, marks in _MARKS_IN_DISGUISE.items():
        text = text.replace(disguised, marks)
    if not _IN_A_RUN.search(text[_RUN - 1 :: _RUN]):  # a run has one of every so many characters
        return text
    return _LONG_RUN.sub(lambda run: "".join(_in_order(run[0])), text)


def _in_order(run: str) -> Iterator[str]:
    # Marks of one class, and all that are none (class 0), keep their order.
    for _, stretch in groupby(run, lambda character: unicodedata.combining(character) > 0):
        yield from sorted(stretch, key=unicodedata.combining)


def byte_table(rules: Normalisation) -> bytes:
    """The 256 bytes for `bytes.translate` that lower ASCII case and blank controls, one pass over a whole batch."""
    table = bytearray(range(256))
    if rules.casefold:
        table[ord("A") : ord("Z") + 1] = range(ord("a"), ord("z") + 1)
    if rules.blank_controls:
        for control in (*range(32), 127):
            table[control] = ord(" ")
    return bytes(table)
