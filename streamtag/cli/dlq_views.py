"""How dead letters, groups and replays look on a screen and in JSON."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamtag.cli import context
from streamtag.cli.context import OutputFormat
from streamtag.control.stops import StopMark
from streamtag.dead_letters.grouping import Counts
from streamtag.dead_letters.letter import DeadLetter
from streamtag.dead_letters.plan import Step
from streamtag.dead_letters.replay import ReplayResult

NULL = "(none)"

_WHY = {
    Step.TRUNCATED: "not whole: take the original from its source position",
    Step.EXHAUSTED: "replayed too often: --force --min-replays N takes them",
    Step.NO_TOPIC: "their topic does not exist: --to names another",
    Step.TOO_LARGE: "refused by their topic as too large",
}


def foreign_note(counts: Counts) -> str:
    """What to add about records that are no dead letters; empty where there are none."""
    return f"; {counts.foreign} more that streamtag did not write" if counts.foreign else ""


def row(letter: DeadLetter) -> tuple[Any, ...]:
    """One line of ``dlq list``."""
    size = f"{letter.size}{' (truncated)' if letter.truncated else ''}"
    named = (letter.error_class, letter.stage, letter.field, letter.message, letter.source)
    return (letter.position, time_of(letter.at_ms), *map(printable, named), size, letter.replay_count or None)


def time_of(at_ms: int) -> str:
    """Unix milliseconds as RFC 3339, UTC."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{at_ms} ms"


def printable(content: bytes | str | None) -> str | None:
    """Text on one line that cannot steer a terminal."""
    text = content.decode("utf-8", "backslashreplace") if isinstance(content, bytes) else content
    return None if text is None else context.printable(text, but="")


def stop_facts(mark: StopMark) -> dict[str, Any]:
    """A stop mark for JSON."""
    facts: dict[str, Any] = msgspec.to_builtins(mark)
    return facts


def progress_bar() -> Progress:
    """On stderr, only on a terminal, gone when done."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=context.stderr,
        transient=True,
        disable=not context.stderr.is_terminal,
    )


def print_result(result: ReplayResult, *, dry_run: bool, output: OutputFormat) -> None:
    """The summary of a replay."""
    tally = result.tally
    if output is OutputFormat.JSON:
        context.print_json(result.facts(dry_run=dry_run))
        return
    facts: dict[str, Any] = {
        "replay": f"{result.id} ({'resumed' if result.resumed else 'new'})",
        "would replay" if dry_run else "replayed": tally.replayed,
        "not selected": tally.counts[Step.OTHER],
    }
    for step, positions in tally.left.items():
        more = ", …" if tally.counts[step] > len(positions) else ""
        facts[step.value.replace("_", " ")] = f"{tally.counts[step]} ({_WHY[step]}): {', '.join(positions)}{more}"
    if tally.foreign:
        facts["not written by streamtag"] = tally.foreign
    context.print_facts(facts)
    if result.limited:
        context.say("Stopped at the limit; the same command goes on.")
