"""``python -m tests.bench``: what `make bench` runs."""

import sys
from typing import Annotated

import typer

from streamtag.errors import StreamtagError
from streamtag.model.registry import find_bundle

from . import propagation, report, throughput

app = typer.Typer(
    help="Benchmarks on a real Kafka and Redis; figures go to reports/.",
    pretty_exceptions_enable=False,
    add_completion=False,
)

Bundle = Annotated[str, typer.Option(help="Bundle: name, name@version, or a path with a /.")]


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each peer.")] = 3,
    events: Annotated[int, typer.Option(min=20_000, help="Of plain loop and worker; Faust: a tenth.")] = 200_000,
    quick: Annotated[bool, typer.Option("--quick", help="One round of a few events: does it work?")] = False,
    bundle: Bundle = "moderation",
) -> None:
    """Plain loop, worker in both delivery modes, and Faust: CPU time per event, outputs compared."""
    if context.invoked_subcommand is not None:
        return
    rounds, events = (1, 20_000) if quick else (rounds, events)
    # Faust commits once a second: fewer than some seconds of work would be no window.
    plan = throughput.Plan(rounds, events, max(5_000, events // 10), find_bundle(bundle, []))
    found = throughput.run(plan)
    report.show(found)
    report.say(f"written to {report.write('bench', found)}")


@app.command("propagation")
def measure_propagation(
    changes: Annotated[int, typer.Option(min=1, help="Threshold changes.")] = 120,
    rate: Annotated[int, typer.Option(min=1, help="Load, events a second.")] = 2_000,
    bundle: Bundle = "moderation",
) -> None:
    """Threshold commit to applied on every worker: three workers under load."""
    found = propagation.run(find_bundle(bundle, []), changes=changes, per_s=rate)
    report.say(
        f"commit to applied on all {found['workers']} workers, {found['changes']} changes, {rate} events/s: "
        f"p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms (goal: below {found['goal_p99_ms']}), "
        f"max {found['max_ms']} ms"
    )
    report.say(f"written to {report.write('propagation', found)}")


if __name__ == "__main__":
    try:
        app()
    except StreamtagError as error:
        lines = [f"error: {error.message}", *(f"  - {p}" for p in getattr(error, "problems", ()))]
        sys.exit("\n".join([*lines, *([f"hint: {error.hint}"] if error.hint else [])]))
