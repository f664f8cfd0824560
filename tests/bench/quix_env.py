"""The environment of the Quix Streams peer, beside ours: quixstreams wants an older confluent-kafka."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

from streamtag.errors import StreamtagError

from .report import say

_REQUIREMENTS = Path("requirements/bench-quix.txt")
_PACKAGES = ("quixstreams", "confluent-kafka", "onnxruntime", "numpy", "orjson")
_VENV = Path(sys.prefix) / "bench-quix"
_STAMP = _VENV / "installed"


def interpreter() -> str:
    """Its Python; makes the environment first where it is missing, or older than what it must hold.

    Raises:
        StreamtagError: with what pip said.
    """
    python = str(_VENV / "bin" / "python")
    if not _STAMP.exists() or _STAMP.stat().st_mtime < _REQUIREMENTS.stat().st_mtime:
        say(f"installing {_REQUIREMENTS} for the Quix Streams peer …")
        _run(sys.executable, "-m", "venv", "--clear", str(_VENV))
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
        _run(*pip, "-r", str(_REQUIREMENTS))
        _STAMP.touch()
    return python


def versions() -> dict[str, str]:
    """Of what it holds; what matters for the figures."""
    places = [str(place) for place in _VENV.glob("lib/python*/site-packages")]
    found = {one.name.lower(): one.version for one in importlib.metadata.distributions(path=places)}
    return {name: found[name] for name in _PACKAGES}


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StreamtagError(
            f"{' '.join(command[1:4])} … failed for the Quix Streams peer", hint=done.stderr.strip()[-800:]
        )
