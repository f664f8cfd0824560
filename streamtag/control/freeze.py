"""A freeze: until it is lifted, or its end, nothing that decides changes, but for the way back.

The scripts that change anything look themselves, so that nothing slips through between a look and a change.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from streamtag.control.connection import guarded, run_script
from streamtag.control.documents import Time
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.errors import ConflictError, NotFoundError, RefusedError

__all__ = ["Freeze", "Freezes", "FrozenError", "frozen_error"]


class FrozenError(RefusedError):
    """A change while everything is frozen. Says by whom, why and until when."""


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """Who said that nothing changes, when, why and until when (None: until somebody lifts it)."""

    author: str
    reason: str
    at: Time
    until: Time | None = None

    def __str__(self) -> str:
        """In words."""
        end = "" if self.until is None else f", until {self.until:%Y-%m-%d %H:%M:%S} UTC"
        return f'{self.author} at {self.at:%Y-%m-%d %H:%M:%S} UTC, "{self.reason}"{end}'


class Freezes:
    """The freeze of one namespace. All raise `UnavailableError` when Redis does not answer in time.

    Args:
        store: the control plane.
        now: the clock that dates documents; None: that of Redis, by which a freeze ends, whatever this host's says.
    """

    def __init__(self, store: ControlStore, *, now: Callable[[], datetime] | None = None) -> None:
        self._store = store
        self._now = now or self._server_time

    def current(self) -> Freeze | None:
        """What holds now; None where nothing is frozen."""
        return self._present()[1]

    def begin(self, who: Who, *, lasts: timedelta | None = None) -> Freeze:
        """From now on nothing changes, for so long or until it is lifted.

        Raises:
            RefusedError: no author, no reason, or no time.
            ConflictError: it is frozen already.
        """
        problems = [*who.problems(), *(["for: not above 0"] if lasts is not None and lasts <= timedelta(0) else [])]
        if problems:
            raise RefusedError("the freeze cannot begin", problems=problems)
        at = self._now()
        freeze = Freeze(author=who.author, reason=who.reason, at=at, until=None if lasts is None else at + lasts)
        standing = self._swap(b"", msgspec.json.encode(freeze), freeze.until, who, "freeze", at)
        if standing is not None:
            raise ConflictError(
                f"it is frozen already: {_read(standing)}; nothing was written" if standing else "it was just unfrozen",
                hint='`streamtag freeze off --reason "…"` lifts it.',
            )
        return freeze

    def lift(self, who: Who) -> Freeze:
        """Lets changes through again.

        Raises:
            RefusedError: no author or no reason.
            NotFoundError: nothing is frozen.
            ConflictError: another freeze holds than a moment ago.
        """
        if who.problems():
            raise RefusedError("the freeze cannot be lifted", problems=who.problems())
        raw, freeze = self._present()
        if freeze is None:
            raise NotFoundError("nothing is frozen")
        standing = self._swap(raw, b"", None, who, "unfreeze", self._now())
        if standing:
            raise ConflictError(f"another freeze holds by now: {_read(standing)}; nothing was written")
        if standing is not None:
            raise NotFoundError("nothing is frozen any more: somebody was first, or its time has ended")
        return freeze

    def _server_time(self) -> datetime:
        with guarded(self._store.where, "read the time"):
            seconds, micros = self._store.client.time()
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)

    def _present(self) -> tuple[bytes, Freeze | None]:
        keys = self._store.keys
        with guarded(self._store.where, "read the freeze"):
            pipeline = self._store.client.pipeline(transaction=True)
            pipeline.hmget(keys.freeze, ["document", "until_ms"])
            pipeline.time()
            (raw, until_ms), (seconds, micros) = pipeline.execute()
        if raw is None or (until_ms and int(until_ms) <= seconds * 1000 + micros // 1000):
            return b"", None
        return raw, _read(raw)

    def _swap(
        self, before: bytes, new: bytes, until: datetime | None, who: Who, action: str, at: datetime
    ) -> bytes | None:
        """None where it is done; else the document that holds, empty where none does."""
        keys = self._store.keys
        until_ms = "" if until is None else round(until.timestamp() * 1000)
        audit = {"action": action, "author": who.author, "reason": who.reason, "at": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"}
        if until is not None:
            audit["until"] = f"{until:%Y-%m-%dT%H:%M:%S.%fZ}"
        with guarded(self._store.where, f"{action}; whether it is done is unknown"):
            reply: Any = self._store.audit_log.append(
                audit,
                lambda entry: run_script(
                    self._store.client,
                    "freeze",
                    [keys.freeze, keys.audit, keys.audit_head],
                    [before, new, until_ms, *entry],
                ),
            )
        return None if reply[0] == b"done" else bytes(reply[1])


def frozen_error(raw: str | bytes) -> FrozenError:
    """What a change is answered while ``raw``, a freeze, holds."""
    return FrozenError(
        f"everything is frozen: {_read(raw)}; nothing was written",
        hint='Only restore, return and `streamtag freeze off --reason "…"` go through.',
    )


def _read(raw: str | bytes) -> Freeze:
    try:
        return msgspec.json.decode(raw, type=Freeze)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(f"the freeze in Redis cannot be read: {error}", hint="Delete its key in Redis.") from None
