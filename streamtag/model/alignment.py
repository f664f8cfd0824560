"""From the bytes that a text is hashed as, back to the characters as they were written."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from streamtag.model.ngrams import NgramContract
from streamtag.model.normalise import compose, fold
from streamtag.model.unmask import unmask
from streamtag.model.word_ngrams import WordNgramContract

__all__ = ["Character", "aligned"]

_TRIES = 16


class Character(NamedTuple):
    """One character of a text on its way, and the stretch of the original that it comes from.

    ``start == end`` for the space that stands for what was cut out.
    """

    value: str
    start: int
    end: int


def aligned(text: str, contract: NgramContract) -> list[Character]:
    """`Featuriser.encode`, step by step, with where everything comes from.

    Returns:
        Characters whose UTF-8 (lone surrogates as ``?``) is what the text is hashed as.
    """
    characters = _cut([Character(value, i, i + 1) for i, value in enumerate(text)], contract)
    if not "".join(c.value for c in characters).isascii():
        rules = contract.normalisation
        composed = _cut(_through(characters, lambda part: compose(part, rules)), contract)
        characters = _through(composed, lambda part: fold(part, rules))
    return _through(characters, unmask) if isinstance(contract, WordNgramContract) else characters


def _cut(characters: list[Character], contract: NgramContract) -> list[Character]:
    head, tail = contract.head_chars, contract.tail_chars
    if len(characters) <= head + tail:
        return characters
    if not tail:
        return characters[:head]
    at = characters[head].start
    return [*characters[:head], Character(" ", at, at), *characters[len(characters) - tail :]]


def _through(characters: list[Character], step: Callable[[str], str]) -> list[Character]:
    """The characters after ``step``; those that it mixes share a stretch."""
    text = "".join(character.value for character in characters)
    found = []
    for start, end, result in _pieces(text, step, 0, len(text), step(text)):
        if len(result) == end - start and text[start:end].isascii():
            found += [c._replace(value=v) for c, v in zip(characters[start:end], result, strict=True)]
        else:
            whole = [c for c in characters[start:end] if c.start < c.end] or characters[start:end]
            first, last = min(c.start for c in whole), max(c.end for c in whole)
            found += [Character(value, first, last) for value in result]
    return found


def _pieces(text: str, step: Callable[[str], str], start: int, end: int, result: str) -> Iterator[tuple[int, int, str]]:
    """The finest parts found of ``text[start:end]`` that ``step`` treats as if they stood alone.

    Cut in the middle, or as near to it as it takes: a cut is good when the two sides come out as they do together.
    """
    if end - start <= 1 or not result or (len(result) == end - start and text[start:end].isascii()):
        if end > start:
            yield start, end, result
        return
    middle = (start + end) // 2
    for distance in range(_TRIES):
        for cut in {middle - distance, middle + distance}:
            if start < cut < end:
                left, right = step(text[start:cut]), step(text[cut:end])
                if left + right == result:
                    yield from _pieces(text, step, start, cut, left)
                    yield from _pieces(text, step, cut, end, right)
                    return
    yield start, end, result
