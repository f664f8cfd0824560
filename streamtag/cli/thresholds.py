"""`streamtag thresholds`: the cut-offs that decide, changed live, with author and reason."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from streamtag.cli.context import (
    Author,
    Output,
    OutputFormat,
    Reason,
    author_or_user,
    parse_assignments,
    parse_cutoffs,
    print_facts,
    print_json,
    print_table,
    say,
    settings,
    warn,
)
from streamtag.cli.history import newest
from streamtag.cli.outcome import BreakGlass, EndExperiments, Force, Wait, change_champion, change_rows, read_text
from streamtag.cli.preview import preview
from streamtag.control.changes import ReleaseChanges
from streamtag.control.documents import Stored
from streamtag.control.proposal import Who, describe
from streamtag.control.release_documents import RevisionId, ThresholdRevision
from streamtag.control.store import AuditEntry, ControlStore
from streamtag.control.threshold_file import parse_threshold_file
from streamtag.domain.thresholds import Change, ThresholdSet, diff
from streamtag.errors import NotFoundError, RefusedError, UnavailableError
from streamtag.settings import Settings

app = typer.Typer(help="Cut-offs per label: show, try out, change live, go back.", no_args_is_help=True)
app.command()(preview)

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many, newest first.")]


def _open() -> tuple[Settings, ControlStore, ReleaseChanges]:
    loaded = settings().settings
    store = ControlStore(loaded.redis)
    return loaded, store, ReleaseChanges(store, max_step=loaded.thresholds.max_step)


@app.command()
def show(
    revision: Annotated[int | None, typer.Argument(help="An earlier revision; default: the one that decides.")] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show cut-offs and segment overrides, with revision, author, reason and time.

    The JSON form can be edited and given to `apply`.
    """
    _, store, changes = _open()
    current = store.current()
    if current is None:
        raise NotFoundError("Redis holds no release yet", hint="The first worker to start seeds it.")
    stored = current.revision if revision is None else changes.revision(revision)
    document = stored.document
    about: dict[str, Any] = {
        "release": current.id.number if revision is None else None,
        "bundle": str(current.ref.bundle) if revision is None else None,
        "author": document.author,
        "reason": document.reason,
        "at": document.at,
        "decides_since": current.release.document.at if revision is None else None,
    }
    if output is OutputFormat.JSON:
        base = {"revision": document.revision, "sha256": stored.sha256}
        print_json({"base": base, **msgspec.to_builtins(document.thresholds), "about": about})
        return
    facts = {name.replace("_", " "): _plain(value) for name, value in about.items() if value is not None}
    print_facts({"revision": document.revision, **facts})
    columns, rows = _grid(document.thresholds.to_set())
    print_table(columns, rows)


def _plain(value: Any) -> Any:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, datetime) else value


def _grid(thresholds: ThresholdSet) -> tuple[list[str], list[list[str]]]:
    """One row per label, one column per override, empty where it does not say anything."""
    columns = ["label", "threshold", *(_condition(s.when) for s in thresholds.segments)]
    rows = [
        [label, f"{value:g}", *(f"{s.labels[label]:g}" if label in s.labels else "" for s in thresholds.segments)]
        for label, value in thresholds.labels.items()
    ]
    return columns, rows


def _condition(when: Mapping[str, str]) -> str:
    return ", ".join(f"{dimension}={value}" for dimension, value in when.items())


@app.command("set")
def set_(
    pairs: Annotated[list[str], typer.Argument(metavar="LABEL=VALUE...", help="Cut-offs to move, e.g. spam=0.8.")],
    reason: Reason,
    author: Author = None,
    when: Annotated[
        list[str] | None,
        typer.Option("--when", help="Only for events of this segment, e.g. --when lang=de; several narrow it down."),
    ] = None,
    force: Force = False,
    break_glass: BreakGlass = False,
    end_experiments: EndExperiments = False,
    wait: Wait = 5.0,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Move cut-offs of some labels, live.

    Exit code 0 once committed (the answer says whether it is live everywhere), 3 refused, 5 somebody else was first.
    """
    who = Who(author_or_user(author), reason)
    segment, cutoffs = parse_assignments(when or [], "--when"), parse_cutoffs(pairs)
    change_champion(
        settings().settings,
        who,
        lambda changes: changes.set_thresholds(cutoffs, who, when=segment, force=force),
        break_glass=break_glass,
        end_experiments=end_experiments,
        output=output,
        wait_s=wait,
    )


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="YAML or JSON with labels and segments; - reads stdin.")],
    reason: Reason,
    author: Author = None,
    force: Force = False,
    break_glass: BreakGlass = False,
    end_experiments: EndExperiments = False,
    wait: Wait = 5.0,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Replace the whole set by a file's; a file with `base` is refused when somebody changed thresholds since.

    A file that says what decides already commits nothing, so it can be applied again and again.
    """
    parsed = parse_threshold_file(read_text(file), "stdin" if str(file) == "-" else str(file))
    who = Who(author_or_user(author), reason)
    change_champion(
        settings().settings,
        who,
        lambda changes: changes.apply(
            parsed.thresholds,
            who,
            expected=parsed.base_revision,
            expected_sha256=parsed.base_sha256,
            force=force,
        ),
        break_glass=break_glass,
        end_experiments=end_experiments,
        output=output,
        wait_s=wait,
    )


@app.command()
def restore(
    revision: Annotated[int, typer.Argument(help="The revision to go back to.")],
    reason: Reason,
    author: Author = None,
    end_experiments: EndExperiments = False,
    wait: Wait = 5.0,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Go back: a new revision with the content of an earlier one. History is never rewritten."""
    who = Who(author_or_user(author), reason)
    change_champion(
        settings().settings,
        who,
        lambda changes: changes.restore(revision, who),
        end_experiments=end_experiments,
        output=output,
        wait_s=wait,
    )


@app.command()
def history(limit: Limit = 20, output: Output = OutputFormat.TABLE) -> None:
    """Show the revisions, newest first, and what each changed.

    Each is proven by the hash that its successor holds; the walk ends with an error where that fails.
    """
    _, store, _ = _open()
    found, broken = newest(store.revisions(), limit + 1)  # one more than is shown, to say what the last one changed
    rows = [(s, _changes_since(found[i + 1] if i + 1 < len(found) else None, s)) for i, s in enumerate(found[:limit])]
    if output is OutputFormat.JSON:
        print_json([{**_row(stored), "changes": change_rows(changes)} for stored, changes in rows])
    else:
        columns = ("revision", "at (UTC)", "author", "reason", "changes")
        print_table(columns, [_cells(stored.document, changes) for stored, changes in rows])
    if broken is not None:
        raise broken


def _changes_since(parent: Stored[ThresholdRevision] | None, stored: Stored[ThresholdRevision]) -> list[Change]:
    return diff(parent.document.thresholds.to_set(), stored.document.thresholds.to_set()) if parent else []


def _row(stored: Stored[ThresholdRevision]) -> dict[str, Any]:
    document = stored.document
    return {
        "revision": document.revision,
        "sha256": stored.sha256,
        "at": document.at,
        "author": document.author,
        "reason": document.reason,
        "thresholds": document.thresholds,
    }


def _cells(document: ThresholdRevision, changes: list[Change]) -> Sequence[Any]:
    what = "\n".join(describe(change) for change in changes)
    return document.revision, f"{document.at:%Y-%m-%d %H:%M:%S}", document.author, document.reason, what


@app.command("diff")
def diff_(
    before: Annotated[int | None, typer.Argument(help="Revision; default: the one before AFTER.")] = None,
    after: Annotated[int | None, typer.Argument(help="Revision; default: the one that decides.")] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Compare two revisions; without arguments, what the last change did."""
    _, store, changes = _open()
    newest = store.current()
    if newest is None:
        raise NotFoundError("Redis holds no release yet", hint="The first worker to start seeds it.")
    new = newest.revision if after is None else changes.revision(after)
    if before is not None:
        old = changes.revision(before)
    elif new.document.parent is not None:
        old = store.revision(new.document.parent)
    else:
        raise NotFoundError(f"revision {new.document.revision} is the first: there is none before it")
    found = diff(old.document.thresholds.to_set(), new.document.thresholds.to_set())
    numbers = (old.document.revision, new.document.revision)
    if output is OutputFormat.JSON:
        print_json({"before": numbers[0], "after": numbers[1], "changes": change_rows(found)})
    elif found:
        rows = [(change.where, change.label, change.before, change.after) for change in found]
        print_table(("segment", "label", f"revision {numbers[0]}", f"revision {numbers[1]}"), rows)
    else:
        say(f"revisions {numbers[0]} and {numbers[1]} say the same")


@app.command()
def watch(
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after this many changes.")] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Print every change of thresholds, releases and experiments as it is committed; JSON comes as lines."""
    _, store, _ = _open()
    newest = store.audit(1)
    after = newest[0].id if newest else "0"
    seen = 0
    while count is None or seen < count:
        try:
            entries = store.follow_audit(after, wait_s=60)
            for entry in entries[: None if count is None else count - seen]:
                _print_entry(entry, _changes_of(store, entry), output)
                # Only now: an entry whose documents could not be asked for comes again.
                after, seen = entry.id, seen + 1
        except UnavailableError as error:
            warn(f"{error.message}; trying again")
            time.sleep(1)


def _changes_of(store: ControlStore, entry: AuditEntry) -> list[Change]:
    """What the audited change did to the thresholds; nothing where its documents cannot be read any more."""
    number, sha256 = entry.fields.get("revision"), entry.fields.get("revision_sha256")
    if not number or not sha256:
        return []
    try:
        stored = store.revision(RevisionId(int(number), sha256))
        parent = stored.document.parent
        return [] if parent is None else _changes_since(store.revision(parent), stored)
    except (NotFoundError, RefusedError):
        return []


def _print_entry(entry: AuditEntry, changes: list[Change], output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        print_json({**entry.fields, "changes": change_rows(changes)})
        return
    fields = entry.fields
    # Of an experiment, and what it came to; or of a release, a change request, a label with a breaker.
    about = [f" {name} {fields[name]}" for name in ("release", "experiment", "request", "label") if name in fields]
    about += [f" ({fields['state']})"] if "state" in fields else []
    what = f"{fields.get('action', '?')}{''.join(about)} by {fields.get('author', '?')}: {fields.get('reason', '')}"
    say(f"{fields.get('at', '')[:19]} {what}")
    for change in changes:
        say(f"  {describe(change)}")
