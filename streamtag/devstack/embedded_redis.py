"""A Redis for the demo: the redis-server on the PATH, or else fakeredis over loopback TCP in a process of its own."""

import shutil
import threading
from importlib.util import find_spec
from types import TracebackType
from typing import Self

from streamtag.devstack.child import Child, serve_until_input_ends
from streamtag.devstack.redis import RedisServer
from streamtag.devstack.server import HOST
from streamtag.errors import UnavailableError


class EmbeddedRedis:
    """A Redis that ends with this process, however that ends; a context manager. Nothing is kept on disk.

    Args:
        server: use redis-server if it is on the PATH; false takes the embedded one in any case.

    Raises:
        UnavailableError: there is no redis-server, and fakeredis with Lua is not installed.
    """

    def __init__(self, *, server: bool = True) -> None:
        self._server = RedisServer(appendonly=False) if server and shutil.which("redis-server") else None
        self._child = Child(__name__)
        self.kind = "redis-server" if self._server else "embedded (fakeredis)"
        """What it is, for people."""
        self.url = ""
        """URL for clients, once started."""
        if self._server is None and not (find_spec("fakeredis") and find_spec("lupa")):
            raise UnavailableError(
                "no Redis: redis-server is not on the PATH and fakeredis is not installed",
                hint="Install redis-server, or `pip install 'streamtag[demo]'`.",
            )

    def start(self) -> Self:
        """Starts it; returns when it answers."""
        self.url = self._server.start().url if self._server else self._child.start()
        return self

    def close(self) -> None:
        """Ends it; its data are gone."""
        if self._server:
            self._server.close()
        else:
            self._child.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _serve() -> None:
    from fakeredis import TcpFakeServer  # noqa: PLC0415 - an extra, needed in this process only

    server = TcpFakeServer((HOST, 0))
    server.daemon_threads = True  # one per client; none may keep this process alive
    threading.Thread(target=server.serve_forever, daemon=True).start()
    serve_until_input_ends(f"redis://{HOST}:{server.server_address[1]}/0")


if __name__ == "__main__":
    _serve()
