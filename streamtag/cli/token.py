"""`streamtag token`: who may use the HTTP API, and for what."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
import typer

from streamtag.cli.context import Author, Output, OutputFormat, author_or_user, print_json, print_table, say, settings
from streamtag.control.store import ControlStore
from streamtag.control.tokens import Role, TokenStore
from streamtag.errors import SettingsError

app = typer.Typer(help="Tokens of the HTTP API: create, list, revoke.", no_args_is_help=True)

_SPAN = re.compile(r"([0-9]{1,6})([hd])")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Of whoever will use it; the author of what is changed with it.")],
    role: Annotated[Role, typer.Option("--role", help="Each may do what those before it may.")] = Role.VIEWER,
    expires: Annotated[str | None, typer.Option("--expires", help="After so long: 12h, 30d. Default: never.")] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="The only labels whose cut-offs it may change: spam,insult.")
    ] = None,
    author: Author = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Make a token and print it, this once: Redis holds only its hash."""
    expires_at = None if expires is None else datetime.now(UTC) + _span(expires)
    only = None if labels is None else [one.strip() for one in labels.split(",") if one.strip()]
    secret = _tokens().create(name, role, by=author_or_user(author), expires_at=expires_at, labels=only)
    if output is OutputFormat.JSON:
        print_json({"name": name, "role": role, "expires_at": expires_at, "token": secret})
    else:
        say(secret)


@app.command("list")
def list_(output: Output = OutputFormat.TABLE) -> None:
    """List the tokens, without their secrets."""
    found = _tokens().all()
    if output is OutputFormat.JSON:
        print_json({"tokens": [msgspec.to_builtins(one) for one in found]})
        return
    now = datetime.now(UTC)
    columns = ("name", "role", "only labels", "made by", "at (UTC)", "expires (UTC)", "begins with")
    print_table(
        columns,
        (
            (
                one.name,
                one.role,
                ", ".join(one.labels or ()),
                one.created_by,
                f"{one.created_at:%Y-%m-%d %H:%M}",
                ""
                if one.expires_at is None
                else f"{one.expires_at:%Y-%m-%d %H:%M}{'' if one.valid(now) else ', expired'}",
                one.start,
            )
            for one in found
        ),
    )


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Of the token.")],
    author: Author = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """End a token; running APIs refuse it within five seconds."""
    found = _tokens().revoke(name, by=author_or_user(author))
    if output is OutputFormat.JSON:
        print_json({"revoked": found.name, "role": found.role})
    else:
        say(f"revoked {found.name} ({found.role})")


def _tokens() -> TokenStore:
    return TokenStore(ControlStore(settings().settings.redis))


def _span(text: str) -> timedelta:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise SettingsError(f"--expires {text!r} must be hours or days, e.g. 12h or 30d")
    return timedelta(**{{"h": "hours", "d": "days"}[found[2]]: int(found[1])})
