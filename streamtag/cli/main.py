"""The ``streamtag`` command: noun, then verb. Exit codes are those of `streamtag.errors`."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import click
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
GROUPS = ("thresholds", "release", "model", "dlq", "topics", "config", "dev")
COMMANDS = ("tagger", "fleet", "score", "doctor", "demo")


@app.callback()
def root(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Settings file (YAML).")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Override one setting, e.g. --set tagger.group=moderation.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Fills `context.GLOBALS` before any command runs."""
    if version:
        typer.echo(f"streamtag {__version__}")
        raise typer.Exit
    context.GLOBALS.config = config
    context.GLOBALS.overrides = context.parse_assignments(assignments or [], "--set")
    context.GLOBALS.debug = debug


def _register() -> None:
    for name in GROUPS:
        if importlib.util.find_spec(f"streamtag.cli.{name}") is None:
            continue
        app.add_typer(importlib.import_module(f"streamtag.cli.{name}").app, name=name)
    for name in COMMANDS:
        if importlib.util.find_spec(f"streamtag.cli.{name}") is None:
            continue
        app.command(name)(getattr(importlib.import_module(f"streamtag.cli.{name}"), name))


def main() -> None:
    """Entry point: runs a command; errors become one clear message on stderr and a documented exit code."""
    _register()
    try:
        app(standalone_mode=False)
    except StreamtagError as error:
        if context.GLOBALS.debug:
            raise
        _complain(error)
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)


def _complain(error: StreamtagError) -> None:
    context.stderr.print(f"error: {error.message}", style="red", markup=False, highlight=False)
    if isinstance(error, RefusedError):
        for problem in error.problems:
            context.stderr.print(f"  - {problem}", markup=False, highlight=False)
    if error.hint:
        context.stderr.print(f"hint: {error.hint}", markup=False, highlight=False)
