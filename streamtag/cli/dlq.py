"""``streamtag dlq``: look at dead letters, put them back, let a stopped group go on."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from streamtag.cli import context
from streamtag.cli import dlq_views as views
from streamtag.cli.context import Author, Output, OutputFormat, Reason, finite
from streamtag.control.stops import StopStore
from streamtag.control.store import ControlStore
from streamtag.dead_letters.grouping import DEFAULT, Counts, Dimension, group
from streamtag.dead_letters.letter import encoded, latest
from streamtag.dead_letters.lift import lift_stop
from streamtag.dead_letters.plan import ReplaySpec, Tally
from streamtag.dead_letters.reader import DeadLetterReader
from streamtag.dead_letters.replay import ReplayRequest
from streamtag.dead_letters.replay import replay as run_replay
from streamtag.dead_letters.selection import Selection, parse_position, parse_selection
from streamtag.errors import SettingsError

app = typer.Typer(help="Dead letters: list, show, group, replay; lift a stop.", no_args_is_help=True)

Classes = Annotated[list[str] | None, typer.Option("--class", help="Error class, e.g. invalid_json; repeatable.")]
Stages = Annotated[list[str] | None, typer.Option("--stage", help="decode or infer; repeatable.")]
Fields = Annotated[list[str] | None, typer.Option("--field", help="Field, e.g. /text; repeatable.")]
Topics = Annotated[list[str] | None, typer.Option("--topic", help="Topic of the original; repeatable.")]
Since = Annotated[str | None, typer.Option("--since", help="Died at or after: RFC 3339, or ago (30m, 2h, 7d).")]
Until = Annotated[str | None, typer.Option("--until", help="Died before: RFC 3339, or ago.")]
Positions = Annotated[
    list[str] | None, typer.Option("--at", help="Position of the dead letter, partition/offset; repeatable.")
]
MinReplays = Annotated[int, typer.Option("--min-replays", min=0, help="Replayed at least so often already.")]
Group = Annotated[str | None, typer.Option("--group", help="Consumer group; default: tagger.group.")]


@app.command("list")
def list_(
    *,
    error_class: Classes = None,
    stage: Stages = None,
    field: Fields = None,
    topic: Topics = None,
    since: Since = None,
    until: Until = None,
    at: Positions = None,
    min_replays: MinReplays = 0,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Show the latest so many.")] = 50,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Shows the latest dead letters: what, why and where, never their content."""
    selection = parse_selection(
        error_classes=error_class,
        stages=stage,
        fields=field,
        topics=topic,
        since=since,
        until=until,
        positions=at,
        min_replays=min_replays,
        now=datetime.now(UTC),
    )
    counts = Counts()
    with _reader() as reader:
        newest = latest(counts.over(reader.letters(selection)), limit)
    newest.reverse()
    if output is OutputFormat.JSON:
        context.print_json(
            {"matching": counts.letters, "foreign": counts.foreign, "letters": [letter.facts() for letter in newest]}
        )
        return
    columns = ("position", "time", "class", "stage", "field", "message", "source", "bytes", "replays")
    context.print_table(columns, (views.row(letter) for letter in newest))
    shown = (
        f"{len(newest)} of {counts.letters} dead letters"
        if counts.letters > len(newest)
        else f"{counts.letters} in all"
    )
    context.say(f"{shown}{views.foreign_note(counts)}")


@app.command()
def show(
    position: Annotated[str, typer.Argument(help="Position of the dead letter: partition/offset.")],
    content: Annotated[bool, typer.Option("--content", help="Also show key and value: personal data, maybe.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Shows one dead letter with the headers of the original; its content only when asked for."""
    partition, offset = parse_position(position)
    with _reader() as reader:
        letter = reader.letter(partition, offset)
    document = letter.facts() | {"headers": [encoded("value", value, name=name) for name, value in letter.headers]}
    if content:
        document |= encoded("key", letter.key) | encoded("value", letter.value)
    if output is OutputFormat.JSON:
        context.print_json(document)
        return
    facts = {name.replace("_", " "): value for name, value in letter.facts().items() if name != "at_ms"}
    facts |= {"source": letter.source, "time": views.time_of(letter.at_ms)}
    if content:
        facts |= {"key": views.printable(letter.key), "value": views.printable(letter.value)}
    context.print_facts({name: views.NULL if value is None else value for name, value in facts.items()})
    if letter.headers:
        rows = ((views.printable(name), views.NULL if v is None else views.printable(v)) for name, v in letter.headers)
        context.print_table(("header of the original", "value"), rows)


@app.command("group")
def group_(
    *,
    by: Annotated[
        list[Dimension] | None,
        typer.Option("--by", help="Group by this; repeatable. Default: class, stage, field, topic."),
    ] = None,
    error_class: Classes = None,
    stage: Stages = None,
    field: Fields = None,
    topic: Topics = None,
    since: Since = None,
    until: Until = None,
    at: Positions = None,
    min_replays: MinReplays = 0,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Counts dead letters by what they have in common."""
    selection = parse_selection(
        error_classes=error_class,
        stages=stage,
        fields=field,
        topics=topic,
        since=since,
        until=until,
        positions=at,
        min_replays=min_replays,
        now=datetime.now(UTC),
    )
    dimensions = tuple(dict.fromkeys(by or DEFAULT))
    counts = Counts()
    with _reader() as reader:
        groups = group(counts.over(reader.letters(selection)), dimensions)
    if output is OutputFormat.JSON:
        context.print_json(
            {"matching": counts.letters, "foreign": counts.foreign, "groups": [msgspec.to_builtins(g) for g in groups]}
        )
        return
    columns = (*(d.value for d in dimensions), "count", "truncated", "bytes", "first", "last", "example")
    rows = (
        (
            *map(views.printable, g.values.values()),
            g.count,
            g.truncated,
            g.bytes,
            views.time_of(g.first_ms),
            views.time_of(g.last_ms),
            g.example,
        )
        for g in groups
    )
    context.print_table(columns, rows)
    context.say(f"{counts.letters} in all{views.foreign_note(counts)}")


@app.command()
def replay(
    *,
    error_class: Classes = None,
    stage: Stages = None,
    field: Fields = None,
    topic: Topics = None,
    since: Since = None,
    until: Until = None,
    at: Positions = None,
    min_replays: MinReplays = 0,
    to: Annotated[str | None, typer.Option("--to", help="Topic to write to; default: each letter's own.")] = None,
    replay_id: Annotated[
        str | None, typer.Option("--id", help="Name of this replay; default: made of filters and target.")
    ] = None,
    resume: Annotated[str | None, typer.Option("--resume", help="Go on with this replay; takes no filters.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Stop after so many letters.")] = None,
    max_replays: Annotated[
        int, typer.Option("--max-replays", min=1, help="Leave letters alone that were replayed so often.")
    ] = 3,
    force: Annotated[bool, typer.Option("--force", help="Replay however often they were replayed before.")] = False,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.1, callback=finite, help="At most so many letters a second.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, max=10_000, help="Letters per transaction.")] = 200,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be replayed.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Puts dead letters back where they came from: original key, headers and bytes, marked as replayed.

    Each letter goes back exactly once per replay: the same command again, or --resume ID, goes on where the last run
    stopped or was killed. Truncated letters are left alone, they are not whole.
    """
    settings = context.settings().settings
    selection = parse_selection(
        error_classes=error_class,
        stages=stage,
        fields=field,
        topics=topic,
        since=since,
        until=until,
        positions=at,
        min_replays=min_replays,
        now=datetime.now(UTC),
        relative=False,
    )
    if resume is not None and (selection != Selection() or to is not None or replay_id is not None):
        raise SettingsError("--resume takes filters, target and id from the replay itself; leave them away")
    spec = None if resume is not None else ReplaySpec(settings.topics.dead_letters, selection, to)
    request = ReplayRequest(
        spec,
        id=resume or _checked_id(replay_id),
        max_replays=None if force else max_replays,
        limit=limit,
        rate=rate,
        batch=batch,
        dry_run=dry_run,
    )
    with views.progress_bar() as progress:
        task = progress.add_task("replay", total=None)

        def on_progress(done: int, total: int, _tally: Tally) -> None:
            progress.update(task, completed=done, total=total)

        try:
            result = run_replay(settings, request, on_progress=on_progress)
        except KeyboardInterrupt:
            context.warn("interrupted; the same command goes on where this one stopped")
            raise typer.Exit(130) from None
    views.print_result(result, dry_run=dry_run, output=output)


@app.command()
def status(*, group_name: Group = None, output: Output = OutputFormat.TABLE) -> None:
    """Shows whether dead letters have stopped the group, and how many the topic holds."""
    settings = context.settings(tagger__group=group_name).settings
    name = settings.tagger.group
    mark = StopStore(settings).get(name)
    with DeadLetterReader(settings) as reader:
        bounds = reader.bounds()
    letters = sum(high - low for low, high in bounds.values())
    stop = None if mark is None else views.stop_facts(mark)
    if output is OutputFormat.JSON:
        context.print_json({"group": name, "stop": stop, "topic": reader.topic, "letters_at_most": letters})
        return
    context.print_facts(
        {
            "group": name,
            "stopped": "no" if stop is None else f"since {stop['at']}, by {stop['worker']}: {stop['reason']}",
            "counts": None if stop is None else ", ".join(f"{k} {v}" for k, v in stop["counts"].items()),
            "topic": reader.topic,
            "letters": f"at most {letters}",
        }
    )
    if stop is not None:
        context.say('`streamtag dlq resume --reason "…"` lets the group go on.')


@app.command()
def resume(
    *,
    reason: Reason,
    group_name: Group = None,
    author: Author = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Lets a group go on that too many dead letters have stopped; recorded with author and reason.

    What its input topics hold now may pass, whatever it is; dead letters among what is written later count anew.
    """
    settings = context.settings(tagger__group=group_name).settings
    name = settings.tagger.group
    who = context.author_or_user(author)
    found = lift_stop(settings, ControlStore(settings.redis), who, reason)
    lifted = [views.stop_facts(mark) for mark in found.marks]
    if output is OutputFormat.JSON:
        context.print_json({"group": name, "author": who, "reason": reason, "lifted": lifted, "until": found.until})
        return
    for stop in lifted:
        context.print_facts(
            {"lifted": name, "stopped since": stop["at"], "by": stop["worker"], "because": stop["reason"]}
        )
    context.say(
        f"What {', '.join(found.topics)} holds by now may pass; of what is written later, dead letters count anew."
    )


@contextmanager
def _reader() -> Iterator[DeadLetterReader]:
    with DeadLetterReader(context.settings().settings) as reader, context.stderr.status(f"reading {reader.topic} …"):
        yield reader


def _checked_id(replay_id: str | None) -> str | None:
    if replay_id is not None and not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", replay_id):
        raise SettingsError(f"--id {replay_id!r} must be 1 to 100 letters, digits, dots, dashes or underscores")
    return replay_id
