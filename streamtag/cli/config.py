"""`streamtag config`: every setting with its value and origin, and a check of a settings file."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from streamtag.cli import context
from streamtag.cli.context import Output, OutputFormat, print_json, print_table, say
from streamtag.settings import Loaded, describe, load_settings
from streamtag.settings.secrets import shown

app = typer.Typer(help="Settings: show values and where they came from, check a file.", no_args_is_help=True)


@app.command()
def show(
    output: Output = OutputFormat.TABLE,
    changed: Annotated[bool, typer.Option("--changed", help="Only settings that some source has set.")] = False,
) -> None:
    """Show every setting, its value, where it came from, and what it means. Secrets are masked."""
    rows = [row for row in _rows(context.settings()) if not changed or row["origin"] != "default"]
    if output is OutputFormat.JSON:
        print_json(rows)
        return
    columns = ("setting", "value", "origin", "meaning")
    print_table(columns, [(r["setting"], _words(r["value"]), r["origin"], r["meaning"]) for r in rows])


@app.command()
def validate(
    file: Annotated[Path | None, typer.Argument(help="Settings file; default: the one in effect.")] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Check settings without starting anything; exit code 2 names every fault.

    With FILE, that file alone is checked, as if nothing else were set; without, all sources together.
    """
    if file is None:
        context.settings()
        checked = str(context.GLOBALS.config or os.environ.get("STREAMTAG_CONFIG") or "defaults and environment")
    else:
        load_settings(config=file, environ={})
        checked = str(file)
    if output is OutputFormat.JSON:
        print_json({"valid": True, "checked": checked})
    else:
        say(f"Valid: {checked}.")


def _rows(loaded: Loaded) -> Iterator[dict[str, Any]]:
    for name, field in describe():
        value: Any = loaded.settings
        for part in name.split("."):
            value = getattr(value, part)
        meaning = field.description or ""
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                yield _row(f"{name}.{key}", inner, loaded, meaning)
        else:
            yield _row(name, value, loaded, meaning)


def _row(name: str, value: Any, loaded: Loaded, meaning: str) -> dict[str, Any]:
    if isinstance(value, Path):
        value = str(value)
    elif isinstance(value, list):
        value = [str(item) for item in value]
    return {"setting": name, "value": shown(name, value), "origin": loaded.origin(name), "meaning": meaning}


def _words(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(value) if isinstance(value, list) else str(value) if value != {} else ""
