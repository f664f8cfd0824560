"""A real redis-server for tests and local use."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import redis

from streamtag.devstack import debian, docker
from streamtag.devstack.server import HOST, Server, listens
from streamtag.errors import UnavailableError

IMAGE = "redis:7.4"


class RedisServer(Server):
    """redis-server on loopback; a context manager.

    Args:
        data_dir: where it keeps its data and log; default a temporary directory, removed by `close`.
        port: TCP port; 0 = a free one, kept over restarts.
        appendonly: keep an append-only file, so that a restart (or `kill`) loses nothing that was acknowledged (a
            power cut may).
        backend: ``server`` (the program on the PATH) or ``docker``.
        dies_with_parent: see `Server`.
    """

    name: ClassVar[str] = "redis"
    ready_within_s: ClassVar[float] = 20.0
    grace_s: ClassVar[float] = 5.0

    def __init__(
        self,
        data_dir: Path | None = None,
        port: int = 0,
        *,
        appendonly: bool = True,
        backend: Literal["server", "docker"] = "server",
        dies_with_parent: bool = True,
    ) -> None:
        image = IMAGE if backend == "docker" else None
        super().__init__(data_dir=data_dir, port=port, dies_with_parent=dies_with_parent, image=image)
        self._appendonly = appendonly

    @property
    def url(self) -> str:
        """URL for clients."""
        return f"redis://{HOST}:{self.port}/0"

    def _prepare(self) -> Sequence[str]:
        options = ["--port", str(self.port), "--save", ""]
        # Not the default, everysec: behind a slow fsync it acknowledges before it writes, for up to 2 s.
        options += ["--appendonly", "yes" if self._appendonly else "no", "--appendfsync", "no"]
        if self.container is None:
            program = shutil.which("redis-server")
            if program is None:
                raise UnavailableError("redis-server is not on the PATH", hint="Install it (Debian: redis-server).")
            return [program, *options, "--bind", HOST, "--dir", str(self.data_dir)]
        inside = ["redis-server", *options, "--bind", "0.0.0.0", "--protected-mode", "no"]  # noqa: S104
        return self.container.run_command(port=self.port, data="/data", command=inside)

    def _answers(self) -> bool:
        if not (listens(self.port) and redis_answers(self.url, timeout_s=2.0)):
            return False
        with redis.Redis.from_url(self.url) as client:
            return self.container is not None or client.info("server")["process_id"] == self.pid


def redis_answers(url: str, timeout_s: float) -> bool:
    """True when PING is answered within ``timeout_s`` (not while it still loads its data)."""
    client = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


@dataclass(frozen=True)
class RedisSource:
    """Where a Redis comes from.

    Attributes:
        kind: ``external`` (somebody else runs it), ``server`` or ``docker``.
        url: its address, if external.
    """

    kind: Literal["external", "server", "docker"]
    url: str | None = None

    def server(
        self, *, data_dir: Path | None = None, port: int = 0, appendonly: bool = True, dies_with_parent: bool = True
    ) -> RedisServer:
        """A server of this kind, not started; an external one cannot be made."""
        if self.kind == "external":
            raise ValueError("an external Redis is not ours to start")
        return RedisServer(data_dir, port, appendonly=appendonly, backend=self.kind, dies_with_parent=dies_with_parent)


def find_redis(environ: Mapping[str, str] | None = None) -> RedisSource:
    """The first that is there: ``STREAMTAG_REDIS``, redis-server, Debian's package (when root), Docker.

    Raises:
        UnavailableError: none of them; says what to install.
    """
    url = (os.environ if environ is None else environ).get("STREAMTAG_REDIS")
    if url:
        return RedisSource("external", url)
    if shutil.which("redis-server") or debian.install("redis-server"):
        return RedisSource("server")
    if docker.daemon_answers():
        return RedisSource("docker")
    raise UnavailableError(
        "no Redis: STREAMTAG_REDIS is not set, redis-server is not on the PATH, and no Docker daemon answers",
        hint="Install redis-server (Debian: apt-get install redis-server), or start Docker, "
        "or set STREAMTAG_REDIS=redis://host:port/0 to a Redis >= 7 of your own.",
    )
