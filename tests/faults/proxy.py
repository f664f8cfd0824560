"""A TCP proxy to hurt connections with, after toxiproxy: one process, many links, each with a mode of its own.

Modes of a link:

* ``pass``: bytes go through;
* ``delay``: … each chunk later by some milliseconds;
* ``stall``: nothing goes through and nothing is lost: packets are retransmitted when the network is back;
* ``half_open``: requests arrive, answers do not, and the connection breaks when the network is back;
* ``cut``: connections are reset, new ones refused.

Controlled over stdin by one line of JSON a command; each is acknowledged by one line on stdout.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Literal

from . import ROOT

Mode = Literal["pass", "delay", "stall", "half_open", "cut"]
_CHUNK = 262_144


class Link:
    """One listening port and its target."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._mode: Mode = "pass"
        self._delay_s = 0.0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()

    def set(self, mode: Mode, delay_ms: float) -> None:
        """Changes the mode of all connections, those that are open included."""
        if mode == "cut" or self._mode == "half_open":  # what was swallowed cannot be made good
            self._reset()
        self._mode, self._delay_s = mode, delay_ms / 1000 if mode == "delay" else 0.0
        if mode == "stall":
            self._flowing.clear()
        else:
            self._flowing.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side closes it."""
        if self._mode == "cut":
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        ways = [
            asyncio.create_task(self._pump(reader, far_writer, answers=False)),
            asyncio.create_task(self._pump(far_reader, writer, answers=True)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        self._writers -= pair
        for each in pair:
            each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await self._flowing.wait()
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if answers and self._mode == "half_open":
                    continue
                writer.write(chunk)
                await writer.drain()

    def _reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


async def _serve(ports: Mapping[str, tuple[int, int]]) -> None:
    links = {name: Link(target) for name, (_, target) in ports.items()}
    for name, (port, _) in ports.items():
        await asyncio.start_server(links[name].serve, "127.0.0.1", port)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print("ready", flush=True)
    while line := await commands.readline():
        command = json.loads(line)
        for name in command["links"]:
            links[name].set(command["mode"], command["delay_ms"])
        print("done", flush=True)


class Proxies:
    """The proxy process, as the campaign sees it.

    Args:
        ports: name of each link to (port to listen on, port of the target).
    """

    def __init__(self, ports: Mapping[str, tuple[int, int]]) -> None:
        self._ports = dict(ports)
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()  # faults of one round strike from threads of their own

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> "Proxies":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.proxy", json.dumps(self._ports)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._await("ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def set(self, links: Iterable[str], mode: Mode, delay_ms: float = 0.0) -> None:
        """Changes links; returns when it is done."""
        assert self._process is not None
        assert self._process.stdin is not None
        command = {"links": list(links), "mode": mode, "delay_ms": delay_ms}
        with self._lock:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            self._await("done")

    def _await(self, word: str) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        assert said == word, f"the proxy says {said!r} instead of {word!r}"


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
