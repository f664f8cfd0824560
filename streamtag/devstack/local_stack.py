"""A Kafka and a Redis for one person on one host: started once, left running, stopped by whoever asks.

What was started is written to a state file before anything else happens with it; only that is ever stopped, and only
while process id and start time still match.
"""

import fcntl
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from streamtag.devstack.docker import Container
from streamtag.devstack.kafka import KafkaServer, broker_answers, find_kafka
from streamtag.devstack.process import ProcessRef
from streamtag.devstack.redis import RedisServer, find_redis, redis_answers
from streamtag.devstack.server import listens
from streamtag.errors import StreamtagError
from streamtag.settings.secrets import shown_url

SERVICES = ("kafka", "redis")
USUAL_PORTS = {"kafka": 9092, "redis": 6379}
_ANSWER_S = 3.0
_GRACE_S = 30.0


class Started(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One service that `LocalStack.up` started.

    Attributes:
        address: ``host:port`` of Kafka, URL of Redis.
        port: its TCP port.
        pid: process id.
        process_started: the process's start time, see `ProcessRef`.
        started_at: when, RFC 3339.
        log: its log file.
        image: the Docker image it runs, if it is in a container.
    """

    address: str
    port: int
    pid: int
    process_started: str
    started_at: str
    log: str
    image: str | None = None

    @property
    def ref(self) -> ProcessRef:
        """The process."""
        return ProcessRef(self.pid, self.process_started)


@dataclass(frozen=True)
class ServiceStatus:
    """One service as it is now.

    Attributes:
        name: ``kafka`` or ``redis``.
        state: ``running`` (answers), ``silent`` (its process is there, but it does not answer), ``stopped``, or for
            one that somebody else runs ``external`` or ``external, silent``.
        address: where it is or was; None when it never ran.
        started: what is known of the process, if it is ours.
        fresh: it was started just now.
        start_s: seconds that took.
    """

    name: str
    state: Literal["running", "silent", "stopped", "external", "external, silent"]
    address: str | None
    started: Started | None = None
    fresh: bool = False
    start_s: float = 0.0

    @property
    def answers(self) -> bool:
        """True when a client can use it."""
        return self.state in ("running", "external")


class LocalStack:
    """The services of one state directory.

    Args:
        state_dir: holds the state file and the services' data (setting ``state_dir``).
        environ: the environment: ``STREAMTAG_KAFKA`` and ``STREAMTAG_REDIS`` name services that others run.
    """

    def __init__(self, state_dir: Path, environ: Mapping[str, str]) -> None:
        self._dir = state_dir / "dev"
        self._file = self._dir / "services.json"
        external = {"kafka": environ.get("STREAMTAG_KAFKA"), "redis": environ.get("STREAMTAG_REDIS")}
        self._external = {name: address for name, address in external.items() if address}

    def status(self) -> list[ServiceStatus]:
        """Both services as they are now."""
        started = self._read()
        return [self._status(name, started.get(name)) for name in SERVICES]

    def up(self) -> list[ServiceStatus]:
        """Starts what does not run yet, and returns when both answer.

        Raises:
            UnavailableError: a service cannot be had or does not come up. What came up before it is left running.
        """
        with self._locked():
            return [self._up(name) for name in SERVICES]

    def down(self) -> list[str]:
        """Stops what `up` started; returns the names of what was stopped now. Data and addresses are kept."""
        stopped = []
        with self._locked():
            for name, service in self._read().items():
                if service.ref.alive():
                    service.ref.stop(_GRACE_S)
                    stopped.append(name)
                if service.image is not None:  # its client may have been killed before it could stop it
                    Container(name, self._dir / name, service.image).remove()
        return stopped

    def delete_data(self) -> None:
        """Removes the data of both services, which must be stopped."""
        with self._locked():
            services = self._read()
            running = [name for name, service in services.items() if service.ref.alive()]
            if running:
                raise StreamtagError(f"{' and '.join(running)} still runs", hint="Run `streamtag dev down` first.")
            for name, service in services.items():
                if service.image is not None:
                    Container(name, self._dir / name, service.image).remove_data()
                shutil.rmtree(self._dir / name, ignore_errors=True)

    # -- inside ------------------------------------------------------------------------------------------------

    def _status(self, name: str, service: Started | None) -> ServiceStatus:
        external = self._external.get(name)
        # `up` prints variables to export: they do not make a service of ours somebody else's
        if external is not None and (service is None or service.address != external):
            return ServiceStatus(name, "external" if _answers(name, external) else "external, silent", external)
        if service is None:
            return ServiceStatus(name, "stopped", None)
        if not service.ref.alive():
            return ServiceStatus(name, "stopped", service.address, service)
        return ServiceStatus(name, "running" if _answers(name, service.address) else "silent", service.address, service)

    def _up(self, name: str) -> ServiceStatus:
        before = self._read().get(name)
        found = self._status(name, before)
        if found.answers:
            return found
        if found.state == "external, silent":
            variable = f"STREAMTAG_{name.upper()}"
            raise StreamtagError(
                f"{name} at {shown_url(found.address or '')} ({variable}) does not answer",
                hint=f"Unset {variable} to start one here.",
            )
        if found.state == "silent":
            raise StreamtagError(
                f"{name} runs (pid {found.started and found.started.pid}) but does not answer at {found.address}",
                hint="Wait a little, or run `streamtag dev down` and try again.",
            )
        begun = time.monotonic()
        server = self._server(name, before)
        server.start()
        ref = server.ref
        if ref is None:
            raise StreamtagError(f"{name} ended right after its start", hint=f"Its log is {server.log}.")
        started = Started(
            address=server.bootstrap if isinstance(server, KafkaServer) else server.url,
            port=server.port,
            pid=ref.pid,
            process_started=ref.started,
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            log=str(server.log),
            image=None if server.container is None else server.container.image,
        )
        self._write(name, started)
        return ServiceStatus(name, "running", started.address, started, True, time.monotonic() - begun)

    def _server(self, name: str, before: Started | None) -> KafkaServer | RedisServer:
        # the port it had, or the usual one, so that addresses in shells and configuration stay good
        wanted = before.port if before else USUAL_PORTS[name]
        port = 0 if listens(wanted) else wanted
        if name == "kafka":
            return find_kafka({}).server(data_dir=self._dir / name, port=port, dies_with_parent=False)
        return find_redis({}).server(data_dir=self._dir / name, port=port, dies_with_parent=False)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._dir.mkdir(parents=True, exist_ok=True)
        with (self._dir / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, Started]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, Started])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise StreamtagError(
                f"{self._file} cannot be read: {error}",
                hint="Stop the servers it names by hand (they listen on loopback), then remove it.",
            ) from None

    def _write(self, name: str, service: Started) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode({**self._read(), name: service}))
        fresh.replace(self._file)


def _answers(name: str, address: str) -> bool:
    return broker_answers(address, _ANSWER_S) if name == "kafka" else redis_answers(address, _ANSWER_S)
