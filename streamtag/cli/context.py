"""What every command shares: settings from the global options, output format, exit on error."""

import getpass
import math
import os
import pwd
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamtag.errors import RefusedError, SettingsError
from streamtag.settings import Loaded, load_settings


class OutputFormat(StrEnum):
    """``table`` for people, ``json`` for machines (one document on stdout, nothing else there)."""

    TABLE = "table"
    JSON = "json"


Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="table for people, json for machines.")]
Author = Annotated[
    str | None, typer.Option("--author", help="Who makes this change; default: the operating system's user.")
]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; kept with the change for ever.")]

SERVICE_USER = "streamtag"
"""As which the image and a unit of an init system run the processes: whoever has a shell there, so nobody."""

# Into a pipe or a file, lines are as long as they need to be, within reason: nothing is folded for a screen.
stdout = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200)
stderr = Console(stderr=True)


@dataclass
class Globals:
    """Options given before the command."""

    config: Path | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    debug: bool = False


# One process runs one command; the root callback fills this before the command runs.
GLOBALS = Globals()


def settings(**overrides: object) -> Loaded:
    """Settings from all sources; ``overrides`` (dotted names with ``__`` for the dot) are a command's own options."""
    extra = {name.replace("__", "."): str(value) for name, value in overrides.items() if value is not None}
    return load_settings(config=GLOBALS.config, overrides={**GLOBALS.overrides, **extra})


def parse_assignments(pairs: Sequence[str], what: str) -> dict[str, str]:
    """``["a=1", "b=2"]`` as a dict; refuses a pair without ``=`` and a name that comes twice."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise SettingsError(f"{what} {pair!r} must have the form name=value")
        if name in found:
            raise SettingsError(f"{what} {name} is given more than once")
        found[name] = value
    return found


def parse_cutoffs(pairs: Sequence[str]) -> dict[str, float]:
    """``["spam=0.8"]`` as a dict; refuses what is no number, naming each."""
    found, values = [], {}
    for label, text in parse_assignments(pairs, "threshold").items():
        try:
            values[label] = float(text)
        except ValueError:
            found.append(f"{label}: {text!r} is not a number")
    if found:
        raise RefusedError("the change is not valid", problems=found)
    return values


def finite(value: float | None) -> float | None:
    """Callback of every option that is a number: ranges let infinity through, and in older Typers NaN."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def author_or_user(author: str | None) -> str:
    """The author to record: the one given, else the OS user (the one behind sudo, where there is one).

    Raises:
        SettingsError: none is given, and the OS has no name for this user, or that of the service itself.
    """
    try:
        found = author or os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # the one up to Python 3.12, the other since
        raise SettingsError(
            f"no author is given, and this system has no name for user {os.getuid()}", hint="Give one with --author."
        ) from None
    if found == SERVICE_USER and not author:
        raise SettingsError(
            f"no author is given, and {found} is the user of the service: whoever has a shell here",
            hint="Give your name with --author, or use the API with a token of your own.",
        )
    return found


def login_name() -> str:
    """The user of this system, as the system knows it; the one behind sudo, where root runs the command.

    For what only a second person may do: neither an option nor ``$USER`` says otherwise.

    Raises:
        SettingsError: this system has no name for the user, or that of the service itself, as in a container.
    """
    uid, behind = os.getuid(), os.environ.get("SUDO_UID", "")
    try:
        found = pwd.getpwuid(int(behind) if uid == 0 and behind.isdigit() else uid).pw_name
    except KeyError:
        found = ""
    if not found or found == SERVICE_USER:
        who = f"{found} is the user of the service" if found else f"this system has no name for user {uid}"
        raise SettingsError(
            f"{who}, and a change needs to know who asks for it and who approves it",
            hint="Use the API with a token of your own (`streamtag token create`).",
        )
    return found


def optional_module(name: str, doing: str, extra: str) -> Any:
    """A module of ours that needs packages of an extra.

    Raises:
        SettingsError: they are not installed; says which extra to install for what somebody is ``doing``.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{doing} needs the package {error.name}", hint=f"Install the extra: pip install 'streamtag[{extra}]'."
        ) from None


def say(text: str) -> None:
    """Text for people on stdout: nothing in it is markup or steers, and a line is folded by the terminal only."""
    stdout.print(printable(text), highlight=False, markup=False, emoji=False, soft_wrap=True)


def warn(text: str, *, style: str | None = None) -> None:
    """The same on stderr, which belongs to people in every output format."""
    stderr.print(printable(text), style=style, highlight=False, markup=False, emoji=False, soft_wrap=True)


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """A table for people; cells are shown with ``str``, empty for None. Nothing in them is markup.

    A column that is empty in every row is left out: it would take room from those that say something.
    """
    cells = [[_plain(cell) for cell in row] for row in rows]
    kept = [i for i in range(len(columns)) if not cells or any(row[i] for row in cells)]
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for i in kept:
        table.add_column(Text(columns[i]), overflow="fold")
    for row in cells:
        table.add_row(*(row[i] for i in kept))
    stdout.print(table)


def print_facts(facts: Mapping[str, Any]) -> None:
    """Name-value lines for people."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(Text(name), _plain(value))
    stdout.print(table)


def printable(text: str, *, but: str = "\n\t") -> str:
    """Text that cannot steer a terminal: what is not printable is escaped, ``but`` these (line ends and tabs)."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in but else c.encode("unicode_escape").decode() for c in text)


def _plain(cell: object) -> Text:
    return Text("" if cell is None else printable(str(cell)))
