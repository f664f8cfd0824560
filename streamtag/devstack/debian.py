"""Programs that are missing, from Debian's packages."""

import os
import shutil
import subprocess
from pathlib import Path

_DEBIAN = Path("/etc/debian_version")
_POLICY = Path("/usr/sbin/policy-rc.d")


def install(package: str) -> bool:
    """Installs a package that is named as its program, without starting a service of it.

    Returns:
        Whether the program is there now; False where installing is not ours to do (only root's, on Debian) or fails.
    """
    if os.geteuid() != 0 or shutil.which("apt-get") is None or not _DEBIAN.exists():
        return False
    # Debian asks this file before it starts a service of a fresh package; 101 says no
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
        _POLICY.chmod(0o755)
    try:
        for arguments in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", package]):
            environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            command = ["apt-get", *arguments]
            if subprocess.run(command, env=environ, capture_output=True, timeout=300, check=False).returncode != 0:
                return False
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        if ours:
            _POLICY.unlink()
    return shutil.which(package) is not None
