"""The demo's screen: numbers and states in, lines of text out. Knows no clock, broker or terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from streamtag.devstack.demo.cutoffs import plain
from streamtag.devstack.demo.following import ChangeState, ControlState, WorkerState
from streamtag.devstack.demo.histogram import axis, sparkline
from streamtag.devstack.demo.records import SeenTags
from streamtag.devstack.demo.statistics import Numbers

__all__ = ["Shown", "View", "change_words", "lines", "totals"]

_WIDE = 100
_ROOMY = 32
_HISTOGRAM_MAX = 64
_NAME_MAX = 24


@dataclass(frozen=True)
class Shown:
    """All that is on the screen at one moment.

    Attributes:
        elapsed_s: since the events began.
        seconds: when it ends by itself; None = when somebody ends it.
        services: what broker and Redis are.
        numbers: from tag events and dead letters.
        control: from the control plane.
        invitation: commands for a second terminal.
        notice: what the demo itself has done or is about to do; may be empty.
    """

    elapsed_s: float
    seconds: float | None
    services: str
    numbers: Numbers
    control: ControlState
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
    foot = [*roomy, *workers, _news(shown), *roomy]
    invitation = [Text(""), Text("Change a cut-off from a second terminal:", style="bold")]
    invitation += [Text(part, style="green") for command in shown.invitation for part in _folded(command, width)]
    room = height - len(head) - len(foot) - len(invitation)
    labels = _labels(shown.numbers, width, room, ascii_only=ascii_only)
    latest = _latest(shown.numbers.latest, room - len(labels))
    found = [*head, *labels, *foot, *latest, *invitation]
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


def _labels(numbers: Numbers, width: int, room: int, *, ascii_only: bool) -> list[Text]:
    """Heading, one line a label, axis. The last labels give way, and one line says so."""
    labels = numbers.labels
    fitting = max(1, room - 2)
    shown = labels if len(labels) <= fitting else labels[: max(1, fitting - 1)]
    names = min(_NAME_MAX, max(len("label"), *(len(found.label) for found in shown)))
    scored = f" {numbers.tagged + numbers.clean:>9,}" if width >= _WIDE else ""
    heading = f"{'label':{names}} {'cut-off':>8} {'alerts':>7}{' of events' if scored else ''} {'1 s':>6} {'10 s':>6}  "
    space = min(_HISTOGRAM_MAX, width - len(heading))
    found = [Text.assemble((heading, "bold"), ("scores, 10 s; right of mark tagged"[:space], "dim"))]
    for label in shown:
        threshold = "" if label.threshold is None else plain(label.threshold)
        row = Text(f"{label.label[:names]:{names}} {threshold:>8} {label.alerts:>7,}{scored} ")
        row.append(f"{_percent(label.rate_1s):>6} ", style="bold")
        row.append(f"{_percent(label.rate_10s):>6}  ")
        if space >= 8:
            row.append_text(sparkline(label.bins, label.threshold, space, ascii_only=ascii_only))
        found.append(row)
    if len(shown) < len(labels):
        found.append(Text(f"and {len(labels) - len(shown)} more labels", style="dim"))
    return [*found, Text(" " * len(heading) + axis(space), style="dim")] if space >= 24 else found


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
    return found + [Text("")] * (room - len(found))
