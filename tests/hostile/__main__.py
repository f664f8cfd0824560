"""The command line of the campaign."""

import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from tiny_bundle import build_tiny_bundle

from streamtag.errors import StreamtagError
from streamtag.model.registry import find_bundle

from . import campaign, coverage, report

WIDE = 50
"""Labels of the made-up bundle beside the one under test."""
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    inputs: Annotated[int, typer.Option(min=1, help="Records to send.")] = 10_000_000,
    seed: Annotated[int | None, typer.Option(help="Makes a campaign again; by default a new one.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after this long, however many were sent.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at the same time.")] = len(os.sched_getaffinity(0)),
    atheris: Annotated[Path | None, typer.Option(help="A Python with atheris: adds a coverage-guided turn.")] = None,
    atheris_s: Annotated[int, typer.Option(min=1, help="Length of that turn, seconds.")] = 120,
    path: Annotated[Path, typer.Option("--report", help="Where the figures go.")] = Path("reports/hostile.json"),
    bundle: Annotated[str, typer.Option(help="Bundle: name, name@version, or a path with a /.")] = "moderation",
) -> None:
    """Sends hostile records through the path that decides; fails where a record breaks, stalls or leaves it."""
    chosen = random.SystemRandom().randrange(10**9) if seed is None else seed
    given = find_bundle(bundle, [])
    deadline = None if minutes is None else time.time() + minutes * 60
    print(f"seed {chosen}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        wide = build_tiny_bundle(Path(scratch), [f"label_{i:02}" for i in range(WIDE)], name="wide")
        plan = campaign.Plan(inputs, chosen, jobs, {"given": given, "wide": wide}, deadline)
        result = campaign.run(plan, lambda line: print(line, flush=True))
    guided = coverage.run(atheris, given, chosen, atheris_s) if atheris else None
    found = report.compose(result, plan, guided)
    print(report.table(found))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    print(f"written to {path}")
    sys.exit(0 if report.passed(found) else 1)


if __name__ == "__main__":
    try:
        app()
    except StreamtagError as error:
        sys.exit(f"error: {error.message}\n{error.hint}".strip())
