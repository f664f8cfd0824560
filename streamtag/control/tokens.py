"""Bearer tokens of the HTTP API: who may do what. Redis holds their hashes, never the tokens.

A token is 32 random bytes, so one SHA-256 is enough: nobody can try them all. Its first characters name it in lists.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from streamtag.control.connection import guarded
from streamtag.control.documents import in_utc
from streamtag.control.store import ControlStore
from streamtag.errors import NotFoundError, RefusedError

__all__ = ["Role", "Token", "TokenStore", "digest"]

_PREFIX = "st_"
_SHOWN = 10  # characters of a token that lists show
_ACCESS_LOG, _STRANGERS = 10_000, 1_000
_NOBODY = "nobody known"
_MOST_SAID = 200


class Role(StrEnum):
    """What a token allows; each includes those before it."""

    VIEWER = "viewer"
    REVIEWER = "reviewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Whether who has this role may do what ``other`` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class Token(msgspec.Struct, frozen=True):
    """What is known of one token.

    Attributes:
        name: of whoever uses it: the author of the changes made with it.
        role: see `Role`.
        created_by: who made it.
        created_at: when.
        expires_at: from then on it is refused; None: never.
        labels: the only labels whose cut-offs it may change; None: all.
        start: the first characters of the token.
    """

    name: str
    role: Role
    created_by: str
    created_at: datetime
    expires_at: datetime | None = None
    labels: tuple[str, ...] | None = None
    start: str = ""

    def valid(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or now < self.expires_at


class TokenStore:
    """The tokens of one namespace. Every method raises `UnavailableError` when Redis does not answer in time."""

    def __init__(self, store: ControlStore) -> None:
        self._store = store
        self._key = store.keys.prefix + "tokens"
        self._log = store.keys.prefix + "access"
        self._refused = store.keys.prefix + "access:refused"
        self._strangers = store.keys.prefix + "access:strangers"

    def create(
        self,
        name: str,
        role: Role,
        *,
        by: str,
        expires_at: datetime | None = None,
        labels: Sequence[str] | None = None,
        now: datetime | None = None,
    ) -> str:
        """Makes a token and returns it; it cannot be shown again.

        Raises:
            RefusedError: no name, one that is taken, no labels, or an end that has passed; names every problem.
        """
        created_at = now or datetime.now(UTC)
        problems = [] if name.strip() else ["name: empty"]
        problems += [f"name: {name} is taken; revoke it first"] if any(t.name == name for t in self.all()) else []
        problems += ["labels: empty"] if labels is not None and not labels else []
        problems += ["expires: has passed"] if expires_at is not None and expires_at <= created_at else []
        if problems:
            raise RefusedError("the token cannot be made", problems=problems)
        secret = _PREFIX + secrets.token_urlsafe(32)
        only = None if labels is None else tuple(labels)
        ends = None if expires_at is None else in_utc(expires_at)
        token = Token(name, role, by, created_at, ends, only, secret[:_SHOWN])
        with guarded(self._store.where, "write a token"):
            pipeline = self._store.client.pipeline(transaction=True)
            pipeline.hset(self._key, digest(secret), msgspec.json.encode(token))
            self._add(pipeline, "token created", by, f"{name} ({role})")
            pipeline.execute()
        return secret

    def find(self, secret: str) -> Token | None:
        """The token with this secret, also where it has expired; None for any other text."""
        return self.by_digest(digest(secret))

    def by_digest(self, wanted: str) -> Token | None:
        """The token whose secret has this `digest`."""
        with guarded(self._store.where, "read a token"):
            raw: Any = self._store.client.hget(self._key, wanted)
        return None if raw is None else _decode(raw)

    def all(self) -> list[Token]:
        """In order of name."""
        with guarded(self._store.where, "read tokens"):
            found: Any = self._store.client.hvals(self._key)
        return sorted(map(_decode, found), key=lambda token: token.name)

    def revoke(self, name: str, *, by: str) -> Token:
        """Ends a token at once.

        Raises:
            NotFoundError: none has this name.
        """
        with guarded(self._store.where, "revoke a token"):
            found: Any = self._store.client.hgetall(self._key)
            for digest, raw in found.items():
                token = _decode(raw)
                if token.name == name:
                    pipeline = self._store.client.pipeline(transaction=True)
                    pipeline.hdel(self._key, digest)
                    self._add(pipeline, "token revoked", by, name)
                    pipeline.execute()
                    return token
        raise NotFoundError(f"no token is called {name}", hint="`streamtag token list` shows them.")

    def note(self, action: str, who: str, what: str) -> None:
        """Remembers that somebody has read content, say; the last 10,000 entries are kept, with changes of tokens."""
        with guarded(self._store.where, f"note that somebody {action}"):
            self._add(self._store.client, action, who, what)

    def note_refusal(self, who: str, what: str) -> None:
        """Remembers that somebody known was refused something; the last 10,000 are kept, apart from what was done."""
        with guarded(self._store.where, "note that somebody was refused"):
            self._add(self._store.client, "refused", who, what, self._refused)

    def note_stranger(self, what: str) -> None:
        """Remembers that somebody unknown was refused something; the last 1,000 are kept, apart from all else.

        Anybody can make as many as they like: they must not push out what is known of people.
        """
        with guarded(self._store.where, "note that somebody unknown was refused"):
            self._add(self._store.client, "refused", _NOBODY, what, self._strangers, _STRANGERS)

    def access_log(self, limit: int = 50, *, before: str | None = None) -> list[dict[str, str]]:
        """Refusals, reading of content and changes of tokens, newest first: the latest, or those before an id."""
        latest = "+" if before is None else f"({before}"
        with guarded(self._store.where, "read the access log"):
            pipeline = self._store.client.pipeline(transaction=False)
            for stream in (self._log, self._refused, self._strangers):
                pipeline.xrevrange(stream, max=latest, count=limit)
            done, refused, strangers = pipeline.execute()
        # Of those with one id what was done comes first, and the stranger's last: where a page ends between them, the
        # later ones are left out.
        found = sorted([*done, *refused, *strangers], key=lambda entry: _stream_order(entry[0]), reverse=True)[:limit]
        return [{"id": key.decode(), **{k.decode(): v.decode() for k, v in entry.items()}} for key, entry in found]

    def _add(self, client: Any, action: str, who: str, what: str, stream: str = "", kept: int = 0) -> None:
        at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        # a path may be as long as whoever asks likes
        fields = {"action": action, "who": who, "what": what[:_MOST_SAID], "at": at}
        client.xadd(stream or self._log, fields, maxlen=kept or _ACCESS_LOG, approximate=True)


def _stream_order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)


def digest(secret: str) -> str:
    """What Redis holds in the place of a secret: SHA-256, as hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _decode(raw: bytes) -> Token:
    try:
        return msgspec.json.decode(raw, type=Token)
    except msgspec.DecodeError as error:
        raise RefusedError(f"a token in Redis cannot be read: {error}") from None
