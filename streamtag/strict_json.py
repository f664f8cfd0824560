"""JSON that somebody else wrote, with one error for all that can be wrong with it."""

from typing import TypeVar

import msgspec

T = TypeVar("T")


def decode(content: bytes, form: type[T]) -> T:
    """Reads one document.

    Args:
        content: UTF-8.
        form: what it must be.

    Raises:
        msgspec.DecodeError: not JSON, or something else. `msgspec.json.decode` itself raises an error of its own for
            bytes that are no UTF-8, and another one for what is nested too deeply.
    """
    try:
        return msgspec.json.decode(content, type=form)
    except UnicodeDecodeError:
        raise msgspec.DecodeError("not UTF-8") from None
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None
