"""Reading and writing change requests in Redis; every write is one script together with its audit entry."""

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from streamtag.control.change_documents import ChangeRequest, Step, decode_request, encode_request
from streamtag.control.change_index import ChangeIndex, place_of
from streamtag.control.connection import guarded, run_script
from streamtag.control.store import ControlStore, RequestStep
from streamtag.domain.change import State
from streamtag.errors import ConflictError, NotFoundError, RefusedError

__all__ = ["ChangeLog", "audit_of"]

log = logging.getLogger(__name__)

_PAGE = 200
_TRIES = 50


class ChangeLog:
    """The change requests of one namespace. All raise `UnavailableError` when Redis does not answer in time."""

    def __init__(self, store: ControlStore) -> None:
        self.store = store
        self._index = ChangeIndex(store.client, store.keys)

    def find(self, number: int) -> tuple[ChangeRequest, bytes]:
        """A request, and its bytes: what the next step compares with.

        Raises:
            NotFoundError: there is none of this number.
        """
        with guarded(self.store.where, f"read change request {number}"):
            raw: Any = self.store.client.get(self.store.keys.change_request(number))
        if raw is None:
            raise NotFoundError(f"there is no change request {number}", hint="`streamtag change list` names them.")
        return decode_request(raw, number), bytes(raw)

    def newest(self) -> int:
        """The highest number there is; 0: none."""
        with guarded(self.store.where, "read the change requests"):
            found: Any = self.store.client.hget(self.store.keys.heads, "change-request")
        return int(found or 0)

    def page(self, limit: int, *, before: int | None = None, states: Collection[State] = ()) -> list[ChangeRequest]:
        """At most ``limit`` requests, newest first: of these states (none: of all), numbered below ``before``.

        One that cannot be read, as of a version to come, is logged and left out: it must not hide the others.
        """
        newest = self.newest()
        below = newest + 1 if before is None else min(before, newest + 1)
        found: list[ChangeRequest] = []
        with guarded(self.store.where, "read the change requests"):
            if states:
                self._index.complete(newest)
            while len(found) < limit:
                size = min(limit - len(found), _PAGE)
                numbers = self._index.newest(states, below, size) if states else _down(below, size)
                if not numbers:
                    break
                found += self._read(numbers, states)
                below = numbers[-1]
        return found

    def for_a_time(self, limit: int | None = None, *, before: int | None = None) -> list[ChangeRequest]:
        """Requests that are live and go back by themselves, newest first, however old: numbered below ``before``."""
        numbers = sorted((one for one in self.due() if before is None or one < before), reverse=True)
        found: list[ChangeRequest] = []
        with guarded(self.store.where, "read the change requests"):
            for first in range(0, len(numbers), _PAGE):
                found += [one for one in self._read(numbers[first : first + _PAGE], ()) if one.state is State.LIVE]
                if limit is not None and len(found) >= limit:
                    break
        return found[:limit]

    def _read(self, numbers: Sequence[int], states: Collection[State]) -> list[ChangeRequest]:
        raws: Any = self.store.client.mget([self.store.keys.change_request(one) for one in numbers])
        requests = [_readable(raw, one) for one, raw in zip(numbers, raws, strict=True) if raw is not None]
        readable = [one for one in requests if one is not None]
        elsewhere = [one.number for one in readable if states and one.state not in states]
        if elsewhere:  # it went on in this very moment, or an earlier version, which knows no index, has brought it on
            self._index.place(elsewhere)
        return [one for one in readable if one.number not in elsewhere]

    def due(self, by: datetime | None = None) -> list[int]:
        """Numbers of requests to which something may happen by itself by then (None: ever), the longest due first."""
        latest = "+inf" if by is None else f"{by.timestamp() * 1000:.0f}"
        with guarded(self.store.where, "read what is due"):
            found: Any = self.store.client.zrangebyscore(self.store.keys.requests_due, "-inf", latest)
        return [int(number) for number in found]

    def open(self, make: ChangeRequest) -> ChangeRequest:
        """Writes a new request, under the next number that is free."""
        for _ in range(_TRIES):
            request = replace(make, number=self.newest() + 1)
            done = self._run(b"", request, "change-open", request.author, request.reason, request.at)
            if done == b"done" or self._went_on(request):
                return request
        raise ConflictError("others opened change requests all the while; nothing was written", hint="Try again.")

    def advance(self, before: bytes, request: ChangeRequest) -> None:
        """Writes the last step of ``request``, where its document is still ``before``.

        Raises:
            ConflictError: somebody else was first.
        """
        step = request.steps[-1]
        done = self._run(before, request, f"change-{step.action}", step.by, step.comment or request.reason, step.at)
        if done != b"done" and not self._went_on(request):
            present, _ = self.find(request.number)
            raise ConflictError(
                f"{_latest(present)} first; nothing was written",
                hint=f"Look at `streamtag change show {request.number}`.",
            )

    def _went_on(self, request: ChangeRequest) -> bool:
        """Whether it was written all the same: the reply of an earlier try was lost, and somebody else went on."""
        with suppress(NotFoundError, RefusedError):
            present, _ = self.find(request.number)
            same = (present.author, present.at, present.reason) == (request.author, request.at, request.reason)
            return same and present.steps[: len(request.steps)] == request.steps
        return False

    def _run(self, before: bytes, request: ChangeRequest, action: str, by: str, reason: str, at: datetime) -> bytes:
        step, about = audit_of(before, request)
        audit = {"action": action, "author": by, "reason": reason, "at": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}", **about}
        keys = self.store.keys
        places = [keys.change_request(request.number), keys.requests_due, keys.heads, keys.audit, keys.audit_head]
        places.append(keys.requests_by_state)
        with guarded(self.store.where, f"write change request {request.number}; whether it was written is unknown"):
            reply: Any = self.store.audit_log.append(
                audit, lambda entry: run_script(self.store.client, "request", places, [*step.arguments, *entry])
            )
        return bytes(reply[0])


def _down(below: int, size: int) -> range:
    return range(below - 1, max(0, below - 1 - size), -1)


def _readable(raw: bytes, number: int) -> ChangeRequest | None:
    try:
        return decode_request(raw, number)
    except RefusedError as error:
        log.warning("%s", error.message)
        return None


def audit_of(before: bytes, request: ChangeRequest) -> tuple[RequestStep, Mapping[str, str]]:
    """A step of a request for the scripts, and what the audit entry says of it."""
    raw, sha256 = encode_request(request)
    about = {
        "request": str(request.number),
        "request_sha256": sha256,
        "request_state": request.state.value,
        "request_author": request.author,
        **({"approved_by": request.approved_by} if request.approved_by else {}),
        **({"ticket": request.ticket} if request.ticket else {}),
        **({"kept": "; ".join(request.kept)} if request.kept else {}),
    }
    return RequestStep(request.number, before, raw, request.due_ms, place_of(request)), about


def _latest(request: ChangeRequest) -> str:
    step = request.steps[-1] if request.steps else Step(action="open", by=request.author, at=request.at)
    return f"{step.by}: {step.action} of change {request.number} at {step.at:%Y-%m-%d %H:%M:%S} UTC came"
