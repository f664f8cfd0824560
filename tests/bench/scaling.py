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
    for count, figures in workers.items():
        report.say(
            f"{count} worker{'s' if int(count) > 1 else ''}: {figures['events_per_s']:,.0f} events/s, "
            f"{figures['worker_us']:.1f} µs/event, {figures['worker_cores']:.2f} cores, "
            f"broker {figures['broker_us']:.1f} µs/event, others {figures['others_cores']:.2f} cores"
        )
    report.say(
        f"two over one: {found['two_workers_over_one']} × events/s; broker and workers share the machine's cores"
    )
