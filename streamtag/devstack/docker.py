"""Servers in Docker, where nothing better is installed."""

import hashlib
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamtag.errors import UnavailableError

_ANSWER_S = 10.0
_PULL_S = 600.0
_VERBS = {signal.SIGKILL: "kill", signal.SIGSTOP: "pause", signal.SIGCONT: "unpause"}


def daemon_answers() -> bool:
    """True when there is a Docker client and its daemon answers it."""
    if shutil.which("docker") is None:
        return False
    try:
        shown = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            timeout=_ANSWER_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return shown.returncode == 0


class Container:
    """The container of one server, with a volume of the same name for its data.

    Args:
        service: name of the server.
        data_dir: gives the container its name, so that a server started again there finds its data.
        image: name and tag.
    """

    def __init__(self, service: str, data_dir: Path, image: str) -> None:
        self.image = image
        self.name = f"streamtag-{service}-{hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:12]}"

    def run_command(
        self,
        *,
        port: int,
        data: str,
        mounts: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
    ) -> list[str]:
        """A client in the foreground: it forwards SIGTERM, and its end is the container's end.

        Args:
            port: published on loopback under the same number.
            data: where the image keeps its data; the volume goes there.
            mounts: directories of this host to directories of the container.
            environ: environment of the container.
            command: instead of the image's own.
        """
        volumes = {self.name: data, **(mounts or {})}
        options = [f"--volume={source}:{target}" for source, target in volumes.items()]
        options += [f"--env={name}={value}" for name, value in (environ or {}).items()]
        publish = f"--publish=127.0.0.1:{port}:{port}"
        return ["docker", "run", "--rm", f"--name={self.name}", publish, *options, self.image, *command]

    def prepare(self) -> None:
        """Fetches the image if it is not here, and removes what a client that was killed left behind."""
        if self._docker("image", "inspect", self.image) != 0 and self._docker("pull", self.image) != 0:
            raise UnavailableError(f"Docker could not pull {self.image}", hint=f"See `docker pull {self.image}`.")
        self.remove()

    def signal(self, number: signal.Signals) -> None:
        """SIGKILL, SIGSTOP or SIGCONT to what runs in it."""
        self._docker(_VERBS[number], self.name)

    def remove(self) -> None:
        """Ends and removes it; its volume stays."""
        self._docker("rm", "--force", self.name)

    def remove_data(self) -> None:
        """Removes its volume."""
        self._docker("volume", "rm", "--force", self.name)

    def _docker(self, *arguments: str) -> int:
        # most callers do not care: one that has gone already is what they wanted
        return subprocess.run(["docker", *arguments], capture_output=True, timeout=_PULL_S, check=False).returncode
