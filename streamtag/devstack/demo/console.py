"""The console of the demo: `streamtag api`, and an address that signs in whoever opens it."""

from datetime import UTC, datetime, timedelta
from importlib.util import find_spec

from streamtag.control.tokens import Role, TokenStore
from streamtag.devstack.demo.launch import LONGEST_S, Launched
from streamtag.devstack.demo.story import AUTHOR
from streamtag.devstack.server import HOST, free_port

__all__ = ["start_console"]


def start_console(launched: Launched) -> str:
    """Starts it and returns its address; "" where the extra `api` is not installed.

    The token stands behind the `#`, which no browser sends, and is good for the longest demo there is.
    """
    if not (find_spec("fastapi") and find_spec("uvicorn")):
        return ""
    port = free_port()
    launched.processes.start("api", launched.processes.command("api", "--port", str(port)))
    until = datetime.now(UTC) + timedelta(seconds=LONGEST_S)
    token = TokenStore(launched.store).create("you", Role.OPERATOR, by=AUTHOR, expires_at=until)
    return f"http://{HOST}:{port}/#{token}"
