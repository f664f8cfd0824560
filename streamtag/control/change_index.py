"""Which change requests are in which state: a sorted set, so that lists read what they show and no more.

Every script that writes a request writes its place, too, and both lie in one Redis: they come and go together. What an
earlier version has written has no place, or a wrong one; it gets its own as soon as somebody asks, or asks for those of
its old state.
"""

from collections.abc import Collection, Sequence
from typing import Any

import redis

from streamtag.control.change_documents import ChangeRequest, decode_request
from streamtag.control.connection import Keys
from streamtag.domain.change import State
from streamtag.errors import RefusedError

__all__ = ["ChangeIndex", "place_of"]

_PAGE = 200
_ROOM = 1 << 40  # numbers of one state; with the state above them, a double holds every place exactly
_SHELVES = {
    State.DRAFT: 1,
    State.APPROVED: 2,
    State.LIVE: 3,
    State.EXPIRED: 4,
    State.RESTORED: 5,
    State.REJECTED: 6,
    State.WITHDRAWN: 7,
}
"""Redis holds them: a state that is new gets another number, and none is ever given anew."""
_UNREADABLE = 0


def place_of(request: ChangeRequest) -> int:
    """Its score: state first, then number."""
    return _SHELVES[request.state] * _ROOM + request.number


class ChangeIndex:
    """The index of one namespace. Raises what the client raises: see `streamtag.control.connection.guarded`."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def newest(self, states: Collection[State], below: int, limit: int) -> list[int]:
        """At most ``limit`` numbers below this one, descending: of requests in these states, or unreadable ones."""
        pipeline = self._client.pipeline(transaction=True)
        for shelf in (_UNREADABLE, *(_SHELVES[state] for state in set(states))):
            least, most = shelf * _ROOM, shelf * _ROOM + below - 1
            pipeline.zrange(self._keys.requests_by_state, most, least, desc=True, byscore=True, offset=0, num=limit)
        found: list[list[bytes]] = pipeline.execute()
        return sorted((int(number) for numbers in found for number in numbers), reverse=True)[:limit]

    def complete(self, newest: int) -> None:
        """Gives all requests up to ``newest`` their places where one has none."""
        # As many places as numbers: none is missing. A rank tells, too, and needs no right (ZCARD) that others lack.
        if newest and not self._client.zrange(self._keys.requests_by_state, newest - 1, newest - 1):
            for first in range(1, newest + 1, _PAGE):
                self.place(range(first, min(first + _PAGE, newest + 1)))

    def place(self, numbers: Sequence[int]) -> None:
        """Gives these requests the places of their present states, whatever else is written meanwhile."""
        documents = [self._keys.change_request(number) for number in numbers]

        def write(pipeline: Any) -> None:
            raws = pipeline.mget(documents)
            places = {str(number): _place(raw, number) for number, raw in zip(numbers, raws, strict=True)}
            pipeline.multi()
            pipeline.zadd(self._keys.requests_by_state, places)

        self._client.transaction(write, *documents)


def _place(raw: bytes | None, number: int) -> int:
    try:
        return number if raw is None else place_of(decode_request(raw, number))
    except RefusedError:
        return number
