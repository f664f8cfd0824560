"""Latency from an event's due time to its committed tag, against load, up to saturation.

First the capacity of one worker on this machine, with the load's own processes at work: as many events a second as
come back while always some thousands wait. Then steps at shares of it, each on a timetable (`upstream`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from plot import Line, chart
from services import wait_until

from . import report
from .downstream import Arrivals, Downstream
from .readings import Meter, Reading, between
from .stack import running
from .taggers import Pipeline, Worker
from .upstream import Ahead, Counters, Paced, Upstream, Written

SHARES = (0.10, 0.25, 0.50, 0.70, 0.85, 0.95)
PLOT = Path("docs/latency.svg")
_PERCENTILES = {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99, "p999_ms": 99.9}
_WARM_UP_S = 5.0
_WINDOW_EVENTS = 20_000
"""On their way while the capacity is measured: ten times what a worker holds in its queue and hands."""
_DRAINED_S = 120.0
# Of the offered rate: a backlog that grows faster is not noise.
_SATURATED = 0.02


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        bundle: directory of the model.
        seconds: of each step, after its warm-up.
        capacity_events: to measure the capacity with, after as many to warm up.
        shares: of the capacity.
    """

    bundle: Path
    seconds: float = 20.0
    capacity_events: int = 200_000
    shares: Sequence[float] = SHARES


class Load:
    """One worker with default settings between an upstream and a downstream.

    Attributes:
        worker: the one.
    """

    def __init__(self, pipeline: Pipeline, stack: ExitStack) -> None:
        bootstrap, topics = pipeline.stack.bootstrap, pipeline.topics
        self._counters = Counters()
        self._upstream = stack.enter_context(closing(Upstream(bootstrap, topics["input"], self._counters)))
        self._downstream = stack.enter_context(
            closing(Downstream(bootstrap, topics["tags"], pipeline.partitions, self._counters))
        )
        self.worker: Worker = pipeline.start()
        pipeline.wait_shared(self.worker)
        self._meter = Meter([self.worker.pid], pipeline.stack.broker_pids, [self._upstream.pid, self._downstream.pid])

    def capacity(self, events: int) -> dict[str, float]:
        """Events a second and CPU time, never idle; after as many to warm up."""
        self._upstream.begin(Ahead(events * 2, _WINDOW_EVENTS))
        first = self._read_at(events)
        last = self._read_at(events * 2 - _WINDOW_EVENTS)
        self._upstream.written()
        self._drained()
        return between(first, last)

    def trickle(self, per_s: float, until: Callable[[], bool], what: str) -> None:
        """Writes events, of which nothing counts, until a condition holds."""
        self._upstream.begin(Paced(per_s, _DRAINED_S))
        wait_until(until, _DRAINED_S / 2, what)
        self._upstream.stop()
        self._drained()

    def step(self, per_s: float, seconds: float) -> dict[str, object]:
        """One rate; every event that is due in the time after the warm-up counts."""
        self._upstream.begin(Paced(per_s, _WARM_UP_S + seconds))
        time.sleep(_WARM_UP_S)
        first = self._meter.read(self._counters.read)
        time.sleep(seconds)
        last = self._meter.read(self._counters.read)
        written = self._upstream.written(_DRAINED_S)
        self._drained()
        return step_figures(written, self._downstream.take(), first, last)

    def _read_at(self, events: int) -> Reading:
        def there() -> bool:
            self.worker.check_alive()
            return self._counters.read >= events

        wait_until(there, 300.0, f"{events} tags")
        return self._meter.read(self._counters.read)

    def _drained(self) -> None:
        wait_until(lambda: self._counters.behind == 0, _DRAINED_S, "all tags of the step read")


def step_figures(written: Written, arrivals: Arrivals, first: Reading, last: Reading) -> dict[str, object]:
    """Percentiles of latency, and whether the pipeline kept up."""
    due, ms = latencies(written, arrivals.by_number(written.first, written.events))
    due, counted = due[due >= _WARM_UP_S], ms[due >= _WARM_UP_S]
    # What waits is as many events as are due within the latency: it grows as that does.
    growth = float(np.polyfit(due, counted / 1e3, 1)[0]) * written.per_s
    return {
        "offered_per_s": round(written.per_s, 1),
        **between(first, last),
        **{name: round(float(np.percentile(counted, p, method="inverted_cdf")), 1) for name, p in _PERCENTILES.items()},
        "max_ms": round(float(counted.max()), 1),
        "events": len(counted),
        "backlog_growth_per_s": round(growth, 1),
        "saturated": growth > written.per_s * _SATURATED,
        "producer_late_ms": written.late_ms,
    }


def latencies(written: Written, at_ns: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """When each event was due, seconds after the first; and how much later its tag arrived, milliseconds."""
    due = np.arange(written.events) / written.per_s
    return due, (at_ns - written.began_ns) / 1e6 - due * 1e3


def run(plan: Plan) -> Mapping[str, object]:
    """The whole measurement; the section ``load`` of ``reports/bench.json``."""
    with ExitStack() as exits:
        stack = exits.enter_context(running())
        load = Load(exits.enter_context(Pipeline(stack, plan.bundle)), exits)
        capacity = load.capacity(plan.capacity_events)
        report.say(f"capacity {capacity['events_per_s']:,.0f} events/s, {capacity['worker_us']} µs")
        steps = []
        for share in plan.shares:
            found = load.step(capacity["events_per_s"] * share, plan.seconds)
            steps.append({"share": share, **found})
            report.say(f"{share:.0%}: p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms")
        half = min(steps, key=lambda step: abs(float(str(step["share"])) - 0.5))
        return {
            "half_load_p99_ms": half["p99_ms"],
            "capacity": capacity,
            "steps": steps,
            "seconds": plan.seconds,
            **stack.services,
        }


def show(found: Mapping[str, object]) -> None:
    """The table."""
    steps: Sequence[Mapping[str, float]] = found["steps"]  # type: ignore[assignment]
    rows = [
        (
            f"{step['share']:.0%}{' (saturated)' if step['saturated'] else ''}",
            f"{step['events_per_s']:,.0f}",
            *(f"{step[name]:.0f}" for name in (*_PERCENTILES, "max_ms")),
            f"{step['worker_us']:.1f}",
            f"{step['backlog_growth_per_s']:.0f}",
            f"{step['others_cores']:.2f}",
        )
        for step in steps
    ]
    columns = ("load", "events/s", "p50", "p95", "p99", "p99.9", "max", "µs/event", "backlog/s", "others, cores")
    report.table("Event due to committed tag, ms, against load", columns, rows)


def draw(found: Mapping[str, object]) -> str:
    """The same as SVG."""
    steps: Sequence[Mapping[str, float]] = found["steps"]  # type: ignore[assignment]
    names = {"p50_ms": "p50", "p95_ms": "p95", "p99_ms": "p99", "p999_ms": "p99.9", "max_ms": "max"}
    lines = [
        Line(words, [(step["share"] * 100, step[name]) for step in steps]) for name, words in reversed(names.items())
    ]
    title = "Event due to committed tag against load (dashed: goal for p99 at half load)"
    return chart(title, lines, x="% of capacity", y="ms", log_y=True, limit=report.GOALS["half_load_p99_ms"].bound)
