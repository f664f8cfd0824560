"""``python -m tests.faults``: what `make faults` runs."""

import random
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from streamtag.errors import StreamtagError

from . import campaign, defects, merging, mutations, report, statistics_campaign, statistics_report
from .archive import Archive
from .experimenter import Experimenter
from .read_side import PANE_S, read_side
from .stage import Delivery, services, stage
from .statistics_end import wind_up

app = typer.Typer(
    help="Hurts a real pipeline at random moments and checks every outcome; exit code 1 on any violation, "
    "or where a kind of fault came too rarely.",
    pretty_exceptions_enable=False,
    add_completion=False,
)

Seed = Annotated[int | None, typer.Option(help="Of input, changes and faults; a random one is printed.")]


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    minutes: Annotated[float, typer.Option(min=0.1, help="Of faults, at least.")] = 5.0,
    each: Annotated[int, typer.Option(min=0, help="Go on until each kind of fault has happened so often …")] = 0,
    at_most: Annotated[float, typer.Option(help="… but no longer than these minutes.")] = 40.0,
    seed: Seed = None,
    events: Annotated[int, typer.Option(min=1_000, help="End when this many were written.")] = 1_000_000_000,
    rate: Annotated[float, typer.Option(min=100, help="Input, records a second.")] = 3_000,
    partitions: Annotated[int, typer.Option(min=1, max=64)] = 6,
    workers: Annotated[int, typer.Option(min=1, max=8)] = 3,
    brokers: Annotated[int, typer.Option(min=1, max=2, help="Two: failover and moving coordinators, too.")] = 1,
    delivery: Annotated[str, typer.Option(help="exactly_once or at_least_once.")] = "exactly_once",
    only: Annotated[str, typer.Option(help="Only kinds of fault whose name contains this.")] = "",
    defect: Annotated[str | None, typer.Option(help=f"One of: {', '.join(defects.BY_NAME)}.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="name=value of all workers, as tagger.group_protocol=consumer.")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="An empty directory that keeps the brokers' logs.")] = None,
    path: Annotated[Path, typer.Option("--report", help="Where the figures go.")] = report.REPORT,
) -> None:
    """One campaign."""
    if context.invoked_subcommand is not None:
        return
    seed = random.randrange(1_000_000) if seed is None else seed
    kinds = [kind for kind in campaign.ALL_KINDS if only in kind.name]
    plan = campaign.Plan(seed, minutes, rate, kinds, each=each, at_most_minutes=at_most)
    own = dict(one.split("=", 1) for one in settings or ())
    facts = {
        "partitions": partitions,
        "workers": workers,
        "brokers": brokers,
        "delivery": delivery,
        "defect": defect,
        "settings": own,
    }
    report.say(f"seed {seed}: {minutes:g} minutes, {facts}")
    mode: Delivery = "at_least_once" if delivery == "at_least_once" else "exactly_once"
    with (
        services(workers=workers, brokers=brokers, keep=keep) as base,
        stage(
            base, seed=seed, partitions=partitions, delivery=mode, events=events, defect=defect, settings=own
        ) as staged,
    ):
        course = campaign.run(staged, plan, report.say)
        found = report.document(staged, plan, course, facts)
    _end(found, path)


@app.command("statistics")
def statistics_(
    minutes: Annotated[float, typer.Option(min=0.1, help="Of faults, at least.")] = 8.0,
    each: Annotated[
        int, typer.Option(min=0, help="Go on until so many kills, freezes and rebalances of windower and app each …")
    ] = 0,
    at_most: Annotated[float, typer.Option(help="… but no longer than these minutes.")] = 15.0,
    seed: Seed = None,
    rate: Annotated[float, typer.Option(min=100, help="Input, records a second.")] = 1_000,
    partitions: Annotated[int, typer.Option(min=1, max=64)] = 4,
    workers: Annotated[int, typer.Option(min=1, max=8, help="Taggers.")] = 2,
    pace: Annotated[float, typer.Option(min=0.1, help="Pauses between faults are so many times as long.")] = 1.0,
    path: Annotated[Path, typer.Option("--report", help="Where the figures go.")] = statistics_report.REPORT,
) -> None:
    """A campaign of the read side: windowers, Faust apps, experiments; all of it is recounted at the end."""
    seed = random.randrange(1_000_000) if seed is None else seed
    plan = statistics_campaign.Plan(seed, minutes, rate, each=each, at_most_minutes=at_most, pace=pace)
    facts = {"partitions": partitions, "workers": workers, "rate": rate}
    report.say(f"seed {seed}: {minutes:g} minutes, {facts}")
    archive = Archive(1_000 * PANE_S)
    with (
        services(workers=workers, brokers=1, weights=(1, 2, 1)) as base,
        stage(
            base,
            seed=seed,
            partitions=partitions,
            delivery="exactly_once",
            events=1_000_000_000,
            operator=Experimenter,
            pane_s=PANE_S,
            archive=archive,
        ) as staged,
        read_side(staged) as side,
    ):
        campaign_ = statistics_campaign.Campaign(side, plan, report.say)
        course = campaign_.run()
        compared = wind_up(side, archive, report.say)
        found = statistics_report.document(staged, plan, course, campaign_.recoveries, compared, facts)
    statistics_report.show(found)
    report.write(found, path)
    if found["violations"]:
        raise typer.Exit(1)


@app.command("merge")
def merge(
    reports: Annotated[list[Path], typer.Argument(help="Reports of campaigns.")],
    each: Annotated[int, typer.Option(min=0, help="How often each kind should have happened, over all.")] = 10,
    path: Annotated[Path, typer.Option("--report", help="Where the sums go.")] = report.REPORT,
) -> None:
    """Adds reports up; exit code 1 when one holds a violation, or a kind came too rarely over all."""
    try:
        found = merging.merge([report.read(one) for one in reports], each)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    _end(found, path)


@app.command("mutations")
def mutate(
    seed: Seed = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="At most, for each defect.")] = 1.5,
    only: Annotated[str, typer.Option(help=f"Some of them, with commas; {mutations.CONTROL}: without any.")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="So many at once, each with services of its own.")] = 1,
    path: Annotated[Path, typer.Option("--report", help="Where the figures go.")] = mutations.REPORT,
) -> None:
    """A short campaign with each deliberate defect, and one without any; exit code 1 unless each is caught."""
    seed = random.randrange(1_000_000) if seed is None else seed
    names = only.split(",") if only else mutations.NAMES
    found = mutations.run(seed, minutes, names) if jobs == 1 else mutations.run_beside(seed, minutes, names, jobs)
    mutations.show(found)
    report.write(found, path)
    if not all(row["right"] for row in found["defects"].values()):
        raise typer.Exit(1)


def _end(found: dict[str, Any], path: Path) -> None:
    """Of a campaign, or several: one that was violated, or in which a kind came too rarely, has shown nothing."""
    report.show(found)
    report.write(found, path)
    if found["violations"] or found["fell_short"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    try:
        app()
    except StreamtagError as error:
        sys.exit(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""))
