"""What to type into a second terminal."""

import shutil
import sys
from pathlib import Path

from streamtag.devstack.demo.services import Services

__all__ = ["invitation"]


def invitation(services: Services, assignment: str, *, force: bool) -> list[str]:
    """Two lines to copy: where this demo's services are, and a change of a cut-off (``label=value``)."""
    options = ' --reason "try it"' + (" --force" if force else "")
    return [
        f"export STREAMTAG_REDIS={services.redis_url} STREAMTAG_KAFKA={services.bootstrap}",
        f"{program()} thresholds set {assignment}{options}",
    ]


def program() -> str:
    """The command as a second terminal in this directory can call it, where no virtual environment is active."""
    if sys.prefix == sys.base_prefix and shutil.which("streamtag"):
        return "streamtag"
    installed = Path(sys.executable).with_name("streamtag")
    if not installed.exists():
        return f"{sys.executable} -m streamtag"
    here = Path.cwd()
    return str(installed.relative_to(here)) if installed.is_relative_to(here) else str(installed)
