"""Cursors of long lists: where a page ends, for the next one to go on. Clients hand them back as they got them."""

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Query
from pydantic.json_schema import SkipJsonSchema

from streamtag.errors import RefusedError

__all__ = ["STREAM_ID", "Cursor", "StreamId", "cursor_of", "page", "position_of"]

STREAM_ID = r"^[0-9]{1,19}-[0-9]{1,19}\Z"
"""Of an entry of a Redis stream: both numbers have 64 bits, of which 19 digits are never more."""
StreamId = Annotated[str, msgspec.Meta(pattern=STREAM_ID)]
Item = TypeVar("Item")

Cursor = Annotated[
    str | SkipJsonSchema[None], Query(max_length=1_000, description="`next` of the page before; none: the first page.")
]


def cursor_of(position: object) -> str:
    """A position as a cursor."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def position_of(cursor: str | None, kind: Any) -> Any:
    """The reverse, of the type ``kind``; None for the first page.

    Raises:
        RefusedError: it is no cursor of this list.
    """
    if cursor is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        return msgspec.json.decode(raw, type=kind)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise RefusedError("cursor: not one of this list", hint="Send `next` of the page before, unchanged.") from None


def page(
    found: list[Item], limit: int, view: Callable[[Item], Any], position: Callable[[Item], object]
) -> dict[str, Any]:
    """One page of a list.

    Args:
        found: one more than ``limit`` where there are more.
        limit: items of a page.
        view: of an item.
        position: of the last item of a page, which the next one lies behind.
    """
    following = cursor_of(position(found[limit - 1])) if len(found) > limit else None
    return {"items": [view(one) for one in found[:limit]], "next": following}
