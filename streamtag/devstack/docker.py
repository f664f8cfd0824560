"""Servers in Docker, where nothing better is installed."""

import shutil
import subprocess


def daemon_answers() -> bool:
    """True when there is a Docker client and its daemon answers it."""
    if shutil.which("docker") is None:
        return False
    try:
        shown = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return shown.returncode == 0


def run_command(*, container: str, image: str, publish: int, mounts: dict[str, str], command: list[str]) -> list[str]:
    """A client in the foreground: it forwards SIGTERM, and its end is the container's end."""
    volumes = [f"--volume={source}:{target}" for source, target in mounts.items()]
    port = f"--publish=127.0.0.1:{publish}:{publish}"
    return ["docker", "run", "--rm", "--pull=missing", f"--name={container}", port, *volumes, image, *command]


def control(verb: str, container: str) -> None:
    """`docker kill|pause|unpause <container>`; a container that has gone is no error."""
    subprocess.run(["docker", verb, container], capture_output=True, timeout=30, check=False)
