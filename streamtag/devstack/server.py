"""What all servers of the local stack have in common: a port, a directory, and a life that tests can disturb."""

import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from streamtag.devstack.docker import Container
from streamtag.devstack.process import ProcessRef, spawn
from streamtag.errors import UnavailableError

HOST = "127.0.0.1"
_PORT_ATTEMPTS = 5
_POLL_S = 0.05
_PORT_TAKEN = "Address already in use"  # as the C library, and so every server, says it


class Server(ABC):
    """One server process on a loopback port.

    Args:
        data_dir: where it keeps its data and log; default a temporary directory, removed by `close`.
        port: TCP port; 0 = a free one, kept over restarts.
        dies_with_parent: the server does not outlive this process, however that ends; see `process.spawn`.
        image: run this Docker image instead of a program of this host.
    """

    name: ClassVar[str]
    ready_within_s: ClassVar[float]
    grace_s: ClassVar[float]

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        port: int = 0,
        dies_with_parent: bool = True,
        image: str | None = None,
    ) -> None:
        self._temporary = data_dir is None
        self.data_dir = data_dir or Path(tempfile.mkdtemp(prefix=f"streamtag-{self.name}-"))
        self.port = port
        self._port_fixed = port != 0
        self._dies_with_parent = dies_with_parent
        self.container = None if image is None else Container(self.name, self.data_dir, image)
        self._process: subprocess.Popen[bytes] | None = None
        self.started_in_s = 0.0
        """Seconds from `start` to ready, of the last start."""

    # -- what a server has to say of itself ------------------------------------------------------------------

    @abstractmethod
    def _prepare(self) -> Sequence[str]:
        """Writes configuration and data directory as needed (called before each start); returns the command."""

    @abstractmethod
    def _answers(self) -> bool:
        """True when a client gets an answer, and from this server: a stranger may have been faster to the port."""

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.data_dir / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Process id; raises RuntimeError when it does not run."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not started")
        return self._process.pid

    @property
    def ref(self) -> ProcessRef | None:
        """The running process, in a form that outlives this object; None when it does not run."""
        return None if self._process is None else ProcessRef.of(self._process.pid)

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Starts it and returns when it answers.

        Raises:
            UnavailableError: it ended or did not answer in time; the message carries the end of its log.
        """
        if self.ref is not None:
            raise RuntimeError(f"{self.name} runs already")
        self.data_dir.mkdir(parents=True, exist_ok=True)
        for _ in range(1 if self._port_fixed else _PORT_ATTEMPTS):
            self._choose_ports()
            tail = self._try_start()
            if self._process is not None:
                self._port_fixed = True  # clients know it from now on
                return self
            if _PORT_TAKEN not in tail:
                break
        raise UnavailableError(
            f"{self.name} on {HOST}:{self.port} does not answer: {' | '.join(tail.strip().splitlines()[-5:])}",
            hint=f"Its log is {self.log}." if not self._temporary else "",
        )

    def stop(self) -> None:
        """Ends it in order (SIGTERM), or by force when that takes too long. Data and port are kept."""
        if self._process is not None and (ref := self.ref) is not None:
            ref.stop(self.grace_s)
        self._reap()

    def kill(self) -> None:
        """Ends it as a power cut would (SIGKILL). Data and port are kept."""
        self._signal(signal.SIGKILL)
        self._reap()

    def pause(self) -> None:
        """Freezes it (SIGSTOP): connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Goes on after `pause`."""
        self._signal(signal.SIGCONT)

    def restart(self) -> Self:
        """Stops it if it runs, and starts it on the same data and port."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stops it and removes its data if the directory was a temporary one."""
        self.stop()
        if self._temporary and self.container is not None:
            self.container.remove_data()
        if self._temporary:
            shutil.rmtree(self.data_dir, ignore_errors=True)

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

    # -- inside ------------------------------------------------------------------------------------------------

    def _spawn(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        death = signal.SIGKILL
        if self.container is not None:
            self.container.prepare()
            death = signal.SIGTERM  # the client forwards it to the container, which SIGKILL would leave behind
        return spawn(argv, log=self.log, dies_with_parent=self._dies_with_parent, death_signal=death)

    def _try_start(self) -> str:
        """Leaves it running, or returns the end of its log."""
        if listens(self.port):
            return _PORT_TAKEN  # a stranger would answer in its place
        offset = self.log.stat().st_size if self.log.exists() else 0
        begun = time.monotonic()
        self._process = self._spawn(self._prepare())
        try:
            # from here: what comes before may have to download the server
            ready = self._becomes_ready(time.monotonic() + self.ready_within_s)
        except BaseException:  # Ctrl-C, too: what nobody waits for is not left behind
            self._end_process()
            raise
        if ready:
            self.started_in_s = time.monotonic() - begun
            return ""
        self._end_process()
        return self.log.read_bytes()[offset:].decode("utf-8", "replace")

    def _choose_ports(self) -> None:
        if not self._port_fixed:
            self.port = free_port()

    def _becomes_ready(self, deadline: float) -> bool:
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            if self._answers():
                return True
            time.sleep(_POLL_S)
        return False

    def _signal(self, number: signal.Signals) -> None:
        if self.container is not None:
            self.container.signal(number)
            return
        ref = self.ref
        if ref is None or not ref.signal(number):
            raise RuntimeError(f"{self.name} does not run")

    def _end_process(self) -> None:
        if (ref := self.ref) is not None:
            ref.signal(signal.SIGKILL)
        if self.container is not None:
            self.container.remove()
        self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(self.grace_s)
            self._process = None


def free_port() -> int:
    """A loopback port nobody listens on, outside the range that outgoing connections draw theirs from.

    Inside that range a client that keeps reconnecting to a stopped server can be given the server's own port as its
    source, connect to itself and keep the server from ever coming back.
    """
    for _ in range(1_000):
        port = random.randint(10_000, _first_ephemeral_port() - 1)  # noqa: S311 - not a secret
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise UnavailableError("no free TCP port on the loopback interface")


def listens(port: int) -> bool:
    """True when something accepts connections on the loopback ``port``."""
    try:
        with socket.create_connection((HOST, port), timeout=0.5):
            return True
    except OSError:
        return False


def _first_ephemeral_port() -> int:
    try:
        low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        low = 32_768  # IANA's 49152 elsewhere: this is below it
    return low if low > 12_000 else 32_768
