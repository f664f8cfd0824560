"""The tagger workers of the demo: real child processes, as anybody would start them."""

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from streamtag.devstack.demo.services import KafkaKind, Services
from streamtag.devstack.process import ProcessRef, spawn
from streamtag.errors import UnavailableError
from streamtag.settings import ModelSettings

__all__ = ["WorkerProcesses", "worker_settings"]

_GRACE_S = 10.0
_TAIL_LINES = 5


def worker_settings(services: Services, model: ModelSettings, state_dir: Path) -> dict[str, Any]:
    """The settings file of a worker; everything else has its default."""
    settings: dict[str, Any] = {
        "kafka": {"bootstrap_servers": services.bootstrap},
        # generous: on a busy machine an embedded Redis may take its time
        "redis": {"url": services.redis_url, "timeout_s": 5.0},
        "model": model.model_dump(mode="json"),
        # KIP-848: the second worker joins without a pause of seconds, on either broker
        "tagger": {"delivery": services.delivery, "group_protocol": "consumer"},
        "telemetry": {"log_format": "text"},
        "state_dir": str(state_dir),
    }
    if services.kind is KafkaKind.MOCK:
        # its empty fetches do not wake on new data
        settings["kafka"]["consumer"] = {"fetch.wait.max.ms": 10}
    return settings


class WorkerProcesses:
    """``count`` workers on one settings file. Start them on the main thread: they end with it.

    Args:
        count: how many.
        settings: as `worker_settings` makes them.
        directory: settings file and logs are written here.
        environ: environment; settings in it are not for these workers and left out.
    """

    def __init__(self, count: int, settings: Mapping[str, Any], directory: Path, environ: Mapping[str, str]) -> None:
        self._count = count
        self._directory = directory
        self._config = directory / "demo.yaml"
        self._config.write_text(yaml.safe_dump(dict(settings)), encoding="utf-8")
        self._environ = {name: value for name, value in environ.items() if not name.startswith("STREAMTAG_")}
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def config(self) -> Path:
        """Their settings file."""
        return self._config

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids, in the order they were started."""
        return tuple(process.pid for process in self._processes)

    def start(self) -> None:
        """Starts them; does not wait until they are ready."""
        command = [sys.executable, "-m", "streamtag", "--config", str(self._config), "tagger"]
        for number in range(self._count):
            log = self._log(number)
            self._processes.append(spawn(command, log=log, dies_with_parent=True, environ=self._environ))

    def check(self) -> None:
        """Raises `UnavailableError` with its last log lines when one has ended."""
        for number, process in enumerate(self._processes):
            if process.poll() is not None:
                what = f"worker {number + 1} ended with exit code {process.returncode}"
                raise UnavailableError("\n".join([f"{what}; its last lines:", *self._tail_of(number)]))

    def tail(self) -> str:
        """The last log lines of each worker."""
        return "\n".join(line for number in range(len(self._processes)) for line in self._tail_of(number))

    def _tail_of(self, number: int) -> list[str]:
        lines = self._log(number).read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return [f"  worker {number + 1}: {line}" for line in lines or ["(it wrote nothing)"]]

    def stop(self) -> None:
        """Has all of them drain and end at the same time; kills those that take too long."""
        stopping = [threading.Thread(target=_stop, args=(process,)) for process in self._processes]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        self._processes.clear()

    def _log(self, number: int) -> Path:
        return self._directory / f"worker-{number + 1}.log"


def _stop(process: subprocess.Popen[bytes]) -> None:
    if (ref := ProcessRef.of(process.pid)) is not None:
        ref.stop(_GRACE_S)
    process.wait()
