"""Isolating what breaks a batch."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from streamtag.errors import without_frames

Item = TypeVar("Item")
Result = TypeVar("Result")


def bisect(
    run: Callable[[Sequence[Item]], Sequence[Result]],
    items: Sequence[Item],
    on_split: Callable[[], None] = lambda: None,
) -> tuple[list[Result | None], dict[int, Exception]]:
    """Runs ``run`` on all items; when it raises, halves the batch until each offender stands alone.

    One bad item costs at most ``2 log2(n)`` further runs; its neighbours are not affected.

    Args:
        run: batch function; returns one result per item, in order.
        items: the batch.
        on_split: called for every batch cut in two.

    Returns:
        Results in the order of ``items`` (None where it failed), and index to exception of each that fails alone.
    """
    results: list[Result | None] = [None] * len(items)
    failures: dict[int, Exception] = {}
    pending = [(0, len(items))] if items else []
    while pending:
        start, end = pending.pop()
        try:
            results[start:end] = run(items[start:end])
        except Exception as error:  # noqa: BLE001 - a model may raise anything; each failure is returned and counted
            if end - start == 1:
                failures[start] = without_frames(error)
            else:
                on_split()
                middle = (start + end) // 2
                pending += [(middle, end), (start, middle)]
    return results, failures
