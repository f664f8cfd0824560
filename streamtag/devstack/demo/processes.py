"""The processes of the demo: real children, as anybody would start them, on one settings file."""

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamtag import strict_yaml
from streamtag.devstack.demo.services import KafkaKind, Services
from streamtag.devstack.process import ProcessRef, spawn
from streamtag.errors import UnavailableError
from streamtag.settings import ModelSettings

__all__ = ["PANE_S", "Processes", "process_settings"]

PANE_S = 1
"""Panes are short, so that windows move and experiments are looked at every second."""
_GRACE_S = 10.0
_TAIL_LINES = 5


def process_settings(services: Services, model: ModelSettings, state_dir: Path) -> dict[str, Any]:
    """The settings file of all of them; everything else has its default."""
    settings: dict[str, Any] = {
        "kafka": {"bootstrap_servers": services.bootstrap},
        # generous: on a busy machine an embedded Redis may take its time
        "redis": {"url": services.redis_url, "timeout_s": 5.0},
        "model": model.model_dump(mode="json"),
        # KIP-848: the second worker joins without a pause of seconds, on either broker
        "tagger": {"delivery": services.delivery, "group_protocol": "consumer"},
        # a demo is short: panes close, and are final, sooner than anybody would want elsewhere
        "windows": {"group_protocol": "consumer", "commit_interval_ms": 200, "idle_ms": 500, "lateness_ms": 5_000},
        "stats": {"pane_s": PANE_S, "web_port": None},
        "telemetry": {"log_format": "text"},
        "state_dir": str(state_dir),
    }
    if services.kind is KafkaKind.MOCK:
        # its empty fetches do not wake on new data
        settings["kafka"]["consumer"] = {"fetch.wait.max.ms": 10}
    return settings


class Processes:
    """Start them on the main thread: they end with it.

    Args:
        settings: as `process_settings` makes them.
        directory: settings file and logs are written here.
        environ: environment; settings in it are not for these processes and left out.
    """

    def __init__(self, settings: Mapping[str, Any], directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._config = directory / "demo.yaml"
        self._config.write_text(strict_yaml.dump(dict(settings)), encoding="utf-8")
        self._environ = {name: value for name, value in environ.items() if not name.startswith("STREAMTAG_")}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def config(self) -> Path:
        """Their settings file."""
        return self._config

    @property
    def pids(self) -> Mapping[str, int]:
        """Name to process id, in the order they were started."""
        return {name: process.pid for name, process in self._processes.items()}

    def command(self, *arguments: str) -> list[str]:
        """``streamtag`` on their settings file."""
        return [sys.executable, "-m", "streamtag", "--config", str(self._config), *arguments]

    def start(self, name: str, command: list[str]) -> None:
        """Starts one; does not wait until it is ready."""
        self._processes[name] = spawn(command, log=self._log(name), dies_with_parent=True, environ=self._environ)

    def check(self) -> None:
        """Raises `UnavailableError` with its last log lines when one has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                what = f"{name} ended with exit code {process.returncode}"
                raise UnavailableError("\n".join([f"{what}; its last lines:", *self._tail_of(name)]))

    def tail(self) -> str:
        """The last log lines of each."""
        return "\n".join(line for name in self._processes for line in self._tail_of(name))

    def stop(self) -> None:
        """Has all of them drain and end at the same time; kills those that take too long."""
        stopping = [threading.Thread(target=_stop, args=(process,)) for process in self._processes.values()]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        self._processes.clear()

    def _tail_of(self, name: str) -> list[str]:
        lines = self._log(name).read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return [f"  {name}: {line}" for line in lines or ["(it wrote nothing)"]]

    def _log(self, name: str) -> Path:
        return self._directory / f"{name.replace(' ', '-')}.log"


def _stop(process: subprocess.Popen[bytes]) -> None:
    if (ref := ProcessRef.of(process.pid)) is not None:
        ref.stop(_GRACE_S)
    process.wait()
