"""`streamtag topics`: the declared topics, and a cluster brought in line with them."""

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from streamtag.cli.context import Output, OutputFormat, print_json, print_table, say, settings
from streamtag.errors import RefusedError
from streamtag.events.topic_admin import TopicAdmin
from streamtag.events.topics import Difference, Remedy, TopicDeclaration, declared_topics, read_declarations
from streamtag.settings import TopicsSettings

app = typer.Typer(help="Topics: list declarations, compare them with a cluster, apply them.", no_args_is_help=True)

Declarations = Annotated[
    Path | None,
    typer.Option(
        "--declarations",
        help="Directory with your own content.yaml, tags.yaml, stats.yaml, dead-letters.yaml, panes.yaml; "
        "default: topics.declarations, else the shipped ones.",
    ),
]


@app.command("list")
def list_(output: Output = OutputFormat.TABLE, declarations: Declarations = None) -> None:
    """Show the topics that the settings name, as declared (asks no broker)."""
    declared = _declared(settings().settings.topics, declarations)
    if output is OutputFormat.JSON:
        print_json([msgspec.to_builtins(topic) for topic in declared.values()])
        return
    columns = ("topic", "partitions", "copies", "kept for", "max bytes", "what")
    print_table(columns, [_row(topic) for topic in declared.values()])


def _declared(topics: TopicsSettings, declarations: Path | None) -> dict[str, TopicDeclaration]:
    return declared_topics(topics, read_declarations(declarations or topics.declarations))


def _row(topic: TopicDeclaration) -> Sequence[Any]:
    copies = topic.replication if topic.replication > 0 else "broker's"
    retention = topic.config.get("retention.ms")
    if retention is not None:
        retention = "for ever" if int(retention) < 0 else str(timedelta(milliseconds=int(retention))).split(",")[0]
    limit = topic.config.get("max.message.bytes")
    return topic.name, topic.partitions, copies, retention, limit, re.split("[:.]", topic.description)[0]


@app.command()
def diff(output: Output = OutputFormat.TABLE, declarations: Declarations = None) -> None:
    """Compare the cluster with the declarations; exit code 0 when equal, 1 when different."""
    loaded = settings().settings
    declared = _declared(loaded.topics, declarations)
    found = TopicAdmin(loaded.kafka).compare(declared)
    if output is OutputFormat.JSON:
        print_json({"equal": not found, "differences": [_document(difference) for difference in found]})
    elif found:
        _print_differences(found)
    else:
        say(f"Equal: {', '.join(declared)}.")
    if found:
        raise typer.Exit(1)


@app.command()
def apply(
    output: Output = OutputFormat.TABLE,
    declarations: Declarations = None,
    add_partitions: Annotated[
        bool,
        typer.Option(
            "--add-partitions", help="Add missing partitions, too. Keys move: order per key is broken at that moment."
        ),
    ] = False,
) -> None:
    """Create and adapt topics; never delete, never shrink.

    Exit code 3 when a difference remains that cannot be mended without losing something: each is named, and all
    others have been mended. Topics that belong to others (declared with `existing: keep`) are created where they are
    missing, and otherwise left as they are.
    """
    loaded = settings().settings
    declared = _declared(loaded.topics, declarations)
    admin = TopicAdmin(loaded.kafka)
    found = admin.compare(declared)
    applied = admin.apply(declared, found, add_partitions=add_partitions)
    remaining = [difference for difference in found if difference not in applied]
    if output is OutputFormat.JSON:
        names = {"applied": applied, "remaining": remaining}
        print_json({name: [_document(difference) for difference in list_] for name, list_ in names.items()})
    else:
        for difference in applied:
            say(f"{difference.remedy}: {describe(difference)}")
        if not applied:
            say("Nothing to do." if not remaining else "Nothing done.")
    blocking = [difference for difference in remaining if difference.remedy is not Remedy.KEEP]
    if blocking:
        raise RefusedError(
            "the cluster is not as declared, and apply never deletes or shrinks",
            problems=[describe(difference) for difference in blocking],
            hint="Change the declaration, or the topic by hand; `--add-partitions` adds partitions.",
        )


def describe(difference: Difference) -> str:
    """One difference as a line for people."""
    if difference.actual is None and difference.what == "topic":
        return f"{difference.topic}: {difference.declared}"
    line = f"{difference.topic}: {difference.what} is {difference.actual}, declared {difference.declared}"
    return f"{line} ({difference.reason})" if difference.reason else line


def _document(difference: Difference) -> dict[str, Any]:
    return {
        "topic": difference.topic,
        "what": difference.what,
        "declared": difference.declared,
        "actual": difference.actual,
        "remedy": difference.remedy.value,
        "reason": difference.reason,
    }


def _print_differences(found: Sequence[Difference]) -> None:
    columns = ("topic", "what", "on the cluster", "declared", "remedy", "reason")
    rows = [(d.topic, d.what, d.actual or "missing", d.declared, d.remedy, d.reason) for d in found]
    print_table(columns, rows)
