"""Who asks, and what they may do: bearer tokens, sessions and roles, as FastAPI dependencies."""

import hmac
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from streamtag.api.problems import ForbiddenError, UnauthorizedError
from streamtag.control.sessions import Session, SessionStore
from streamtag.control.tokens import Role, Token, TokenStore
from streamtag.errors import UnavailableError

if TYPE_CHECKING:
    from streamtag.api.oidc import OidcProvider  # of an extra: imported where one is configured

__all__ = ["COOKIE", "CSRF_HEADER", "Access", "Admin", "Operator", "Reviewer", "Viewer", "bearer_of", "needed_role"]

log = logging.getLogger(__name__)

_KNOWN_S = 5.0
"""So long a token that was found is not asked for again: a revoked one may be used for so much longer."""
_WITHOUT_REDIS_S = 300.0
"""So much longer it may be used while Redis is away: scoring goes on by the last good release, too."""
_MOST_KNOWN = 10_000

COOKIE = "streamtag_session"
CSRF_HEADER = "X-CSRF-Token"
_NEEDS = "needs_"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

_bearer = HTTPBearer(auto_error=False, description="A token made with `streamtag token create`.")
_cookie = APIKeyCookie(
    name=COOKIE,
    auto_error=False,
    description=f"The console's session. A request that changes something repeats `csrf` of it as `{CSRF_HEADER}`.",
)


class Access:
    """Finds the token that a request brings.

    Args:
        tokens: as Redis holds them.
        sessions: of the console, likewise.
        clock: monotonic seconds.
        oidc: knows the tokens of another issuer; None: there is none.
    """

    def __init__(
        self,
        tokens: TokenStore,
        sessions: SessionStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        oidc: "OidcProvider | None" = None,
    ) -> None:
        self.tokens = tokens
        self.sessions = sessions
        self.oidc = oidc
        self._clock = clock
        self._known: dict[str, tuple[float, Token]] = {}
        self._lock = threading.Lock()

    def token(self, secret: str) -> Token | None:
        """The token, ours or of the provider, where it is known and has not expired.

        Raises:
            ForbiddenError: the provider knows who it is, and our settings give no role.
            UnavailableError: Redis is away, and the token was not seen lately; or the provider is.
        """
        jwt = self.oidc is not None and self.oidc.looks_like_one(secret)
        found = self.oidc.bearer(secret) if jwt and self.oidc is not None else self._lookup(secret)
        return found if found is not None and found.valid(datetime.now(UTC)) else None

    def identify(self, request: Request) -> Token | None:
        """Who asks: by the bearer token or else by the session that the request brings.

        Raises:
            ForbiddenError: a session would change something and does not repeat its value; or the provider knows who
                it is, and our settings give no role.
            UnavailableError: Redis is away, and who asks was not seen lately.
        """
        secret = bearer_of(request)
        if secret is not None:
            try:
                return self.token(secret)
            except ForbiddenError:
                self.note_stranger(f"{request.method} {request.url.path}")
                raise
        return _signed_in(self, request, request.cookies.get(COOKIE))

    def caller(self, request: Request) -> Token:
        """Who asks; found once for a request, however many want to know.

        Raises:
            UnauthorizedError: nobody known; noted in the access log.
            ForbiddenError: see `identify`; and `UnavailableError`, likewise.
        """
        state = request.state
        found: Token | None = getattr(state, "caller", None)
        if found is None:
            found = state.caller = self.identify(request)
        if found is None:
            self.note_stranger(f"{request.method} {request.url.path}")
            raise UnauthorizedError(
                "the request brings no token that is valid",
                hint="Send `Authorization: Bearer …`; `streamtag token create` makes one.",
            )
        return found

    def session(self, value: str) -> Session | None:
        """The session of a cookie, where it has not ended, nor the token that it was opened with."""
        found = self.sessions.find(value)
        return found if found is not None and found.who.valid(datetime.now(UTC)) else None

    def note_refusal(self, who: str, what: str) -> None:
        """Remembers a refusal; that Redis is away is no reason not to refuse."""
        self._noted(who, what, lambda: self.tokens.note_refusal(who, what))

    def note_stranger(self, what: str) -> None:
        """The same where nobody knows who asks, or the provider knows somebody who has no role here."""
        self._noted("somebody unknown", what, lambda: self.tokens.note_stranger(what))

    @staticmethod
    def _noted(who: str, what: str, note: Callable[[], None]) -> None:
        try:
            note()
        except UnavailableError as error:
            log.warning("refused %s to %s; not noted: %s", what, who, error.message)

    def _lookup(self, secret: str) -> Token | None:
        now = self._clock()
        seen, known = self._known.get(secret, (0.0, None))
        if known is not None and now - seen < _KNOWN_S:
            return known
        try:
            found = self.tokens.find(secret)
        except UnavailableError:
            if known is not None and now - seen < _WITHOUT_REDIS_S:
                return known
            raise
        with self._lock:
            self._known.pop(secret, None)
            if found is not None:
                self._known[secret] = now, found
                while len(self._known) > _MOST_KNOWN:
                    del self._known[next(iter(self._known))]
        return found


def bearer_of(request: Request) -> str | None:
    """The bearer token that a request brings; None where it brings none, whatever else a proxy may have added."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" and secret else None


def _who(role: Role) -> Callable[..., Token]:
    def dependency(
        request: Request,
        # looked at by `identify`; here for the OpenAPI document
        _credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
        _value: Annotated[str | None, Depends(_cookie)],
    ) -> Token:
        access: Access = request.app.state.access
        what = f"{request.method} {request.url.path}"
        token = access.caller(request)
        if not token.role.includes(role):
            access.note_refusal(token.name, what)
            raise ForbiddenError(f"{what} needs the role {role}; {token.name} is {token.role}")
        return token

    dependency.__name__ = f"{_NEEDS}{role}"
    return dependency


def needed_role(endpoint: Callable[..., Any]) -> Role | None:
    """The role that a route asks for; None: anybody may use it."""
    for hint in get_type_hints(endpoint, include_extras=True).values():
        for one in get_args(hint)[1:]:
            name = str(getattr(getattr(one, "dependency", None), "__name__", ""))
            if name.startswith(_NEEDS):
                return Role(name.removeprefix(_NEEDS))
    return None


def _signed_in(access: Access, request: Request, cookie: str | None) -> Token | None:
    session = None if cookie is None else access.session(cookie)
    if session is None:
        return None
    repeated = request.headers.get(CSRF_HEADER, "")
    if request.method not in _SAFE and not hmac.compare_digest(repeated.encode(), session.csrf.encode()):
        access.note_refusal(session.who.name, f"{request.method} {request.url.path} without {CSRF_HEADER}")
        raise ForbiddenError(
            f"a session must send {CSRF_HEADER} with what changes something",
            hint="`GET /v1/session` tells its value. Reload the page.",
        )
    return session.who


Viewer = Annotated[Token, Depends(_who(Role.VIEWER))]
Reviewer = Annotated[Token, Depends(_who(Role.REVIEWER))]
Operator = Annotated[Token, Depends(_who(Role.OPERATOR))]
Admin = Annotated[Token, Depends(_who(Role.ADMIN))]
