"""`streamtag breaker`: labels whose tags ask for review only, as they were tagged too often."""

from typing import Annotated

import typer

from streamtag.cli.context import (
    Author,
    Output,
    OutputFormat,
    Reason,
    author_or_user,
    print_json,
    print_table,
    say,
    settings,
)
from streamtag.control.breakers import BreakerLog
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore

app = typer.Typer(help="Labels turned to review only: list, close.", no_args_is_help=True)


def _log() -> BreakerLog:
    return BreakerLog(ControlStore(settings().settings.redis))


@app.command("list")
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Those that have closed again, too.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List labels with an open breaker: since when, by whom, and why."""
    present = _log().present()
    found = {name: state for name, state in sorted(present.labels.items()) if state.open or all_}
    if output is OutputFormat.JSON:
        print_json({"number": present.number, "labels": found})
    elif not found:
        say("no breaker is open")
    else:
        columns = ("label", "state", "since (UTC)", "by", "reason")
        rows = [
            (name, "open" if s.open else "closed", f"{s.at:%Y-%m-%d %H:%M:%S}", s.by, s.reason)
            for name, s in found.items()
        ]
        print_table(columns, rows)


@app.command()
def close(
    label: Annotated[str, typer.Argument(help="The label to trust again.")],
    reason: Reason,
    author: Author = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Trust a label again. Its rule can open it anew, not sooner than a window from now.

    Exit code 4 where the label never had an open breaker.
    """
    log = _log()
    changed = log.close(label, Who(author_or_user(author), reason))
    if output is OutputFormat.JSON:
        print_json({"closed": changed, "state": log.present().labels[label]})
    else:
        say(f"closed the breaker of {label}" if changed else f"the breaker of {label} is closed already")
