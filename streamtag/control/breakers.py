"""Breakers of labels as Redis holds them: one document that says which are open, and each it ever was, by number.

A label with an open breaker is tagged as ever, but its tags ask for review only. What tags carry is the number of the
document, so what they ask for can be computed again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from streamtag.control.connection import guarded, run_script
from streamtag.control.documents import Time
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.errors import ConflictError, NotFoundError, RefusedError

__all__ = ["NO_BREAKERS", "ActiveBreakers", "BreakerLog", "BreakerState", "Breakers"]

_TRIES = 10


class BreakerState(msgspec.Struct, frozen=True, kw_only=True):
    """Of one label: whether it is open, since when, by whom and why; what was counted, where a rule decided."""

    open: bool
    at: Time
    by: str
    reason: str
    events: int | None = None
    alerts: int | None = None


class Breakers(msgspec.Struct, frozen=True, kw_only=True):
    """Every label that ever had an open breaker; ``number`` counts the changes."""

    number: int = 0
    labels: dict[str, BreakerState] = {}


@dataclass(frozen=True)
class ActiveBreakers:
    """What whoever decides needs: the document's number, and labels whose tags ask for review only."""

    number: int = 0
    labels: frozenset[str] = frozenset()

    @property
    def told(self) -> int | None:
        """What decisions carry: the document's number, while any breaker is open."""
        return self.number if self.labels else None

    def action(self, label: str) -> str:
        """What a tag of this label asks for."""
        return "review" if label in self.labels else "tag"


NO_BREAKERS = ActiveBreakers()


class BreakerLog:
    """The breakers of one namespace. All raise `UnavailableError` when Redis does not answer in time.

    Args:
        store: the control plane.
        now: the clock that dates changes.
    """

    def __init__(self, store: ControlStore, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._now = now
        self._key = store.keys.prefix + "breakers"

    def present(self) -> Breakers:
        """As they are."""
        return self._read()[1]

    def active(self) -> ActiveBreakers:
        """Which are open."""
        found = self.present()
        return ActiveBreakers(found.number, frozenset(name for name, one in found.labels.items() if one.open))

    def at(self, number: int) -> Breakers:
        """As they were by this number.

        Raises:
            NotFoundError: they never were.
        """
        with guarded(self._store.where, f"read breakers {number}"):
            raw: Any = self._store.client.get(f"{self._key}:{number}")
        if raw is None:
            raise NotFoundError(f"there are no breakers {number} in Redis")
        return _decode(raw)

    def open(self, label: str, who: Who, *, events: int, alerts: int) -> bool:
        """Opens it; False where it is open already."""
        return self._change(label, True, who, {"events": events, "alerts": alerts})

    def close(self, label: str, who: Who) -> bool:
        """Closes it; False where it is closed already.

        Raises:
            RefusedError: no author or no reason.
            NotFoundError: the label never had an open one.
        """
        if who.problems():
            raise RefusedError("the breaker cannot be closed", problems=who.problems())
        if label not in self.present().labels:
            raise NotFoundError(f"label {label} has no breaker", hint="`streamtag breaker list` names them.")
        return self._change(label, False, who, {})

    def _change(self, label: str, open_: bool, who: Who, counted: Mapping[str, int]) -> bool:
        for _ in range(_TRIES):
            raw, present = self._read()
            known = present.labels.get(label)
            if (known is not None and known.open) == open_:
                return False
            state = BreakerState(open=open_, at=self._now(), by=who.author, reason=who.reason, **counted)
            new = Breakers(number=present.number + 1, labels={**present.labels, label: state})
            if self._swap(raw, new, label, state):
                return True
        raise ConflictError("others changed breakers all the while; nothing was written", hint="Try again.")

    def _swap(self, before: bytes, new: Breakers, label: str, state: BreakerState) -> bool:
        keys = self._store.keys
        audit = {
            "action": "breaker-open" if state.open else "breaker-close",
            "author": state.by,
            "reason": state.reason,
            "at": f"{state.at:%Y-%m-%dT%H:%M:%S.%fZ}",
            "label": label,
            "breakers": str(new.number),
        }
        document = msgspec.json.encode(new)
        places = [self._key, f"{self._key}:{new.number}", keys.audit, keys.audit_head]
        with guarded(self._store.where, f"change the breaker of {label}; whether it was changed is unknown"):
            reply = self._store.audit_log.append(
                audit,
                lambda entry: run_script(
                    self._store.client, "breakers", places, [before, document, keys.channel, *entry]
                ),
            )
        return bool(reply[0] == b"done")

    def _read(self) -> tuple[bytes, Breakers]:
        with guarded(self._store.where, "read the breakers"):
            raw: Any = self._store.client.get(self._key)
        return (b"", Breakers()) if raw is None else (bytes(raw), _decode(raw))


def _decode(raw: bytes) -> Breakers:
    try:
        return msgspec.json.decode(raw, type=Breakers)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(
            f"the breakers in Redis cannot be read: {error}", hint="Delete their key in Redis."
        ) from None
