"""An issuer of JWTs on a port of this machine: its document, its keys, and tokens of any kind."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

__all__ = ["Issuer", "issuer"]


class Issuer:
    """Signs with the newest of its keys; ``looked`` counts how often its keys were asked for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.looked = 0
        self.rotate()

    def rotate(self) -> None:
        self.key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)

    def token(self, *, key: RSAKey | None = None, without: str = "", **changes: Any) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.url,
            "aud": "streamtag",
            "sub": "u-1",
            "preferred_username": "olga",
            "iat": now,
            "exp": now + 300,
            "realm_access": {"roles": ["others", "moderators"]},
            **changes,
        }
        claims.pop(without, None)
        used = key or self.key
        return jwt.encode({"alg": "RS256", "kid": used.kid}, claims, used)

    def answer(self, path: str) -> Any:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}
        self.looked += 1
        return KeySet([self.key]).as_dict(private=False)


@contextmanager
def issuer() -> Iterator[Issuer]:
    found: list[Issuer] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(found[0].answer(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_args: Any) -> None:  # noqa: A002 - as the base class has it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.append(Issuer(f"http://127.0.0.1:{server.server_port}"))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield found[0]
    finally:
        server.shutdown()
        server.server_close()
