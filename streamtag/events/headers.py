"""Reading the headers of a consumed record, safely."""

import operator
from collections.abc import Callable, Sequence

from confluent_kafka import Message

Headers = Sequence[tuple[str, bytes | None]] | None

# On a header name that is not UTF-8, confluent-kafka returns a list with a hole *and* sets an exception. Called from C,
# that is a SystemError; a hot `record.headers()` in bytecode is specialised, skips that check, and the process crashes
# when it reads the hole.
_headers: Callable[[Message], Headers] = operator.methodcaller("headers")


def read_headers(record: Message) -> Headers:
    """All headers in order, None where there are none.

    Raises:
        UnicodeError: a name is not UTF-8; the record has no headers from now on.
    """
    try:
        return _headers(record)
    except SystemError:
        record.set_headers([])  # what is left behind crashes whoever reads it
        raise UnicodeError("the name of a header is not UTF-8") from None


def readable_headers(record: Message) -> Headers:
    """As `read_headers`, but None where a name is not UTF-8: for a record that is refused already."""
    try:
        return read_headers(record)
    except UnicodeError:
        return None
