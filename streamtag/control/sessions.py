"""Sessions of the console: who has signed in, by a cookie. Redis holds the hash of its value, never the value.

A session that was opened with a token lasts no longer than the token, and ends at once where it is revoked.
"""

import secrets
from datetime import UTC, datetime
from typing import Any

import msgspec

from streamtag.control.connection import guarded
from streamtag.control.store import ControlStore
from streamtag.control.tokens import Token, TokenStore, digest
from streamtag.errors import RefusedError

__all__ = ["LASTS_S", "Session", "SessionStore"]

LASTS_S = 12 * 3_600
"""A shift: after so long one signs in again."""


class Session(msgspec.Struct, frozen=True):
    """Who has signed in.

    Attributes:
        who: as the token, or the identity provider, says.
        csrf: what a request that changes something must repeat in a header: a page elsewhere cannot read it.
        token: digest of the token that it was opened with; "": of an identity provider.
    """

    who: Token
    csrf: str
    token: str = ""


class SessionStore:
    """The sessions of one namespace. Every method raises `UnavailableError` when Redis does not answer in time."""

    def __init__(self, store: ControlStore, tokens: TokenStore) -> None:
        self._store = store
        self._tokens = tokens
        self._prefix = store.keys.prefix + "session:"

    def open(self, who: Token, secret: str | None, *, now: datetime | None = None) -> tuple[str, Session]:
        """Begins a session and returns the value of its cookie, which cannot be shown again.

        Args:
            who: that has signed in.
            secret: the token that it was done with; None: an identity provider has said who it is.
            now: the present.
        """
        value = secrets.token_urlsafe(32)
        session = Session(who, secrets.token_urlsafe(32), "" if secret is None else digest(secret))
        left_s = LASTS_S
        if who.expires_at is not None:
            left_s = min(left_s, max(1, int((who.expires_at - (now or datetime.now(UTC))).total_seconds())))
        with guarded(self._store.where, "open a session"):
            self._store.client.set(self._prefix + digest(value), msgspec.json.encode(session), ex=left_s)
        return value, session

    def find(self, value: str) -> Session | None:
        """The session of a cookie; None where it has ended, or the token that it was opened with is gone."""
        with guarded(self._store.where, "read a session"):
            raw: Any = self._store.client.get(self._prefix + digest(value))
        if raw is None:
            return None
        try:
            session = msgspec.json.decode(raw, type=Session)
        except msgspec.DecodeError as error:
            raise RefusedError(f"a session in Redis cannot be read: {error}", hint="Sign in again.") from None
        if not session.token:
            return session
        who = self._tokens.by_digest(session.token)
        return None if who is None else msgspec.structs.replace(session, who=who)

    def close(self, value: str) -> None:
        """Ends a session."""
        with guarded(self._store.where, "end a session"):
            self._store.client.delete(self._prefix + digest(value))
