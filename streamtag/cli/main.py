"""The ``streamtag`` command: noun, then verb. Exit codes are those of `streamtag.errors`."""

import importlib
import os
import signal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import typer

from streamtag import __version__
from streamtag.cli import context
from streamtag.errors import RefusedError, StreamtagError

app = typer.Typer(
    name="streamtag",
    help="Tag streams of content and security events with many labels, with thresholds you can change live.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Nouns (groups) and single commands, in the order of --help; each module holds `app` or one function.
GROUPS = (
    "thresholds",
    "change",
    "freeze",
    "breaker",
    "release",
    "experiment",
    "model",
    "taxonomy",
    "dlq",
    "stats",
    "ledger",
    "audit",
    "topics",
    "token",
    "config",
    "dev",
)
COMMANDS = ("tagger", "windows", "api", "fleet", "score", "batch", "doctor", "demo")
# Options of `root` with a value behind them, which is no command.
_TAKE_A_VALUE = ("--config", "-c", "--set")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"streamtag {__version__}")
        raise typer.Exit


@app.callback()
def root(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Settings file (YAML).")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Override one setting, e.g. --set tagger.group=moderation.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Fills `context.GLOBALS` before any command runs."""
    context.GLOBALS.config = config
    context.GLOBALS.overrides = context.parse_assignments(assignments or [], "--set")
    context.GLOBALS.debug = debug


def _register(names: Collection[str]) -> None:
    for name in filter(names.__contains__, GROUPS):
        app.add_typer(importlib.import_module(f"streamtag.cli.{name}").app, name=name)
    for name in filter(names.__contains__, COMMANDS):
        app.command(name)(getattr(importlib.import_module(f"streamtag.cli.{name}"), name))


def _asked_for(arguments: Sequence[str]) -> Collection[str]:
    """The command that a command line names; all of them where it names none, e.g. for --help, or one there is not.

    With all of them imported a short command takes twice as long.
    """
    known, rest = (*GROUPS, *COMMANDS), iter(arguments)
    for argument in rest:
        if argument == "--version":
            return ()
        if argument in _TAKE_A_VALUE:
            next(rest, None)
        elif not argument.startswith("-"):
            return [argument] if argument in known else known
    return known


def main() -> None:
    """Entry point: runs a command; errors become one clear message on stderr and a documented exit code."""
    _register(_asked_for(sys.argv[1:]))
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough (`| head`): no error, and no answer either. Other commands end by
        # SIGPIPE, which Python leaves out as it would end a worker whose connection breaks.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to be written
        code = 128 + signal.SIGPIPE
    sys.exit(code)


def _run() -> int | str | None:
    """The exit code that the command wants."""
    try:
        app()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer and Rich make exit code 1 of it
            raise end.__context__ from None
        return end.code
    except StreamtagError as error:
        if context.GLOBALS.debug:
            raise
        _complain(error)
        return error.exit_code
    return 0


def _complain(error: StreamtagError) -> None:
    context.warn(f"error: {error.message}", style="red")
    if isinstance(error, RefusedError):
        for problem in error.problems:
            context.warn(f"  - {problem}")
    if error.hint:
        context.warn(f"hint: {error.hint}")
