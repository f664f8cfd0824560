"""`streamtag taxonomy`: which labels there are, and what became of every id that was ever used."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from streamtag.cli.context import Output, OutputFormat, print_facts, print_json, print_table, say, settings
from streamtag.domain.taxonomy import Taxonomy
from streamtag.domain.taxonomy_changes import changes, succession_problems
from streamtag.errors import RefusedError, SettingsError
from streamtag.events.tags_today import tags_today
from streamtag.model.taxonomy_file import configured_taxonomy, read_taxonomy

app = typer.Typer(help="Labels and what became of their ids: show, check, diff, map.", no_args_is_help=True)

File = Annotated[Path | None, typer.Option("--file", "-f", help="A taxonomy; default: model.taxonomy.")]


@app.command()
def show(file: File = None, output: Output = OutputFormat.TABLE) -> None:
    """Show the labels in use, and the ids that are not any more."""
    taxonomy = _taxonomy(file)
    if output is OutputFormat.JSON:
        print_json(taxonomy)
        return
    print_facts({"taxonomy": taxonomy.name, "version": taxonomy.version})
    columns = ("label", "name", "owner", "since", "critical", "parent", "deprecated by", "was", "meaning")
    rows = (
        (
            label.id,
            label.name,
            label.owner,
            label.since,
            "yes" if label.critical else "",
            label.parent,
            label.deprecated_by,
            ", ".join(label.renamed_from),
            label.description,
        )
        for label in taxonomy.labels
    )
    print_table(columns, rows)
    if taxonomy.retired:
        rows_of_retired = [(one.id, one.until, one.replaced_by) for one in taxonomy.retired]
        print_table(("retired", "until version", "replaced by"), rows_of_retired)


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="A taxonomy; default: model.taxonomy.")] = None,
    after: Annotated[
        Path | None, typer.Option("--after", help="The version before it: no id of it may be lost or used again.")
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Check a taxonomy, and whether it may follow the version before. Exit code 3 names every problem."""
    taxonomy = _taxonomy(file)
    if after is not None:
        _refuse_unless_successor(read_taxonomy(after), taxonomy)
    if output is OutputFormat.JSON:
        print_json({"valid": True, "taxonomy": taxonomy.name, "version": taxonomy.version})
        return
    say(f"taxonomy {taxonomy.name} {taxonomy.version}: {len(taxonomy.labels)} labels, {len(taxonomy.retired)} retired")


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="A taxonomy.")],
    new: Annotated[Path, typer.Argument(help="A later version of it.")],
    output: Output = OutputFormat.TABLE,
) -> None:
    """Compare two versions. Exit code 3 when the new one may not follow the old: then every reason is named, too."""
    before, after = read_taxonomy(old), read_taxonomy(new)
    found = changes(before, after)
    if output is OutputFormat.JSON:
        print_json({"before": before.version, "after": after.version, "changes": found})
    elif found:
        print_table(("change", "label", "what"), [(one.kind, one.label, one.text) for one in found])
    else:
        say(f"versions {before.version} and {after.version} have the same labels")
    _refuse_unless_successor(before, after)


@app.command("map")
def map_(
    labels: Annotated[list[str] | None, typer.Argument(help="Ids of any age; default: all.")] = None,
    file: File = None,
    tags: Annotated[
        bool, typer.Option("--tags", help="Read tag events from stdin, a line each, and write them with today's ids.")
    ] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Say what ids of any age are today; nothing stands for an id that ended, itself for one that is unknown."""
    taxonomy = _taxonomy(file)
    if tags:
        if labels:
            raise SettingsError("--tags maps every label of the events: name none")
        for line in _mapped_events(taxonomy):
            sys.stdout.write(line + "\n")
        return
    found = taxonomy.translate(labels or sorted(taxonomy.known))
    if output is OutputFormat.JSON:
        print_json(found)
        return
    print_table(("id", "today"), [(label, _today(taxonomy, label, now)) for label, now in found.items()])


def _today(taxonomy: Taxonomy, label: str, now: str | None) -> str:
    if label not in taxonomy.known:
        return "unknown"
    return now or "retired, nothing replaces it"


def _mapped_events(taxonomy: Taxonomy) -> Iterator[str]:
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        try:
            event = msgspec.json.decode(line, type=dict[str, Any])
            yield msgspec.json.encode(tags_today(event, taxonomy)).decode()
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
            raise RefusedError(f"stdin, line {number} is no tag event: {error}") from None


def _taxonomy(file: Path | None) -> Taxonomy:
    if file is not None:
        return read_taxonomy(file)
    found = configured_taxonomy(settings().settings.model)
    if found is None:
        raise SettingsError("no taxonomy is configured", hint="Name a file, or set model.taxonomy.")
    return found


def _refuse_unless_successor(before: Taxonomy, after: Taxonomy) -> None:
    found = succession_problems(before, after)
    if found:
        raise RefusedError(
            f"version {after.version} of taxonomy {after.name} may not follow version {before.version}",
            problems=found,
            hint="Ids are never lost and never used again: rename, deprecate or retire them, and count the version up.",
        )
