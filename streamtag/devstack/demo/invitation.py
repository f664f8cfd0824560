"""What to type into a second terminal."""

import shutil
import sys
from pathlib import Path

from streamtag.devstack.demo.services import Services

__all__ = ["invitation", "program"]


def invitation(services: Services, assignment: str, *, force: bool, experiments: bool) -> list[str]:
    """Lines to copy: where this demo's services are, a change of a cut-off (``label=value``), and what to look at.

    Args:
        services: broker and Redis.
        assignment: ``label=value``.
        force: the change is larger than the guard rail allows.
        experiments: some run, or will, and compare with what the change takes the place of.
    """
    options = ' -m "try it"' + (" --force" if force else "") + (" --end-experiments" if experiments else "")
    return [
        f"export STREAMTAG_REDIS={services.redis_url} STREAMTAG_KAFKA={services.bootstrap}",
        f"{program()} thresholds set {assignment}{options}",
        f"{program()} experiment show 1",
        f"{program()} stats watch",
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
