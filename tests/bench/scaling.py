"""One and two worker processes on the same kind of backlog."""

import itertools
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from services import produce, wait_until

from . import report
from .corpus import Corpus
from .measure import Positions
from .readings import Meter, between
from .stack import Stack, running
from .taggers import Pipeline

WORKERS = (1, 2)
_DEADLINE_S = 300.0
# Until here all partitions have work: they are not of one length, nor are workers of one speed.
_TO_SHARE = 0.85


def run(bundle: Path, *, events: int, rounds: int) -> Mapping[str, object]:
    """The whole measurement; the section ``scaling`` of ``reports/bench.json``."""
    found: dict[int, list[dict[str, float]]] = {workers: [] for workers in WORKERS}
    with running() as stack:
        for _, workers in itertools.product(range(rounds), WORKERS):
            found[workers].append(measure(stack, bundle, workers, events))
            report.say(f"{workers}: {found[workers][-1]}")
        medians = {workers: _median(figures) for workers, figures in found.items()}
        one, two = (medians[workers] for workers in WORKERS)
        return {
            "two_workers_over_one": round(two["events_per_s"] / one["events_per_s"], 2),
            "us_two_over_one": round(two["worker_us"] / one["worker_us"], 2),
            "workers": medians,
            "rounds": found,
            "events": events,
            **stack.services,
        }


def measure(stack: Stack, bundle: Path, workers: int, events: int) -> dict[str, float]:
    """From when each worker has its share until most of the backlog is done."""
    with Pipeline(stack, bundle) as pipeline:
        source = pipeline.topics["input"]
        produce(stack.bootstrap, source, Corpus().events(events))
        crew = [pipeline.start() for _ in range(workers)]
        pipeline.wait_shared(*crew)
        meter = Meter([worker.pid for worker in crew], stack.broker_pids, [])
        with closing(Positions(stack.bootstrap, pipeline.group, source, pipeline.partitions)) as positions:
            first = meter.read(positions())

            def done() -> int:
                for worker in crew:
                    worker.check_alive()
                at = positions()
                return at if at >= events * _TO_SHARE else 0

            return between(first, meter.read(wait_until(done, _DEADLINE_S, f"{events} events tagged", every_s=0.05)))


def _median(figures: list[dict[str, float]]) -> dict[str, float]:
    return {name: report.spread([one[name] for one in figures])["median"] for name in figures[0]}


def show(found: Mapping[str, object]) -> None:
    """A few lines."""
    workers: Mapping[int, Mapping[str, float]] = found["workers"]  # type: ignore[assignment]
    columns = ("workers", "events/s", "µs/event", "cores", "broker µs", "others, cores")
    names = ("events_per_s", "worker_us", "worker_cores", "broker_us", "others_cores")
    rows = [(str(count), *(f"{one[name]:,.2f}" for name in names)) for count, one in workers.items()]
    report.table("Worker processes on one backlog; the broker shares the cores", columns, rows)
    report.say(f"two over one: {found['two_workers_over_one']} × events/s")
