"""The audit stream in Redis: appending links to its chain, and reading it from end to end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import redis

from streamtag.control.connection import Keys, guarded
from streamtag.domain.audit_chain import Fields, Head, link
from streamtag.errors import ConflictError, RefusedError

__all__ = ["AuditLog"]

_TRIES = 200  # fifty operators at once never made it more than a handful
_PAGE = 1_000
_MOVED = b"audit moved"


class AuditLog:
    """Of one namespace. Every method raises `UnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis, keys: Keys, where: str) -> None:
        self._client = client
        self._keys = keys
        self._where = where

    def head(self) -> Head:
        """The newest link, as it is kept beside the stream.

        Raises:
            RefusedError: it is damaged.
        """
        with guarded(self._where, "read the head of the audit stream"):
            found: Any = self._client.hmget(self._keys.audit_head, ["number", "sha256"])
        number, sha256 = found
        if number is None or sha256 is None:
            return Head()
        if not number.isdigit():
            raise RefusedError("the head of the audit stream in Redis cannot be read", hint="`streamtag audit verify`")
        return Head(int(number), sha256.decode())

    def append(self, fields: Mapping[str, str], run: Callable[[list[bytes]], Sequence[Any]]) -> Sequence[Any]:
        """Has a script append an entry with whatever else it does, all or nothing.

        The hash is computed here, and the script compares the head that it was computed from. Where another entry came
        first nothing was written, and it is tried again: that is no conflict between two who change things.

        Args:
            fields: of the entry, without those of the chain.
            run: the script, given its last arguments (see ``lua/shared.lua``); safe to repeat. Its reply.
        """
        for _ in range(_TRIES):
            head = self.head()
            _, entry = link(head, fields)
            reply = run([head.sha256.encode(), *(part for pair in entry for part in pair)])
            if list(reply[:1]) != [_MOVED]:
                return reply
        raise ConflictError(f"{_TRIES} others wrote to the audit stream first; nothing was written", hint="Try again.")

    def entries(self) -> Iterator[tuple[str, Fields]]:
        """Id and fields of every entry, the oldest first."""
        after = "-"
        while True:
            with guarded(self._where, "read the audit stream"):
                page: Any = self._client.xrange(self._keys.audit, min=after, count=_PAGE)
            for entry, fields in page:
                yield entry.decode(), list(fields.items())
            if len(page) < _PAGE:
                return
            after = f"({page[-1][0].decode()}"
