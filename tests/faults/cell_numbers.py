"""Every integer that panes and windows should hold, counted from events."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pane_numbers import Numbers, count_cell

from streamtag.domain.scores import BINS, bin_of
from streamtag.events.panes import Cell

from .archive import Events
from .corpus import LANGS
from .window import LABELS

_DECLARED = ("de", "en")
_SEGMENT = [LANGS[code] if LANGS[code] in _DECLARED else "other" for code in range(len(LANGS))]


@dataclass(frozen=True, eq=False)
class Decided:
    """Events with what somebody decided of them.

    Attributes:
        events: n of them.
        release: index into the hashes that `numbers` is given [n]; several may be of one release.
        tagged: bool [n, labels].
        arm: control or candidate.
        shadow: nothing came of it.
    """

    events: Events
    release: NDArray[np.int64]
    tagged: NDArray[np.bool_]
    arm: str = "control"
    shadow: bool = False


def numbers(decided: Decided, releases: Sequence[str], width_ms: int) -> Numbers:
    """The counts of spans of this width, as `of_cells` gives them.

    Args:
        decided: what.
        releases: hashes.
        width_ms: of panes, or of windows.
    """
    found: Numbers = Counter()
    starts = decided.events.start_ms // width_ms * width_ms
    order = np.lexsort((decided.release, starts))
    edges = np.flatnonzero(np.diff(starts[order], prepend=-1) | np.diff(decided.release[order], prepend=-1))
    for of in np.split(order, edges[1:]) if len(order) else ():
        where = (int(starts[of[0]]), width_ms, releases[decided.release[of[0]]], decided.arm, decided.shadow)
        _count(found, where, decided.events.take(of), decided.tagged[of])
    return Counter({key: n for key, n in found.items() if n})


def _count(found: Numbers, where: tuple[Any, ...], events: Events, tagged: NDArray[np.bool_]) -> None:
    found[*where, "events"] += len(events)
    found[*where, "by_arrival"] += int(events.by_arrival.sum())
    for j, label in enumerate(LABELS):
        found[*where, label, "alerts"] += int(tagged[:, j].sum())
        found[*where, label, "sum_micro"] += int(events.micro[:, j].sum())
        for place, n in enumerate(np.bincount(bin_of(events.micro[:, j]), minlength=BINS).tolist()):
            if n:
                found[*where, label, "bin", place] += n
    for i, j in itertools.combinations(range(len(LABELS)), 2):
        first, second = sorted((LABELS[i], LABELS[j]))
        found[*where, "pairs", first, second] += int((tagged[:, i] & tagged[:, j]).sum())
    for code, value in enumerate(_SEGMENT):
        here = events.lang == code
        found[*where, "segments", "lang", value, "events"] += int(here.sum())
        for j, label in enumerate(LABELS):
            found[*where, "segments", "lang", value, "alerts", label] += int(tagged[here, j].sum())


def of_cells(spans: Iterable[tuple[int, int, Sequence[Cell]]]) -> Numbers:
    """The same of cells, each with the start and the width of its span; rows of experiments are left out."""
    found: Numbers = Counter()
    for start_ms, width_ms, cells in spans:
        for cell in cells:
            where = (start_ms, width_ms, cell.release_sha256, cell.arm, cell.shadow is True)
            count_cell(found, where, cell)
    return Counter({key: n for key, n in found.items() if n})


def differences(said: Numbers, counted: Numbers, most: int = 3) -> list[str]:
    """Words for the first few integers that are not equal, and how many they are."""
    wrong = sorted((key for key in said.keys() | counted.keys() if said[key] != counted[key]), key=str)
    told = [f"{key}: {said[key]} instead of {counted[key]}" for key in wrong[:most]]
    return [*told, f"{len(wrong)} integers differ in all"] if wrong else []
