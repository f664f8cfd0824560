"""Who somebody is by an OpenID Connect provider: bearer tokens that it has signed, and signing in at it.

Nothing that a token says counts before its signature, issuer, audience and time do. Which role somebody has is said by
a claim and our settings (`oidc.roles`); whoever has none may do nothing.
"""

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from streamtag.api.problems import ForbiddenError, UnauthorizedError
from streamtag.control.tokens import Role, Token
from streamtag.errors import RefusedError, UnavailableError
from streamtag.settings import OidcSettings

__all__ = ["OidcProvider"]

log = logging.getLogger(__name__)

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Those that sign with a key that only the provider has."""
_LEEWAY_S = 30
_KEPT_S = 3_600.0
"""So long the provider's document and keys are good without asking again."""
_SOONEST_S = 10.0
"""After a look at the keys, an unknown one makes nobody look again so soon: else anybody could have us ask for ever."""
_CALL_S = 5.0
_LOOK_S = 2 * _CALL_S
"""A look is two calls: nobody waits longer for that of somebody else."""
_REFUSALS = (JoseError, ValueError, TypeError, KeyError, RecursionError)
"""What the library raises at what strangers may write into a token, beside its own errors."""
_SESSION = timedelta(hours=1)
"""So long somebody who is out over there is still in here; then the browser has to go there again."""
_MOST_NAME = 200


class OidcProvider:
    """One provider. Safe to use from several threads.

    Args:
        settings: whose issuer is set.
        clock: monotonic seconds.
    """

    def __init__(self, settings: OidcSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._issuer = settings.issuer or ""
        self._clock = clock
        self._lock = threading.Lock()
        self._found: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._asked = -math.inf  # the end of the last look

    @staticmethod
    def looks_like_one(secret: str) -> bool:
        """Whether a bearer token could be a JWT; ours have no dots."""
        return secret.count(".") == 2

    def bearer(self, secret: str) -> Token | None:
        """Who a bearer token says it is; None where it is not one of the provider for us, or has expired.

        Raises:
            ForbiddenError: no role is known for whom it names.
            UnavailableError: the provider's keys are not known, and it does not answer.
        """
        claims = self._claims(secret, self._settings.audience or self._settings.client_id)
        return None if claims is None else self._who(claims)

    def login_url(self, redirect_uri: str, *, state: str, nonce: str, verifier: str) -> str:
        """Where a browser goes to sign in (authorization code with PKCE)."""
        with self._client(redirect_uri) as client:
            url, _ = client.create_authorization_url(
                self._endpoint("authorization_endpoint"), state=state, nonce=nonce, code_verifier=verifier
            )
        return str(url)

    def signed_in(self, code: str, redirect_uri: str, *, nonce: str, verifier: str) -> Token:
        """Who has come back from there with ``code``.

        Raises:
            UnauthorizedError: the provider does not take the code, or what it says is not for this sign-in.
            ForbiddenError: no role is known for whom it names.
            UnavailableError: the provider does not answer.
        """
        try:
            with self._client(redirect_uri) as client:
                answer = client.fetch_token(self._endpoint("token_endpoint"), code=code, code_verifier=verifier)
        except OAuthError as error:
            raise UnauthorizedError(f"the provider refuses: {error.error}", hint="Sign in again.") from None
        except (httpx.HTTPError, ValueError) as error:
            raise self._silent(error) from None
        claims = self._claims(str(answer.get("id_token", "")), self._settings.client_id)
        if claims is None or claims.get("nonce") != nonce:
            raise UnauthorizedError("what the provider says is not for this sign-in", hint="Sign in again.")
        return self._who(claims, signing_in=True)

    def _client(self, redirect_uri: str) -> OAuth2Client:
        settings = self._settings
        secret = settings.client_secret
        if settings.client_secret_file is not None:
            try:
                secret = settings.client_secret_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                path = settings.client_secret_file
                raise RefusedError(f"oidc.client_secret_file: {path} cannot be read: {error.strerror}") from None
        return OAuth2Client(
            settings.client_id,
            secret,
            token_endpoint_auth_method=None if secret else "none",
            scope=settings.scope,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            timeout=_CALL_S,
        )

    def _claims(self, raw: str, audience: str) -> Mapping[str, Any] | None:
        registry = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        for fresh in (False, True):
            keys = self._key_set(fresh=fresh)
            if keys is None:
                return None
            try:
                token = jwt.decode(raw, keys, algorithms=_ALGORITHMS)
            except _REFUSALS as error:
                # The provider may have changed its keys: worth one more look, not more.
                log.debug("a token is not accepted: %s", type(error).__name__)
                continue
            try:
                registry.validate(token.claims)
            except _REFUSALS as error:
                log.debug("the claims of a token are not accepted: %s", type(error).__name__)
                return None
            return token.claims
        return None

    def _key_set(self, *, fresh: bool) -> KeySet | None:
        """The provider's keys; None where a fresh look was asked for and the last one was just now, or is under way.

        One looks at a time. Where keys are known nobody waits for a provider that is slow: they stand meanwhile. Where
        none are, the first look of all is waited for; after it has failed, nobody waits, and none looks again so soon.

        Raises:
            UnavailableError: none are known.
        """
        keys, asked = self._keys, self._asked
        age = self._clock() - asked
        if age < (_KEPT_S if keys is not None and not fresh else _SOONEST_S):
            return self._standing(fresh=fresh)
        if not self._lock.acquire(timeout=_LOOK_S if asked == -math.inf else 0):
            return self._standing(fresh=fresh)
        try:
            if self._asked != asked:  # somebody else has looked while this one waited
                return self._standing(fresh=False)
            self._look()
            return self._keys
        finally:
            self._lock.release()

    def _standing(self, *, fresh: bool) -> KeySet | None:
        if self._keys is None:
            raise UnavailableError(f"the provider {self._issuer} does not answer as it should", hint="Try again.")
        return None if fresh else self._keys

    def _look(self) -> None:
        """Asks the provider; where it does not answer, what is known stands."""
        try:
            self._found = self._document()
            self._keys = self._key_set_of(self._get(self._endpoint("jwks_uri")))
        except UnavailableError as error:
            if self._keys is None:
                raise
            log.warning("the provider's keys of before stand: %s", error.message)
        finally:
            self._asked = self._clock()

    def _key_set_of(self, found: dict[str, Any]) -> KeySet:
        try:
            return KeySet.import_key_set(found)  # type: ignore[arg-type]
        except _REFUSALS as error:
            raise self._silent(error) from None

    def _document(self) -> dict[str, Any]:
        found = self._get(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != self._issuer:
            raise UnavailableError(f"{self._issuer} calls itself {found.get('issuer')}: oidc.issuer?")
        return found

    def _endpoint(self, name: str) -> str:
        if not self._found:
            self._key_set(fresh=True)
        found = self._found.get(name)
        if not isinstance(found, str):
            raise UnavailableError(f"{self._issuer} names no {name}")
        return found

    def _get(self, url: str) -> dict[str, Any]:
        try:
            found = httpx.get(url, timeout=_CALL_S).raise_for_status().json()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            raise self._silent(error) from None
        if not isinstance(found, dict):
            raise UnavailableError(f"{url} is no JSON object")
        return found

    def _silent(self, error: Exception) -> UnavailableError:
        kind = type(error).__name__
        return UnavailableError(f"the provider {self._issuer} does not answer as it should: {kind}", hint="Try again.")

    def _who(self, claims: Mapping[str, Any], *, signing_in: bool = False) -> Token:
        settings = self._settings
        name = str(claims.get(settings.name_claim) or claims["sub"])
        given = _at(claims, settings.role_claim.split("."))
        values = given if isinstance(given, list) else [given]
        found = [Role(settings.roles[value]) for value in values if isinstance(value, str) and value in settings.roles]
        if not name.isprintable() or len(name) > _MOST_NAME:
            raise ForbiddenError(f"{settings.name_claim} is no name")
        if not found:
            raise ForbiddenError(
                f"no role is known for {name}", hint="`oidc.roles` says which values of `oidc.role_claim` give one."
            )
        now = datetime.now(UTC)
        return Token(
            name=f"oidc:{name}",  # a token of ours may have the same name and is somebody else
            role=max(found, key=list(Role).index),
            created_by=self._issuer,
            created_at=now,
            expires_at=now + _SESSION if signing_in else datetime.fromtimestamp(int(claims["exp"]) + _LEEWAY_S, UTC),
        )


def _at(claims: Any, path: list[str]) -> Any:
    for name in path:
        claims = claims.get(name) if isinstance(claims, Mapping) else None
    return claims
