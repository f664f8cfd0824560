"""``python -m tests.bench``: what `make bench` runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from streamtag.errors import StreamtagError
from streamtag.model.registry import find_bundle

from . import comparison, load, matrix, propagation, report
from .bundles import build_standin
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
    _compare(comparison.Plan(Work(_bundle(bundle), events), rounds, _peers(peers)))


@app.command("commits")
def measure_commits(events: Events = matrix.Plan.events, rounds: Rounds = matrix.Plan.rounds) -> None:
    """The worker by commit interval."""
    found = matrix.commit_intervals(matrix.Plan(events, rounds))
    matrix.show("CPU time per event by commit interval", found)
    report.save("commit_intervals", found, {})


@app.command("lengths")
def measure_lengths(events: Events = matrix.Plan.events, rounds: Rounds = matrix.Plan.rounds) -> None:
    """Plain loop and worker by length of the texts."""
    found = matrix.text_lengths(matrix.Plan(events, rounds))
    matrix.show("CPU time per event by length of the texts", found)
    report.save("text_lengths", found, {})


@app.command("labels")
def measure_labels(events: Events = matrix.Plan.events, rounds: Rounds = matrix.Plan.rounds) -> None:
    """Plain loop and worker by number of labels."""
    found = matrix.label_counts(matrix.Plan(events, rounds))
    matrix.show("CPU time per event by number of labels", found)
    report.save("label_counts", found, {})


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
    report.save("propagation", found, {"threshold_live_p99_ms": found["p99_ms"]})  # type: ignore[dict-item]


@app.command("load")
def measure_load(
    seconds: Annotated[float, typer.Option(min=5, help="Of each step, after its warm-up.")] = 20.0,
    bundle: Bundle = "16",
) -> None:
    """Latency against load, up to saturation: one worker on a timetable."""
    found = load.run(load.Plan(_bundle(bundle), seconds))
    load.show(found)
    load.PLOT.write_text(load.draw(found), encoding="utf-8")
    report.save("load", found, {"half_load_p99_ms": found["half_load_p99_ms"]})  # type: ignore[dict-item]


@app.command("all")
def measure_all() -> None:
    """The comparison and all of the others, with their defaults, one after the other."""
    _compare(comparison.Plan(Work(build_standin(matrix.LABELS), 200_000), 3))
    for command in app.registered_commands:
        if command.callback not in (None, measure_all):
            report.say(f"-- {command.name}")
            command.callback()


def _compare(plan: comparison.Plan) -> None:
    found = comparison.run(plan)
    spreads: report.Spreads = found["spread"]  # type: ignore[assignment]
    comparison.show(spreads)
    report.save("comparison", found, comparison.headline(spreads))


def _bundle(spec: str) -> Path:
    return build_standin(int(spec)) if spec.isdecimal() else find_bundle(spec, [])


def _peers(names: str) -> list[str]:
    wanted = names.split(",")
    unknown = [name for name in wanted if name not in comparison.PEERS]
    if unknown or not {"plain", "exactly_once"} <= set(wanted):
        raise typer.BadParameter(f"some of {', '.join(comparison.PEERS)}; plain and exactly_once always")
    return wanted


if __name__ == "__main__":
    try:
        app()
    except StreamtagError as error:
        lines = [f"error: {error.message}", *(f"  - {p}" for p in getattr(error, "problems", ()))]
        sys.exit("\n".join([*lines, *([f"hint: {error.hint}"] if error.hint else [])]))
