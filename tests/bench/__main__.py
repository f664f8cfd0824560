"""``python -m tests.bench``: what `make bench` runs."""

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated

import typer

from streamtag.errors import StreamtagError
from streamtag.model.registry import find_bundle

from . import (
    api_load,
    comparison,
    console,
    gaps,
    load,
    matrix,
    memory,
    models,
    profiler,
    propagation,
    report,
    scaling,
    shadow,
    statistics_cost,
    stats_app,
    swap,
    windower,
)
from .bundles import build_standin
from .summary_load import Shape
from .throughput import Work

app = typer.Typer(
    help="Benchmarks on a real Kafka and Redis; figures go to reports/bench.json, a section each.",
    pretty_exceptions_enable=False,
    add_completion=False,
)

Bundle = Annotated[
    str, typer.Option(help="name, name@version, a path with a /, or the number of labels of a made-up one.")
]
Rounds = Annotated[int, typer.Option(min=1, help="Turns of each.")]
Events = Annotated[int, typer.Option(min=20_000, help="Each turn; peers and texts that take longer get fewer.")]


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    rounds: Rounds = 3,
    events: Events = 200_000,
    quick: Annotated[bool, typer.Option("--quick", help="One round of a few events: does it work?")] = False,
    bundle: Bundle = "16",
    peers: Annotated[str, typer.Option(help="Which, separated by commas.")] = ",".join(comparison.PEERS),
) -> None:
    """Floors, plain loop, worker, and the same tagger on other frameworks: CPU time per event, outputs compared."""
    if context.invoked_subcommand is not None:
        return
    rounds, events = (1, 40_000) if quick else (rounds, events)
    _compare(
        comparison.Plan(
            Work(_bundle(bundle), events), rounds, _some(peers, comparison.PEERS, ("plain", "exactly_once"))
        )
    )


@app.command("commits")
def measure_commits(events: Events = matrix.Plan.events, rounds: Rounds = matrix.Plan.rounds) -> None:
    """The worker by commit interval."""
    found = matrix.commit_intervals(matrix.Plan(events, rounds))
    matrix.show("CPU time per event by commit interval", found)
    _save("commit_intervals", found)


@app.command("lengths")
def measure_lengths(events: Events = matrix.Plan.events, rounds: Rounds = matrix.Plan.rounds) -> None:
    """Plain loop and worker by length of the texts."""
    found = matrix.text_lengths(matrix.Plan(events, rounds))
    matrix.show("CPU time per event by length of the texts", found)
    _save("text_lengths", found)


@app.command("labels")
def measure_labels(events: Events = matrix.Plan.events, rounds: Rounds = matrix.Plan.rounds) -> None:
    """Plain loop and worker by number of labels."""
    found = matrix.label_counts(matrix.Plan(events, rounds))
    matrix.show("CPU time per event by number of labels", found)
    _save("label_counts", found)


@app.command("propagation")
def measure_propagation(
    changes: Annotated[int, typer.Option(min=1, help="Threshold changes.")] = 120,
    rate: Annotated[int, typer.Option(min=1, help="Load, events a second.")] = 2_000,
    bundle: Bundle = "16",
) -> None:
    """Threshold commit to applied on every worker: three workers under load."""
    found = propagation.run(_bundle(bundle), changes=changes, per_s=rate)
    report.say(
        f"commit to applied on all {found['workers']} workers, {found['changes']} changes, {rate} events/s: "
        f"p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms, max {found['max_ms']} ms"
    )
    _save("propagation", found, threshold_live_p99_ms="p99_ms")


@app.command("console")
def measure_console(
    changes: Annotated[int, typer.Option(min=1, help="Thresholds published in the browser.")] = 120,
    visits: Annotated[int, typer.Option(min=1, help="First visits of a browser that holds nothing.")] = 20,
) -> None:
    """The console in Chromium: first paint, a week of windows, from a click on Publish to live on every worker."""
    found = console.run(changes=changes, visits=visits)
    console.show(found)
    _save(
        "console",
        found,
        console_published_p99_ms="published_p99_ms",
        console_first_paint_ms="first_paint_max_ms",
        console_week_ms="week_max_ms",
    )


@app.command("load")
def measure_load(
    seconds: Annotated[float, typer.Option(min=5, help="Of each step, after its warm-up.")] = 20.0,
    bundle: Bundle = "16",
) -> None:
    """Latency against load, up to saturation: one worker on a timetable."""
    found = load.run(load.Plan(_bundle(bundle), seconds))
    load.show(found)
    _draw(load.PLOT, load.draw(found))
    _save("load", found, half_load_p99_ms="half_load_p99_ms")


@app.command("memory")
def measure_memory(
    events: Annotated[int, typer.Option(min=200_000, help="At full speed.")] = 10_000_000, bundle: Bundle = "16"
) -> None:
    """Resident memory, descriptors and threads of one worker over many events."""
    found = memory.run(_bundle(bundle), events=events)
    memory.show(found)
    _draw(memory.PLOT, memory.draw(found))
    _save("memory", found, rss_mb="rss_mb", rss_slope_mb_per_million="rss_slope_mb_per_million")


@app.command("scaling")
def measure_scaling(events: Events = 400_000, rounds: Rounds = 2, bundle: Bundle = "16") -> None:
    """One and two worker processes on a backlog."""
    found = scaling.run(_bundle(bundle), events=events, rounds=rounds)
    scaling.show(found)
    _save("scaling", found, two_workers_over_one="two_workers_over_one")


@app.command("gaps")
def measure_gaps(
    repeats: Annotated[int, typer.Option(min=1, help="Of each scenario; of the slowest fewer.")] = 2,
    only: Annotated[str, typer.Option(help="Scenarios, separated by commas.")] = ",".join(gaps.SCENARIOS),
    bundle: Bundle = "16",
) -> None:
    """How long no tags come: restart, rolling restart, a worker killed."""
    found = gaps.run(_bundle(bundle), repeats=repeats, names=_some(only, gaps.SCENARIOS))
    gaps.show(found)
    _save("gaps", found)


@app.command("statistics")
def measure_statistics(
    turns: Annotated[
        int, typer.Option(min=2, help="At each number of labels and load, of both.")
    ] = statistics_cost.TURNS,
) -> None:
    """What the statistics cost a tagger: with them and without, in one process."""
    found = statistics_cost.run(turns)
    statistics_cost.show(found)
    _save("statistics", found, statistics_over_none="over_none_16", statistics_over_none_50_labels="over_none_50")


@app.command("shadow")
def measure_shadow(
    seconds: Annotated[float, typer.Option(min=5, help="Of each step, after its warm-up.")] = 15.0,
    rounds: Rounds = 3,
    bundle: Bundle = "16",
) -> None:
    """The champion's latency at half load beside a challenger in shadow: by its kind."""
    found = shadow.run(shadow.Plan(_bundle(bundle), seconds, rounds))
    shadow.show(found)
    _save("shadow", found, **{f"shadow_{name}": name for name in shadow.RATIOS})


@app.command("windower")
def measure_windower(
    seconds: Annotated[float, typer.Option(min=10, help="Following live (at least 35), and of the backlog.")] = 40.0,
    labels: Annotated[int, typer.Option(min=1, help="Of each arm.")] = Shape.labels,
    sources: Annotated[
        int, typer.Option(min=1, help="Source partitions; each commits 10 times a second.")
    ] = Shape.sources,
    events: Annotated[int, typer.Option(min=1, help="Of each arm in one commit of a source partition.")] = Shape.events,
) -> None:
    """The windower on summaries of many labels, arms and partitions: CPU, delay, restart."""
    found = windower.run(Shape(sources, labels, events), seconds=seconds)
    windower.show(found)
    _save("windower", found, windower_cpu_percent="cpu_percent", windower_restart_s="restart_s")


@app.command("stats-app")
def measure_stats_app(
    seconds: Annotated[float, typer.Option(min=10, help="Following live.")] = 60.0,
    labels: Annotated[int, typer.Option(min=1, help="Of each arm.")] = Shape.labels,
    sources: Annotated[
        int, typer.Option(min=1, help="Source partitions; each commits 10 times a second.")
    ] = Shape.sources,
) -> None:
    """The Faust app behind a windower, with an experiment on all labels: CPU, restart."""
    found = stats_app.run(Shape(sources, labels), seconds=seconds)
    stats_app.show(found)
    _save("stats_app", found, stats_app_cpu_percent="cpu_percent", stats_app_restart_s="restart_s")


@app.command("swap")
def measure_swap(
    swaps: Annotated[int, typer.Option(min=1, help="Under full load.")] = 40, bundle: Bundle = "moderation@1"
) -> None:
    """Loading another bundle while the old one scores: how long it takes, and how long events wait."""
    found = swap.run(_bundle(bundle), swaps=swaps)
    swap.show(found)
    _save("swap", found, swap_load_s="load_max_s", swap_stall_ms="stall_ms")


@app.command("api")
def measure_api(
    requests: Annotated[int, typer.Option(min=200, help="For each number of connections.")] = api_load.Plan.requests,
    seconds: Annotated[float, typer.Option(min=2, help="Of overload, twice.")] = api_load.Plan.seconds,
    bundle: Bundle = "16",
) -> None:
    """The HTTP API: requests a second and latency by connections, CPU of a request, three times too much."""
    found = api_load.run(api_load.Plan(_bundle(bundle), requests, seconds))
    api_load.show(found)
    _save("api", found, api_requests_per_s="requests_per_s", api_p99_ms="p99_ms", api_cpu_us="cpu_us")


@app.command("models")
def measure_models(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each step.")] = 15, bundle: Bundle = "moderation"
) -> None:
    """Scoring alone: documents a second on one core, step by step, beside scikit-learn."""
    found = models.run(_bundle(bundle), rounds=rounds)
    models.show(found)
    _save("models", found, model_documents_per_s="documents_per_s", sklearn_over_model="sklearn_over_score")


@app.command("profile")
def measure_profile(
    seconds: Annotated[float, typer.Option(min=1, help="Of each profiler.")] = 15.0, bundle: Bundle = "16"
) -> None:
    """Where a worker's CPU time goes: the dearest components, symbols and functions."""
    found = profiler.run(_bundle(bundle), seconds=seconds)
    profiler.show(found)
    _save("profile", found)


@app.command("all")
def measure_all() -> None:
    """The comparison and all of the others, with their defaults, one after the other."""
    _compare(comparison.Plan(Work(build_standin(matrix.LABELS), 200_000), 3))
    for command in app.registered_commands:
        if command.callback not in (None, measure_all):
            report.say(f"-- {command.name}")
            command.callback()


def _bundle(spec: str) -> Path:
    return build_standin(int(spec)) if spec.isdecimal() else find_bundle(spec, [])


def _some(names: str, known: Collection[str], always: Collection[str] = ()) -> list[str]:
    wanted = names.split(",")
    if not set(always) <= set(wanted) <= set(known):
        raise typer.BadParameter(f"some of {', '.join(known)}{'; always ' if always else ''}{', '.join(always)}")
    return wanted


def _compare(plan: comparison.Plan) -> None:
    found = comparison.run(plan)
    spreads: report.Spreads = found["spread"]  # type: ignore[assignment]
    comparison.show(spreads)
    report.save("comparison", found, comparison.headline(spreads))


def _save(section: str, found: Mapping[str, object], **headline: str) -> None:
    """Into the report; ``headline`` names the section's figures that stand at its top."""
    report.save(section, found, {name: float(str(found[figure])) for name, figure in headline.items()})


def _draw(path: Path, picture: str) -> None:
    path.write_text(picture, encoding="utf-8")
    report.say(f"drawn to {path}")


if __name__ == "__main__":
    try:
        app()
    except StreamtagError as error:
        lines = [f"error: {error.message}", *(f"  - {p}" for p in getattr(error, "problems", ()))]
        sys.exit("\n".join([*lines, *([f"hint: {error.hint}"] if error.hint else [])]))
