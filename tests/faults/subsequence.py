"""Where one sequence stands in another, some of which is left out."""

from collections.abc import Sequence


def narrowest(where: Sequence[int], what: Sequence[int]) -> list[int] | None:
    """Indices of the elements of ``what`` in ``where``, in order, over the narrowest stretch; None where there is none.

    >>> narrowest([1, 2, 1, 7, 2, 3], [1, 2, 3])
    [2, 4, 5]
    >>> narrowest([1, 2], [2, 1])
    """
    best: list[int] | None = None
    start = 0
    while (end := _end(where, what, start)) is not None:
        found = _back(where, what, end)
        if best is None or found[-1] - found[0] < best[-1] - best[0]:
            best = found
        if found[-1] - found[0] + 1 == len(what):
            break  # there is nothing narrower
        start = found[0] + 1
    return best if what else []


def _end(where: Sequence[int], what: Sequence[int], start: int) -> int | None:
    """Behind the earliest end of ``what`` that begins at ``start`` or later."""
    at = 0
    for place in range(start, len(where)):
        if at < len(what) and where[place] == what[at]:
            at += 1
            if at == len(what):
                return place + 1
    return None


def _back(where: Sequence[int], what: Sequence[int], end: int) -> list[int]:
    """The latest indices of ``what`` before ``end``."""
    found: list[int] = []
    place = end
    for wanted in reversed(what):
        place -= 1
        while where[place] != wanted:
            place -= 1
        found.append(place)
    return found[::-1]
