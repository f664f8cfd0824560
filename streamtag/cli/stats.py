"""`streamtag stats`: what each label does, now and before; without a command, the process that keeps it up to date."""

import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer
from rich.console import RenderableType

from streamtag.cli import context
from streamtag.cli import stats_views as views
from streamtag.cli.context import Output, OutputFormat, finite
from streamtag.cli.dlq_views import progress_bar
from streamtag.control.store import ControlStore
from streamtag.dead_letters.selection import parse_time
from streamtag.domain.thresholds import DIMENSIONS
from streamtag.errors import NotFoundError, SettingsError
from streamtag.stats.comparison import compare, signals
from streamtag.stats.ledger_reader import reader_options
from streamtag.stats.pane_log import PaneLog
from streamtag.stats.read_model import LOOK_BACK, ReadModel
from streamtag.stats.rebuild import Rebuild, day_touched
from streamtag.stats.windows import WindowDocument, start_of
from streamtag.stream.topic_reader import TopicReader

app = typer.Typer(help="Statistics: run the app that keeps them (no command), show, top, watch, rebuild.")

_PLACE = re.compile(r"(?:([0-9]{1,9})/)?([0-9]{1,18})")

Window = Annotated[Literal["1m", "5m", "1h", "1d"], typer.Option("--window", "-w", help="Width of the window.")]
At = Annotated[
    str | None,
    typer.Option("--at", help="The window of this moment: RFC 3339, or ago (30m, 2h). Default: the newest."),
]
Arm = Annotated[
    Literal["traffic", "control", "candidate", "shadow"],
    typer.Option("--arm", help="traffic (all that decided), control, candidate, or shadow (scored beside)."),
]
Release = Annotated[int | None, typer.Option("--release", help="Only events decided by this release.")]
Segment = Annotated[str | None, typer.Option("--segment", help="Only this value of a declared dimension: lang=de.")]


@app.callback(invoke_without_command=True)
def run(
    command: typer.Context,
    group: Annotated[str | None, typer.Option(help="Consumer group (stats.group).")] = None,
    port: Annotated[int | None, typer.Option(help="Port of /metrics, /livez, /readyz (telemetry.port).")] = None,
    web_port: Annotated[int | None, typer.Option(help="Port of the web views (stats.web_port).")] = None,
) -> None:
    """Without a command: run the Faust app that follows the panes, until SIGTERM.

    It keeps the windows in Redis up to date, judges experiments and carries out their rollouts. One of a group is
    active, others stand by.
    """
    if command.invoked_subcommand is None:
        from streamtag.stats.app import run as run_app  # noqa: PLC0415 - Faust is an extra

        run_app(context.settings(stats__group=group, telemetry__port=port, stats__web_port=web_port).settings)


@app.command()
def show(
    labels: Annotated[list[str] | None, typer.Argument(help="Only these labels.")] = None,
    window: Window = "5m",
    at: At = None,
    arm: Arm = "traffic",
    release: Release = None,
    segment: Segment = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show how often each label is tagged, how sure that is, and against the last hour and the same hour last week.

    Below, what behaves differently than in the full hour before: scores that drifted, labels that are stuck, labels
    that go together more or less. Exit code 4 where nothing was counted.
    """
    model = ReadModel(ControlStore(context.settings().settings.redis))
    found = _window(model, window, at)
    hour, week = model.before(found)
    cells = views.Cells(arm, release)
    if segment is not None:
        views.print_segment(found, (hour, week), _segment(segment), cells, labels, output)
        return
    rows = [one for one in compare(found, hour, week, cells) if not labels or one.now.label in labels]
    raised = signals(found, hour, cells) if hour is not None else []
    views.print_window(found, rows, raised, output, compared=hour is not None, cells=cells)


@app.command()
def top(
    window: Window = "5m",
    at: At = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="So many labels.")] = 10,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show the labels that have moved most against the full hour before, by how sure the change is."""
    model = ReadModel(ControlStore(context.settings().settings.redis))
    found = _window(model, window, at)
    hour, week = model.before(found)
    rows = sorted(compare(found, hour, week), key=views.surprise, reverse=True)[:limit]
    views.print_window(found, rows, [], output, compared=hour is not None)


@app.command()
def watch(
    window: Window = "1m",
    every: Annotated[float, typer.Option("--every", min=0.2, callback=finite, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Show the newest window again and again, until Ctrl-C."""
    model = ReadModel(ControlStore(context.settings().settings.redis))
    with views.live() as live, suppress(KeyboardInterrupt):
        while True:
            live.update(_frame(model, window), refresh=True)
            time.sleep(every)


def _frame(model: ReadModel, window: str) -> RenderableType:
    try:
        found = _window(model, window, None)
    except NotFoundError:
        return f"no {window} window yet; `streamtag windows` and `streamtag stats` make them"
    hour, week = model.before(found)
    return views.table(found, compare(found, hour, week))


@app.command()
def rebuild(
    from_: Annotated[
        list[str],
        typer.Option(
            "--from",
            help="Windows that begin at or after: RFC 3339, or ago (30m, 2h, 7d). Or all that summaries from an offset "
            "of the stats topic on have touched, by whole days: PARTITION/OFFSET, once for each partition, or OFFSET "
            "where it has one.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only compare with the live ones.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Make windows again from the commit summaries, beside the live ones; compare them, and swap.

    Whoever keeps the live windows up to date goes on from the new ones. Earlier windows stay as they are. Exit code 1
    when any differed.
    """
    settings = context.settings().settings
    with PaneLog(settings) as panes, TopicReader(reader_options(settings)) as reader, progress_bar() as progress:
        task = progress.add_task("panes", total=None)
        work = Rebuild(
            ControlStore(settings.redis),
            panes,
            reader,
            settings.topics.stats,
            _since_ms(from_, reader, settings.topics.stats),
            keep=2 * settings.windows.max_open,
            max_future_ms=settings.stats.max_future_s * 1000,
            max_age_s=settings.stats.max_age_s,
            on_progress=lambda done, end: progress.update(task, completed=done, total=end),
        )
        found = work.run(swap=not dry_run)
    views.print_rebuilt(found, output)
    if found.differing:
        raise typer.Exit(1)


def _since_ms(given: list[str], reader: TopicReader, stats_topic: str) -> int:
    found = [match for one in given if (match := _PLACE.fullmatch(one))]
    if len(given) == 1 and not found and "/" not in given[0]:
        return parse_time(given[0], "--from", now=datetime.now(UTC))
    if len(given) == 1 and found and found[0][1] is None:
        return day_touched(reader, stats_topic, {_only_partition(reader, stats_topic, given[0]): int(found[0][2])})
    offsets = {int(one[1]): int(one[2]) for one in found if one[1] is not None}
    if len(offsets) != len(given):
        raise SettingsError(
            f"--from {' '.join(given)}: give one time, or PARTITION/OFFSET of {stats_topic} once for each partition",
            hint="`streamtag ledger` names summaries in this way.",
        )
    return day_touched(reader, stats_topic, offsets)


def _only_partition(reader: TopicReader, stats_topic: str, offset: str) -> int:
    partitions = sorted(reader.bounds(stats_topic))
    if len(partitions) != 1:
        raise SettingsError(
            f"--from {offset}: {stats_topic} has {len(partitions)} partitions, and an offset alone does not say which",
            hint=f"Give PARTITION/OFFSET, once for each that matters: --from {min(partitions, default=0)}/{offset}",
        )
    return partitions[0]


def _window(model: ReadModel, size: str, at: str | None) -> WindowDocument:
    """The window that holds ``at``, or the newest one."""
    now = datetime.now(UTC)
    if at is not None:
        start = start_of(size, parse_time(at, "--at", now=now))
        found = model.load(size, start)
        if found is None:
            raise NotFoundError(
                f"no event was counted in the {size} window that begins {views.moment(start)}",
                hint="`streamtag stats show` without --at shows the newest; windows expire, narrow ones first.",
            )
        return found
    recent = model.newest(size, round(now.timestamp() * 1000))
    if recent is None:
        raise NotFoundError(
            f"no {size} window has any event, of the last {LOOK_BACK}",
            hint="Are `streamtag windows` and `streamtag stats` running? --at looks at an earlier one.",
        )
    return recent


def _segment(text: str) -> tuple[str, str]:
    dimension, sign, value = text.partition("=")
    if not sign or dimension not in DIMENSIONS:
        raise SettingsError(f"--segment {text!r} must have the form dimension=value, of {', '.join(DIMENSIONS)}")
    return dimension, value
