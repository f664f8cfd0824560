"""What is done to a text before a tokenizer, or a graph that reads strings, sees it."""

import msgspec

from streamtag.model.normalise import Normalisation, compose, cut, fold
from streamtag.model.word_ngrams import plain_spelling

MAX_CHARS = 100_000


class TextRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps in the order they are applied.

    Attributes:
        head_chars, tail_chars: a longer text is read at its first and last characters only, so that what one event
            can cost is bounded.
        normalisation: of what looks the same, as in ``hashed-ngrams/1``; None: the text stays as it was written.
        unmask: words that are spelled apart, drawn out, or in signs are put together, as in ``hashed-ngrams/2``.
        lowercase: by Unicode's rules (`str.lower`, as scikit-learn does), with no need of a locale.
    """

    head_chars: int = 1_500
    tail_chars: int = 500
    normalisation: Normalisation | None = None
    unmask: bool = False
    lowercase: bool = False

    def apply(self, text: str) -> str:
        """The text as the model reads it: without lone surrogates, which no UTF-8 has, and without NUL."""
        text = cut(text, self.head_chars, self.tail_chars)
        if self.normalisation is not None and not text.isascii():
            composed = cut(compose(text, self.normalisation), self.head_chars, self.tail_chars)
            text = fold(composed, self.normalisation)
        if self.unmask:
            text = plain_spelling(text)
        if self.lowercase:
            text = text.lower()
        # A string in a graph ends at a NUL.
        return text.encode("utf-8", "replace").decode().replace("\0", " ")


def cut_problems(head_chars: int, tail_chars: int) -> list[str]:
    """What is wrong with how a text is cut."""
    found = []
    if head_chars < 1 or tail_chars < 0:
        found.append("must read at least one character of the head")
    if head_chars + tail_chars > MAX_CHARS:
        found.append(f"reads more than {MAX_CHARS} characters of a text")
    return found
