"""Explanations for people and machines: words coloured by what they add to a label's logit."""

from collections.abc import Sequence

import msgspec
from rich.text import Text

from streamtag.cli.context import printable, stdout
from streamtag.model.explain import Explanation, Span

__all__ = ["ExplainedLabel", "as_json", "show"]

_RAISES, _LOWERS = (200, 40, 40), (40, 90, 200)
_FAINT = 0.04
"""Share of the heaviest word below which a word is not coloured."""


class ExplainedLabel(msgspec.Struct, frozen=True):
    """`Explanation` as JSON; places are code points of the text as it was given."""

    label: str
    score: float
    logit: float
    bias: float
    method: str
    spans: list[Span]


def as_json(found: Sequence[Explanation]) -> list[ExplainedLabel]:
    """Explanations as the output has them."""
    return [ExplainedLabel(e.label, e.score, e.logit, e.bias, e.method, list(e.spans)) for e in found]


def show(name: str, text: str, found: Sequence[Explanation]) -> None:
    """Prints one text, once for each label: what raised its score is red, what lowered it is blue."""
    for explanation in found:
        given = explanation.logit - explanation.bias
        head = f"{printable(name)}  {explanation.label} {explanation.score:.3f}"
        sum_ = f"logit {explanation.logit:+.2f} = {explanation.bias:+.2f} without words {given:+.2f} by words"
        stdout.print(Text.assemble((head, "bold"), f"  {sum_}", (f"  ({explanation.method})", "dim")), soft_wrap=True)
        stdout.print(coloured(text, explanation.spans), soft_wrap=True)


def coloured(text: str, spans: Sequence[Span]) -> Text:
    """The text with a background for each word, the stronger the more it weighs."""
    shown = Text("".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text))
    heaviest = max((abs(span.weight) for span in spans), default=0.0)
    for span in spans:
        share = abs(span.weight) / heaviest
        if share >= _FAINT:
            red, green, blue = (round(share * c) for c in (_RAISES if span.weight > 0 else _LOWERS))
            shown.stylize(f"white on rgb({red},{green},{blue})", span.start, span.end)
    return shown
