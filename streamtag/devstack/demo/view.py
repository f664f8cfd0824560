"""The demo's screen: numbers and states in, lines of text out. Knows no clock, broker or terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from streamtag.devstack.demo.cutoffs import plain
from streamtag.devstack.demo.following import ChangeState, ControlState, WorkerState
from streamtag.devstack.demo.histogram import axis, sparkline
from streamtag.devstack.demo.records import SeenTags
from streamtag.devstack.demo.statistics import Numbers
from streamtag.devstack.demo.trial_words import how_far, why
from streamtag.devstack.demo.trials import TrialState
from streamtag.devstack.demo.windows import LabelWindow, WindowState
from streamtag.domain.verdict import State

__all__ = ["Shown", "View", "change_words", "lines", "totals"]

_WIDE = 100
_ROOMY = 32
_HISTOGRAM_MAX = 64
_NAME_MAX = 24
_IN_SHADOW = "experiments in shadow: champion -> challenger; only the champion's tags go out"
_STATE_WIDTH = 33
_STYLES = {State.PASS.value: "bold green", State.FAIL.value: "bold red", State.COLLECTING.value: "yellow"}


@dataclass(frozen=True)
class Shown:
    """All that is on the screen at one moment.

    Attributes:
        elapsed_s: since the events began.
        seconds: when it ends by itself; None = when somebody ends it.
        services: what broker and Redis are.
        numbers: from tag events and dead letters.
        control: from the control plane.
        windows: what the windows hold; None before the first pane.
        trials: the experiments.
        statistics: name to process id of what makes windows and verdicts.
        console: its address; "": there is none.
        invitation: commands for a second terminal.
        notice: what the demo itself has done or is about to do; may be empty.
    """

    elapsed_s: float
    seconds: float | None
    services: str
    numbers: Numbers
    control: ControlState
    windows: WindowState | None
    trials: Sequence[TrialState]
    statistics: Mapping[str, int]
    console: str
    invitation: Sequence[str]
    notice: str = ""


class View:
    """A rich renderable that fills the terminal it is shown on, and no more."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        yield Text("\n").join(lines(self._shown, options.max_width, height, ascii_only=options.ascii_only))


def lines(shown: Shown, width: int, height: int, *, ascii_only: bool = False) -> list[Text]:
    """At most ``height`` lines of at most ``width`` characters. Labels come before tags where room is scarce."""
    roomy = [Text("")] if height >= _ROOMY else []
    head = [_title(shown), Text(shown.services, style="yellow"), Text(totals(shown.numbers))]
    if roomy:
        head += [_dead_letters(shown.numbers), Text("")]
    workers = [_worker(number, worker, shown.control) for number, worker in enumerate(shown.control.workers, 1)]
    trials = [line for trial in shown.trials for line in _trial(trial, whole=bool(roomy))]
    if trials and roomy:
        trials.insert(0, Text(_IN_SHADOW, style="bold"))
    foot = [*(roomy if trials else ()), *trials, *roomy, *workers, *_statistics(shown, whole=bool(roomy)), _news(shown)]
    invitation = [Text("")]
    if shown.console:
        invitation += [Text(part, style="green") for part in _folded(f"Console: {shown.console}", width)]
    invitation += [Text("Join in from a second terminal:", style="bold")]
    invitation += [Text(part, style="green") for command in shown.invitation for part in _folded(command, width)]
    room = height - len(head) - len(foot) - len(invitation)
    labels = _labels(shown, width, room, ascii_only=ascii_only)
    latest = _latest(shown.numbers.latest, room - len(labels) - len(roomy))
    found = [*head, *labels, *foot, *(roomy if latest else ()), *latest]
    found += [Text("")] * (height - len(found) - len(invitation)) + invitation
    for line in found:
        line.truncate(width, overflow="ellipsis")
    return found[:height]


def totals(numbers: Numbers) -> str:
    """Events by outcome, throughput, latency."""
    parts = [
        f"events {numbers.events:,}",
        f"tagged {numbers.tagged:,}",
        f"dead letters {numbers.dead_lettered:,}",
        *([f"read again {numbers.again:,}"] if numbers.again else []),
        f"{numbers.per_s:.0f}/s",
    ]
    if numbers.p50_ms is not None and numbers.p99_ms is not None:
        parts.append(f"p50 {numbers.p50_ms:.0f} ms  p99 {numbers.p99_ms:.0f} ms")
    return "   ".join(parts)


def change_words(change: ChangeState, workers: int) -> str:
    """One line: whether the change is live, what it is, and by whom."""
    what = ", ".join(change.what) or "the same cut-offs"
    live = ", not live everywhere yet"
    if change.live_ms is not None:
        live = f" live on {workers} of {workers} workers after {change.live_ms:.0f} ms"
    return f"revision {change.revision}{live}: {what} ({change.author})"


def _title(shown: Shown) -> Text:
    time = f"{shown.elapsed_s:.0f} s" if shown.seconds is None else f"{shown.elapsed_s:.0f} of {shown.seconds:g} s"
    return Text.assemble(("streamtag demo", "bold"), f"   {time}", ("   Ctrl-C ends it", "dim"))


def _dead_letters(numbers: Numbers) -> Text:
    classes = ", ".join(f"{name} {count}" for name, count in sorted(numbers.dead.items()))
    return Text(f"dead letters: {classes or 'none yet'}", style="dim")


def _labels(shown: Shown, width: int, room: int, *, ascii_only: bool) -> list[Text]:
    """Heading, one line a label, axis. The last labels give way, and one line says so."""
    labels, windows = shown.numbers.labels, shown.windows
    fitting = max(1, room - 2)
    visible = labels if len(labels) <= fitting else labels[: max(1, fitting - 1)]
    names = min(_NAME_MAX, max(len("label"), *(len(found.label) for found in visible)))
    wide = width >= _WIDE
    heading = f"{'label':{names}} {'cut-off':>8} {'alerts':>7} {'1 s':>6} {'10 s':>6} {'1 min':>6}"
    heading += f"  {'surely within':13}  " if wide else "  "
    space = min(_HISTOGRAM_MAX, width - len(heading))
    found = [Text.assemble((heading, "bold"), ("scores; right of mark is tagged"[:space], "dim"))]
    for label in visible:
        threshold = "" if label.threshold is None else plain(label.threshold)
        row = Text(f"{label.label[:names]:{names}} {threshold:>8} {label.alerts:>7,} ")
        row.append(f"{_percent(label.rate_1s):>6} ", style="bold")
        row.append(f"{_percent(label.rate_10s):>6} ")
        window = None if windows is None else windows.labels.get(label.label)
        row.append(f"{_percent(window.rate if window else None):>6}  ")
        if wide:
            row.append(f"{_span(window):13}  ", style="dim")
        if space >= 8:
            row.append_text(sparkline(label.bins, label.threshold, space, ascii_only=ascii_only))
        found.append(row)
    if len(visible) < len(labels):
        found.append(Text(f"and {len(labels) - len(visible)} more labels", style="dim"))
    return [*found, Text(" " * len(heading) + axis(space), style="dim")] if space >= 24 else found


def _span(window: LabelWindow | None) -> str:
    return "" if window is None else f"{100 * window.surely[0]:.1f} to {window.surely[1]:.1%}"


def _trial(trial: TrialState, *, whole: bool) -> list[Text]:
    """What it is and how far, and why; on one line where room is scarce."""
    style = _STYLES.get(trial.state, "dim")
    if not whole:
        return [Text.assemble(f"experiment {trial.number} ", (trial.state, style), f"  {why(trial)}")]
    head = Text.assemble(f"experiment {trial.number}   ", (how_far(trial), style))
    head.append(" " * max(0, _STATE_WIDTH - len(head)) + f"{trial.units:>7,} events   {trial.challenger.what}")
    return [head, Text(f"  {why(trial)}")]


def _statistics(shown: Shown, *, whole: bool) -> list[Text]:
    """Who makes windows and verdicts, where there is room, and what the windows hold."""
    who = [Text("   ".join(f"{name}   pid {pid}" for name, pid in shown.statistics.items()))] if whole else []
    windows = shown.windows
    if windows is None:
        return [*who, Text("windows    none yet", style="dim")]
    since = f"{datetime.fromtimestamp(windows.start_ms / 1000, UTC):%H:%M} UTC"
    held = f"windows    {windows.events:,} events since {since}   {windows.all_events:,} in all"
    return [*who, Text.assemble(held, "   ", ("exact", "green") if windows.exact else ("not exact", "red"))]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _worker(number: int, worker: WorkerState, control: ControlState) -> Text:
    beat = worker.heartbeat
    if beat is None or beat.revision is None:
        return Text(f"worker {number}   pid {worker.pid}   starting", style="dim")
    live = (beat.release, beat.release_sha256) == (control.release.number, control.release.sha256)
    state = "ready" if beat.ready else "; ".join(beat.reasons)
    return Text.assemble(
        f"worker {number}   pid {worker.pid}   ",
        (
            f"revision {beat.revision} live" if live else f"revision {beat.revision}, not yet live",
            "green" if live else "red",
        ),
        f"   partitions {len(beat.positions)}   lag {beat.lag or 0}   {state}",
    )


def _news(shown: Shown) -> Text:
    change = shown.control.change
    if change is not None:
        return Text(change_words(change, len(shown.control.workers)), style="bold cyan")
    return Text(shown.notice, style="cyan")


def _folded(command: str, width: int) -> list[str]:
    """A command must not lose its end."""
    return [command[at : at + width] for at in range(0, len(command), width)]


def _latest(events: Sequence[SeenTags], room: int) -> list[Text]:
    if room < 2:
        return []
    found = [Text("latest tagged events (their texts are never shown)", style="bold")]
    for event in events[: room - 1]:
        tags = "  ".join(f"{tag.label} {plain(round(tag.score, 4))}" for tag in event.tags)
        found.append(Text(f"{event.id}  revision {event.revision}  {tags}"))
    return found
