"""Who asks, and what they may do: bearer tokens and roles, as FastAPI dependencies."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from streamtag.api.problems import ForbiddenError, UnauthorizedError
from streamtag.control.tokens import Role, Token, TokenStore
from streamtag.errors import UnavailableError

__all__ = ["Access", "Admin", "Operator", "Reviewer", "Viewer"]

log = logging.getLogger(__name__)

_KNOWN_S = 5.0
"""So long a token that was found is not asked for again: a revoked one may be used for so much longer."""
_WITHOUT_REDIS_S = 300.0
"""So much longer it may be used while Redis is away: scoring goes on by the last good release, too."""
_MOST_KNOWN = 10_000

_bearer = HTTPBearer(auto_error=False, description="A token made with `streamtag token create`.")


class Access:
    """Finds the token that a request brings.

    Args:
        tokens: as Redis holds them.
        clock: monotonic seconds.
    """

    def __init__(self, tokens: TokenStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.tokens = tokens
        self._clock = clock
        self._known: dict[str, tuple[float, Token]] = {}
        self._lock = threading.Lock()

    def token(self, secret: str) -> Token | None:
        """The token, where it is known and has not expired.

        Raises:
            UnavailableError: Redis is away, and the token was not seen lately.
        """
        found = self._lookup(secret)
        return found if found is not None and found.valid(datetime.now(UTC)) else None

    def note_refusal(self, who: str, what: str) -> None:
        """Remembers a refusal; that Redis is away is no reason not to refuse."""
        try:
            self.tokens.note_refusal(who, what)
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


def _who(role: Role) -> Callable[..., Token]:
    def dependency(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> Token:
        access: Access = request.app.state.access
        what = f"{request.method} {request.url.path}"
        token = None if credentials is None else access.token(credentials.credentials)
        if token is None:
            access.note_refusal("nobody known", what)
            raise UnauthorizedError(
                "the request brings no token that is valid",
                hint="Send `Authorization: Bearer …`; `streamtag token create` makes one.",
            )
        if not token.role.includes(role):
            access.note_refusal(token.name, what)
            raise ForbiddenError(f"{what} needs the role {role}; {token.name} is {token.role}")
        return token

    dependency.__name__ = f"needs_{role}"  # the tests read the role of each route from it
    return dependency


Viewer = Annotated[Token, Depends(_who(Role.VIEWER))]
Reviewer = Annotated[Token, Depends(_who(Role.REVIEWER))]
Operator = Annotated[Token, Depends(_who(Role.OPERATOR))]
Admin = Annotated[Token, Depends(_who(Role.ADMIN))]
