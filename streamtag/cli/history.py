"""Walking back through documents, each proven by the one after it."""

from collections.abc import Iterable
from itertools import islice
from typing import TypeVar

from streamtag.errors import NotFoundError, RefusedError, StreamtagError

Document = TypeVar("Document")


def newest(history: Iterable[Document], limit: int) -> tuple[list[Document], StreamtagError | None]:
    """The first documents of a walk, and what ended it early: one that is missing or damaged."""
    found: list[Document] = []
    try:
        for document in islice(history, limit):
            found.append(document)
    except (NotFoundError, RefusedError) as error:
        return found, error
    return found, None
