"""`streamtag thresholds preview`: what a change would have done, before anybody makes it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from streamtag.cli.context import (
    Output,
    OutputFormat,
    finite,
    parse_assignments,
    parse_cutoffs,
    print_facts,
    print_json,
    print_table,
    say,
    settings,
    warn,
)
from streamtag.cli.outcome import change_rows, read_text
from streamtag.cli.stats_views import moment
from streamtag.control.champion import champion_to_change
from streamtag.control.store import ControlStore
from streamtag.control.threshold_file import parse_threshold_file
from streamtag.control.threshold_reader import ReadThresholds, by_taxonomy
from streamtag.dead_letters.selection import parse_time
from streamtag.domain.thresholds import Change, ThresholdSet, diff, problems, too_large, with_changes
from streamtag.domain.what_if import Effect, Range
from streamtag.errors import NotFoundError, RefusedError, SettingsError
from streamtag.model.taxonomy_file import configured_taxonomy
from streamtag.stats.read_model import ReadModel
from streamtag.stats.what_if import Preview
from streamtag.stats.what_if import preview as look_back

__all__ = ["preview"]

_COLUMNS = ("label", "cut-off", "then", "tags/h", "then", "more", "fewer", "review h/day")


def preview(
    pairs: Annotated[list[str] | None, typer.Argument(metavar="[LABEL=VALUE]...", help="Cut-offs to move.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="A whole set instead, as `apply` takes it; - reads stdin.")
    ] = None,
    when: Annotated[list[str] | None, typer.Option("--when", help="Only for events of this segment: lang=de.")] = None,
    last: Annotated[
        str, typer.Option("--last", help="How far to look back: so long (30m, 24h, 7d), or a time.")
    ] = "24h",
    minutes_per_tag: Annotated[
        float,
        typer.Option("--minutes-per-tag", min=0, callback=finite, help="Of a reviewer's time; 0: say nothing of it."),
    ] = 0.0,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show what other cut-offs would have done to the events of the last day: tags an hour, and what flips each way.

    Nothing is changed. The numbers come from the score histograms of the windows: exact where cut-offs are multiples
    of 1/1024, else a range (a bin does not say where in it a score lay). They are of events that the present bundle
    decided, and an hour is one of all traffic, by the bundle's part of it. Exit code 4 where nothing was counted.
    """
    loaded = settings().settings
    store = ControlStore(loaded.redis)
    champion, _ = champion_to_change(store)
    before = champion.thresholds
    read = by_taxonomy(configured_taxonomy(loaded.model), warn)
    after = _wanted(before, pairs or [], file, when or [], read)
    if found := problems(after, before.labels):
        raise RefusedError("the change is not valid", problems=found)
    now_ms = time.time_ns() // 1_000_000
    since_ms = parse_time(last, "--last", now=datetime.fromtimestamp(now_ms / 1000, UTC))
    if since_ms >= now_ms:
        raise SettingsError(f"--last {last} lies in the future")
    seen = look_back(ReadModel(store), champion.release.document.bundle.sha256, before, after, since_ms, now_ms)
    if not seen.events:
        raise NotFoundError(
            f"no event that {champion.ref.bundle} decided was counted since {moment(seen.from_ms)}",
            hint="Are `streamtag windows` and `streamtag stats` running? --last looks further back.",
        )
    changes, guard = diff(before, after), too_large(before, after, loaded.thresholds.max_step)
    if output is OutputFormat.JSON:
        print_json({"changes": change_rows(changes), "guard_rail": guard, **_document(seen, minutes_per_tag)})
    else:
        _print(seen, changes, guard, minutes_per_tag)


def _wanted(
    before: ThresholdSet, pairs: Sequence[str], file: Path | None, when: Sequence[str], read: ReadThresholds
) -> ThresholdSet:
    if (file is None) == (not pairs) or (file is not None and when):
        raise SettingsError("give either cut-offs to move (LABEL=VALUE, with --when for a segment) or --file")
    if file is None:
        cutoffs = read(ThresholdSet(parse_cutoffs(pairs)), list(before.labels)).labels
        return with_changes(before, cutoffs, parse_assignments(when, "--when"))
    given = parse_threshold_file(read_text(file), "stdin" if str(file) == "-" else str(file)).thresholds
    return read(given, list(before.labels))


def _print(seen: Preview, changes: Sequence[Change], guard: Sequence[str], minutes_per_tag: float) -> None:
    print_facts(
        {
            "events": f"{seen.events:,} since {moment(seen.from_ms)}, in {seen.windows} windows of {seen.size}",
            "not looked at": f"{seen.others:,} that another bundle decided" if seen.others else None,
            "inexact": None if seen.exact else "positions of a source were counted twice or not at all",
        }
    )
    if not changes:
        say("this is what decides now")
    moved = {change.label for change in changes}
    rows = [_row(one, seen.hours, minutes_per_tag) for one in seen.effects if not changes or one.label in moved]
    print_table(_COLUMNS, rows)
    for line in guard:
        say(f"needs --force: {line}")


def _row(one: Effect, hours: float, minutes_per_tag: float) -> tuple[str, ...]:
    then = one.after if one.after != one.before else None
    review = "" if not minutes_per_tag else _span(one.then, 24 * minutes_per_tag / 60 / hours)
    cutoffs = (f"{one.before:g}", "" if then is None else f"{then:g}")
    rates = (_span(one.now, 1 / hours), _span(one.then, 1 / hours))
    return (one.label, *cutoffs, *rates, _span(one.gained), _span(one.lost), review)


def _span(found: Range, times: float = 1.0) -> str:
    """``12`` where it is known, else ``12 (9 … 15)``."""
    middle = _short(found.expected * times)
    low, high = _short(found.low * times), _short(found.high * times)
    return middle if low == high else f"{middle} ({low} … {high})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _document(seen: Preview, minutes_per_tag: float) -> Mapping[str, Any]:
    about = {name: value for name, value in asdict(seen).items() if name != "effects"}
    labels = {one.label: _effect(one, seen.hours, minutes_per_tag) for one in seen.effects}
    return {**about, "hours": seen.hours, "labels": labels}


def _effect(one: Effect, hours: float, minutes_per_tag: float) -> dict[str, Any]:
    counts = {name: asdict(getattr(one, name)) for name in ("now", "then", "gained", "lost")}
    rates = {f"{name}_per_hour": {k: v / hours for k, v in counts[name].items()} for name in ("now", "then")}
    minutes = {k: v * minutes_per_tag for k, v in rates["then_per_hour"].items()}
    review = {"review_minutes_per_hour": minutes} if minutes_per_tag else {}
    return {"before": one.before, "after": one.after, "events": one.events, **counts, **rates, **review}
