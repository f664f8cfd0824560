"""`streamtag model` in this process: what it raises is raised, what it prints is given."""

import json
from typing import Any

from typer.testing import CliRunner

from streamtag.cli.model import app

__all__ = ["run", "run_json"]


def run(*arguments: object) -> str:
    """Its text."""
    found = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.stdout


def run_json(*arguments: object) -> Any:
    """Its one JSON document."""
    return json.loads(run(*arguments, "--output", "json"))
