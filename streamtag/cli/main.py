"""The ``streamtag`` command: noun, then verb. Exit codes are those of `streamtag.errors`."""

import importlib
import os
import signal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

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

# Nouns (groups) and single commands, in the order of --help, and what it says of each: a list of them imports none.
# Each module holds `app` or one function.
GROUPS = {
    "thresholds": "Cut-offs per label: show, try out, change live, go back.",
    "change": "Changes asked for and approved: open, list, show, approve, publish, take back.",
    "freeze": "Nothing changes but by restore and return: on, off, show.",
    "breaker": "Labels turned to review only: list, close.",
    "release": "Releases (bundle + thresholds): list, show, promote, return, bring back.",
    "experiment": "Experiments (champion against challenger): start, show, change the share, stop, promote.",
    "model": "Model bundles: list, show, verify, compare, publish, promote, import, train, calibrate, evaluate.",
    "taxonomy": "Labels and what became of their ids: show, check, diff, map.",
    "dlq": "Dead letters: list, show, group, replay; lift a stop.",
    "stats": "Statistics: run the app that keeps them (no command), show, top, watch, rebuild.",
    "ledger": "The loss ledger: do the commit summaries of each source partition touch, and does each add up?",
    "audit": "The record of all changes: show it, and prove that it stands.",
    "topics": "Topics: list declarations, compare them with a cluster, apply them.",
    "token": "Tokens of the HTTP API: create, list, revoke.",
    "config": "Settings: show values and where they came from, check a file.",
    "dev": "A real Kafka and Redis on this host: start, stop, look.",
}
COMMANDS = {
    "tagger": "Run a tagger: content events in, tag events, statistics and dead letters out, until SIGTERM.",
    "windows": "Run a windower: commit summaries in, panes of statistics out, until SIGTERM.",
    "api": "Run the HTTP API until SIGTERM: scoring, what decides and changing it, statistics.",
    "fleet": "Show the workers of the consumer group: release, positions it took effect at, lag, latency, last error.",
    "score": "Score lines of text, or content events, and write scores and tags as JSON lines.",
    "batch": "Score files of documents: scores and tags as the stream would give them, in a directory of parts.",
    "doctor": "Check settings, Kafka, topics, Redis, bundle, clock and versions; exit code 1 when something fails.",
    "demo": "Start a broker, Redis and taggers, feed them harmless made-up events, and show what happens.",
}
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


def _register(wanted: Collection[str]) -> None:
    """Puts all commands into `app`; only those that are wanted are imported, which halves the time of a short one."""
    for name, says in GROUPS.items():
        app.add_typer(_imported(name).app if name in wanted else typer.Typer(), name=name, short_help=says)
    for name, says in COMMANDS.items():
        function = getattr(_imported(name), name) if name in wanted else _known_by_name_only
        app.command(name, short_help=says)(function)


def _imported(name: str) -> Any:
    return importlib.import_module(f"streamtag.cli.{name}")


def _known_by_name_only() -> None:
    raise AssertionError("a command that was not asked for does not run")


def _asked_for(arguments: Sequence[str]) -> Collection[str]:
    """The command that a command line names; empty where it names none, e.g. for --help, or one there is not."""
    rest = iter(arguments)
    for argument in rest:
        if argument in _TAKE_A_VALUE:
            next(rest, None)
        elif not argument.startswith("-"):
            return [argument] if argument in GROUPS or argument in COMMANDS else []
    return []


def _arguments() -> Sequence[str]:
    """Of this process; or, where a shell asks what could come next, of the line that is being typed."""
    if "_STREAMTAG_COMPLETE" not in os.environ:
        return sys.argv[1:]
    line = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
    return line.split()[1:]


def main() -> None:
    """Entry point: runs a command; errors become one clear message on stderr and a documented exit code."""
    _register(_asked_for(_arguments()))
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
