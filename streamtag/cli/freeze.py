"""`streamtag freeze`: for as long as it holds, nothing that decides changes, but for the way back."""

from datetime import timedelta
from typing import Annotated

import typer

from streamtag.cli.context import Author, Output, OutputFormat, Reason, author_or_user, print_json, say, settings
from streamtag.cli.spans import span
from streamtag.control.freeze import Freeze, Freezes
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore

app = typer.Typer(help="Nothing changes but by restore and return: on, off, show.", no_args_is_help=True)


def _freezes() -> Freezes:
    return Freezes(ControlStore(settings().settings.redis))


@app.command()
def on(
    reason: Reason,
    lasts: Annotated[
        str | None, typer.Option("--for", help="Ends by itself after so long: 30m, 2h, 7d. Default: when lifted.")
    ] = None,
    author: Author = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Refuse every change of thresholds, releases and experiments from now on, whoever makes it.

    `restore`, `return` and the end of an experiment go through: the way back stays open. Exit code 5 where it is frozen
    already.
    """
    end: timedelta | None = None if lasts is None else span(lasts, "--for")
    _tell(_freezes().begin(Who(author_or_user(author), reason), lasts=end), output)


@app.command()
def off(reason: Reason, author: Author = None, output: Output = OutputFormat.TABLE) -> None:
    """Let changes through again. What was due meanwhile happens now. Exit code 4 where nothing was frozen."""
    _freezes().lift(Who(author_or_user(author), reason))
    _tell(None, output)


@app.command()
def show(output: Output = OutputFormat.TABLE) -> None:
    """Show whether everything is frozen, by whom, why and until when."""
    _tell(_freezes().current(), output)


def _tell(found: Freeze | None, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        print_json({"frozen": found is not None, "freeze": found})
    else:
        say("nothing is frozen" if found is None else f"frozen: {found}")
