"""``streamtag ledger``: was anything lost or doubled, by the summaries; and recounted from the topics themselves."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from streamtag.cli import context
from streamtag.cli import ledger_views as views
from streamtag.cli.context import Output, OutputFormat
from streamtag.dead_letters.selection import parse_time
from streamtag.errors import SettingsError
from streamtag.stats.auditor import Auditor, Limit
from streamtag.stats.ledger_document import ledger_document
from streamtag.stats.ledger_reader import read_ledger, reader_options
from streamtag.stream.processor import Partition
from streamtag.stream.topic_reader import TopicReader

app = typer.Typer()

_POSITION = re.compile(r"[0-9]{1,18}")
_SOURCE = re.compile(r"([A-Za-z0-9._-]{1,249})/([0-9]{1,9})")


@app.callback(invoke_without_command=True)
def ledger(
    call: typer.Context,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Only summaries since: RFC 3339, or ago (30m, 2h, 7d). Default: all there are."),
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """The loss ledger: do the commit summaries of each source partition touch, and does each add up?

    Exit code 1 when a gap, an overlap, an imbalance or a record that is no summary was found; each is named.
    """
    if call.invoked_subcommand is not None:
        if since is not None or output is not OutputFormat.TABLE:
            raise SettingsError(
                f"options of `ledger` itself say nothing to `{call.invoked_subcommand}`: give its own, behind it"
            )
        return
    settings = context.settings().settings
    since_ms = None if since is None else parse_time(since, "--since", now=datetime.now(UTC))
    topic = settings.topics.stats
    with TopicReader(reader_options(settings)) as reader, context.stderr.status(f"reading {topic} …"):
        report = read_ledger(topic, reader, since_ms)
    if output is OutputFormat.JSON:
        context.print_json(ledger_document(report, topic, since_ms))
    else:
        views.print_ledger(report, topic)
    if any(report.counts().values()):
        raise typer.Exit(1)


@app.command()
def audit(
    *,
    from_: Annotated[
        str, typer.Option("--from", help="Begin with: RFC 3339, or ago (30m, 2h, 7d), or a position of each partition.")
    ],
    to: Annotated[
        str | None, typer.Option("--to", help="End before, likewise. Default: what the group has committed.")
    ] = None,
    partition: Annotated[
        str | None, typer.Option("--partition", help="Only this source, topic/partition; default: all of them.")
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Recounts a range from the topics themselves: records, tag events, dead letters, tombstones, summaries.

    Each record must have exactly one outcome, and each summary must say what was recounted. Times are those of the
    input's records. Exit code 1 when anything is wrong.
    """
    start = _limit(from_, "--from")
    end = None if to is None else _limit(to, "--to")
    only = None if partition is None else _source(partition)
    settings = context.settings().settings
    with TopicReader(reader_options(settings)) as reader, context.stderr.status("recounting …"):
        report = Auditor(settings, reader).run(start, end, only)
    if output is OutputFormat.JSON:
        context.print_json(views.audit_document(report))
    else:
        views.print_audit(report, settings.topics.stats)
    if not report.clean:
        raise typer.Exit(1)


def _limit(text: str, option: str) -> Limit:
    if _POSITION.fullmatch(text):
        return Limit("position", int(text))
    return Limit("ms", parse_time(text, option, now=datetime.now(UTC)))


def _source(text: str) -> Partition:
    match = _SOURCE.fullmatch(text)
    if match is None:
        raise SettingsError(f"--partition {text!r} must have the form topic/partition, e.g. content/0")
    return match[1], int(match[2])
