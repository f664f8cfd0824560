"""``python -m tests.soak``: what `make soak` runs."""

import random
import sys
from pathlib import Path
from typing import Annotated

import typer
from faults import campaign
from faults.report import say, show, write
from faults.stage import services, stage

from streamtag.errors import StreamtagError

from . import plot, report
from .run import SETTINGS, Plan, run
from .writer import SteadyUpstream

REPORT, PLOT = Path("reports") / "soak.json", Path("reports") / "soak.svg"


def main(
    minutes: Annotated[float, typer.Option(min=1, help="Under load; measuring the capacity comes on top.")] = 60.0,
    seed: Annotated[int | None, typer.Option(help="Of input, changes and faults; a random one is printed.")] = None,
    every: Annotated[float, typer.Option(min=15, help="Seconds: one fault in each such period.")] = 60.0,
    share: Annotated[float, typer.Option(min=0.05, max=0.95, help="Of the capacity.")] = 0.7,
    calibrate: Annotated[
        float,
        typer.Option(min=5, help="Seconds at full speed, and half of it at each even load."),
    ] = 60.0,
    rate: Annotated[float | None, typer.Option(min=100, help="Records a second, instead of measuring.")] = None,
    partitions: Annotated[int, typer.Option(min=1, max=64)] = 6,
    workers: Annotated[int, typer.Option(min=2, max=8, help="The first one is never killed.")] = 3,
    only: Annotated[str, typer.Option(help="Only kinds of fault whose name contains this.")] = "",
    picture: Annotated[Path, typer.Option(help="Where the plot goes.")] = PLOT,
) -> None:
    """A fault a minute under an even load: exit code 1 when anything is lost, doubled, wrong, late or grown."""
    seed = random.randrange(1_000_000) if seed is None else seed
    kinds = [kind for kind in campaign.ALL_KINDS if only in kind.name]
    plan = Plan(seed, minutes, every, share, calibrate, rate, kinds)
    facts = {"partitions": partitions, "workers": workers, "fault_every_s": every}
    say(f"seed {seed}: {minutes:g} minutes, {facts}")
    with (
        services(workers=workers, brokers=1) as base,
        stage(
            base,
            seed=seed,
            partitions=partitions,
            delivery="exactly_once",
            events=0,
            writer=SteadyUpstream,
            settings=SETTINGS,
        ) as staged,
    ):
        result = run(staged, plan, say)
        found = report.document(staged, plan, result, facts)
    show(found)
    for line in report.lines(found):
        say(line)
    write(found, REPORT)
    picture.write_text(plot.plot(result, report.hurt(result)), encoding="utf-8")
    if found["violations"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    try:
        typer.run(main)
    except StreamtagError as error:
        sys.exit(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""))
