"""`streamtag …` in this process: all that its entry point does, but for the second that a process takes to start."""

import contextlib
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from streamtag.cli import context, main

__all__ = ["Done", "streamtag"]


@dataclass(frozen=True)
class Done:
    """Exit code, and what was said."""

    code: object
    out: str
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)


def streamtag(overrides: Mapping[str, str], *arguments: str) -> Done:
    """One command with these settings. What it does not expect is raised here."""
    sets = [f"--set={name}={value}" for name, value in overrides.items()]
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(main.app, "registered_groups", []),  # a process runs one command
        patch.object(main.app, "registered_commands", []),
        patch.object(sys, "argv", ["streamtag", *sets, *arguments]),
        patch.object(context, "GLOBALS", context.Globals()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main.main()
    return Done(end.value.code, out.getvalue(), err.getvalue())
