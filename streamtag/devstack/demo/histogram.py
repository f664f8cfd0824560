"""A score histogram as one line of text, with a mark at the threshold."""

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from streamtag.devstack.demo.statistics import BINS, bin_of_scores

__all__ = ["axis", "sparkline"]

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:-=+*#@"
_TICKS = {".0001": 0.0, ".001": 0.25, ".01": 0.5, ".1": 0.75, "1": 1.0}


def sparkline(bins: NDArray[np.int64], threshold: float | None, width: int, *, ascii_only: bool = False) -> Text:
    """``width`` characters: what lies right of the mark is tagged.

    Args:
        bins: counts, int64 [BINS].
        threshold: where the mark goes; None = no mark.
        width: characters, the mark included.
        ascii_only: for terminals that cannot show blocks.
    """
    columns = width - 1
    counts = np.bincount(np.arange(BINS) * columns // BINS, weights=bins, minlength=columns)
    # square roots: the few that are tagged must be seen beside the many that are not
    heights = np.sqrt(counts / max(1.0, float(counts.max())))
    levels = np.ceil(heights * 8).astype(int)
    bars = "".join((_ASCII if ascii_only else _BLOCKS)[level] for level in levels)
    if threshold is None:
        return Text(bars + " ", style="cyan")
    mark = int(bin_of_scores(np.array([threshold]))[0]) * columns // BINS
    return Text.assemble(
        (bars[:mark], "cyan"), ("|" if ascii_only else "│", "bold yellow"), (bars[mark:], "bold magenta")
    )


def axis(width: int) -> str:
    """The axis below `sparkline`: powers of ten at their places."""
    line = [" "] * width
    for text, place in _TICKS.items():
        at = min(round(place * (width - 1)), width - len(text))
        line[at : at + len(text)] = text
    return "".join(line)
