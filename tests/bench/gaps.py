"""How long partitions stay without committed tags: start, restart, rolling restart, a worker that is killed.

Workers have their default settings, and the broker has Kafka's default timeouts. The load is even and light, so that a
gap is what the protocol takes and not what catching up takes.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from services import wait_until

from streamtag.devstack.kafka import KafkaServer

from . import report
from .downstream import Arrivals, Downstream
from .propagation import percentile
from .stack import PARTITIONS, running
from .taggers import Pipeline, Worker
from .upstream import Counters, Paced, Upstream

PER_S = 1_000
_LONGEST_S = 7_200.0
_RECOVERED_S = 300.0
_SHORTENED = (
    "transaction.abort.timed.out.transaction.cleanup.interval.ms",
    "group.initial.rebalance.delay.ms",
    "group.min.session.timeout.ms",
    "group.consumer.",
)
"""Timeouts that devstack shortens for tests."""

Act = Callable[["Stage"], Mapping[str, float]]


class OrdinaryKafka(KafkaServer):
    """A broker with the timeouts that Kafka has by default."""

    def _write_config(self, *, bind: str, logs: str) -> Path:
        path = super()._write_config(bind=bind, logs=logs)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not line.startswith(_SHORTENED)), encoding="utf-8")
        return path


class Stage:
    """Workers in numbered seats between an upstream and a downstream.

    Args:
        pipeline: whose workers they are.
        seats: how many.
        exits: ends the load.
        settings: of the workers; ``{seat}`` stands for the number of theirs.
    """

    def __init__(self, pipeline: Pipeline, seats: int, exits: ExitStack, settings: Mapping[str, str]) -> None:
        bootstrap, topics = pipeline.stack.bootstrap, pipeline.topics
        self._pipeline = pipeline
        self._settings = settings
        self._counters = Counters()
        self._upstream = exits.enter_context(closing(Upstream(bootstrap, topics["input"], self._counters)))
        self._downstream = exits.enter_context(
            closing(Downstream(bootstrap, topics["tags"], pipeline.partitions, self._counters))
        )
        self._arrivals: list[Arrivals] = []
        self.workers = [self.start(seat) for seat in range(seats)]
        pipeline.wait_shared(*self.workers)
        self._upstream.begin(Paced(PER_S, _LONGEST_S))

    def start(self, seat: int) -> Worker:
        """A worker for a seat."""
        mine = {name.replace(".", "__"): value.format(seat=seat) for name, value in self._settings.items()}
        return self._pipeline.start(**mine)

    def replace(self, seat: int) -> Worker:
        """A new worker for a seat that has been left; returns it without waiting."""
        self.workers[seat] = self.start(seat)
        return self.workers[seat]

    def partitions_of(self, worker: Worker) -> list[int]:
        """Which it reads, as it says itself."""
        [beat] = [beat for beat in self._pipeline.beats() if beat.pid == worker.pid]
        return [int(name.rpartition("/")[2]) for name in beat.positions]

    def wait_recovered(self, *workers: Worker) -> None:
        """Until these share all partitions and nothing waits."""
        self._pipeline.wait_shared(*workers)

        def caught_up() -> bool:
            for worker in workers:
                worker.check_alive()
            return self._counters.behind < PER_S / 2

        wait_until(caught_up, _RECOVERED_S, "nothing waits any more")

    def arrivals(self) -> Arrivals:
        """Since the last call."""
        self._arrivals.append(self._downstream.take())
        return self._arrivals[-1]

    def finish(self) -> int:
        """Ends the load; every event must have exactly one tag event. Returns how many there are."""
        written = self._upstream.stop()
        wait_until(lambda: self._counters.behind == 0, _RECOVERED_S, "all tags read")
        self.arrivals()
        numbers, at_ns, partitions = (
            np.concatenate([getattr(one, name) for one in self._arrivals])
            for name in ("numbers", "at_ns", "partitions")
        )
        Arrivals(numbers, at_ns, partitions).by_number(written.first, written.events)
        return written.events


def longest_gap(at_ns: NDArray[np.int64], since_ns: int) -> tuple[int, int]:
    """Longest time without an arrival that ends after ``since_ns``: (last arrival before it, first after it)."""
    ends = np.flatnonzero(at_ns[1:] > since_ns) + 1
    widest = ends[np.argmax(at_ns[ends] - at_ns[ends - 1])]
    return int(at_ns[widest - 1]), int(at_ns[widest])


def gap_s(arrivals: Arrivals, since_ns: int, partitions: Sequence[int]) -> float:
    """The longest on any of these partitions."""
    spans = [longest_gap(arrivals.at_ns[arrivals.partitions == p], since_ns) for p in partitions]
    return max(end - begin for begin, end in spans) / 1e9


def recovery_s(arrivals: Arrivals, since_ns: int, partitions: Sequence[int]) -> float:
    """From ``since_ns`` to the end of the gap that it made, on the last of these partitions."""
    return max(longest_gap(arrivals.at_ns[arrivals.partitions == p], since_ns)[1] - since_ns for p in partitions) / 1e9


def restart(stage: Stage) -> Mapping[str, float]:
    """SIGTERM, and a new worker as soon as the old one has ended."""
    [worker] = stage.workers
    since = time.monotonic_ns()
    worker.stop()
    drained = time.monotonic_ns()
    new = stage.replace(0)
    stage.wait_recovered(new)
    arrivals = stage.arrivals()
    first = int(arrivals.at_ns[arrivals.at_ns > new.started_ns].min())
    return {
        "gap_s": gap_s(arrivals, since, range(PARTITIONS)),
        "drain_s": (drained - since) / 1e9,
        "start_s": (first - new.started_ns) / 1e9,
    }


def roll(stage: Stage) -> Mapping[str, float]:
    """Each worker in turn: SIGTERM, a new one, and on when it has its share."""
    since = time.monotonic_ns()
    for seat, worker in enumerate(stage.workers):
        worker.stop()
        stage.replace(seat)
        stage.wait_recovered(*stage.workers)
    return {"gap_s": gap_s(stage.arrivals(), since, range(PARTITIONS))}


def kill(stage: Stage) -> Mapping[str, float]:
    """SIGKILL; the other takes over. Then the seat is filled again."""
    since, mine, seat = _kill_one(stage)
    stage.wait_recovered(stage.workers[1 - seat])
    found = {"recovery_s": recovery_s(stage.arrivals(), since, mine)}
    stage.replace(seat)
    stage.wait_recovered(*stage.workers)
    return found


def kill_and_restart(stage: Stage) -> Mapping[str, float]:
    """SIGKILL, and the supervisor starts a new worker at once."""
    since, mine, seat = _kill_one(stage)
    stage.replace(seat)
    stage.wait_recovered(*stage.workers)
    return {"recovery_s": recovery_s(stage.arrivals(), since, mine)}


def _kill_one(stage: Stage) -> tuple[int, list[int], int]:
    seat = random.randrange(len(stage.workers))
    victim = stage.workers[seat]
    mine = stage.partitions_of(victim)
    since = time.monotonic_ns()
    victim.kill()
    return since, mine, seat


@dataclass(frozen=True)
class Scenario:
    """One kind of gap.

    Attributes:
        words: what happens.
        workers: how many.
        act: does it once.
        expected_s: of one repeat.
        settings: where they are not the defaults.
        share: of the repeats that this one gets.
    """

    words: str
    workers: int
    act: Act
    expected_s: float
    settings: Mapping[str, str] = field(default_factory=dict)
    share: float = 1.0


_STATIC = {"tagger.group_instance_id": "seat-{seat}"}
_SHORTEST = {"tagger.session_timeout_ms": "6000", "tagger.transaction_timeout_ms": "3000"}
SCENARIOS = {
    "restart": Scenario("SIGTERM and start of the only worker", 1, restart, 8),
    "rolling": Scenario("rolling restart of two workers", 2, roll, 15),
    "killed": Scenario("one of two killed, the other takes over", 2, kill, 30),
    "killed_restarted": Scenario("one of two killed, started again at once", 2, kill_and_restart, 20),
    "killed_static": Scenario(
        "the same with static membership (group_instance_id)", 2, kill_and_restart, 8, settings=_STATIC
    ),
    "killed_shortest": Scenario(
        "one of two killed, session 6 s (the broker's least), transaction timeout 3 s", 2, kill, 25, settings=_SHORTEST
    ),
    "killed_kip848": Scenario(
        "one of two killed, group_protocol=consumer: the broker's 45 s",
        2,
        kill,
        75,
        settings={"tagger.group_protocol": "consumer"},
        share=0.3,
    ),
}


def run(bundle: Path, *, repeats: int, names: Sequence[str] = tuple(SCENARIOS)) -> Mapping[str, object]:
    """The whole measurement; the section ``gaps`` of ``reports/bench.json``."""
    turns = {name: max(1, round(repeats * SCENARIOS[name].share)) for name in names}
    expected = sum(15 + n * (2 + SCENARIOS[name].expected_s) for name, n in turns.items())
    report.say(f"{', '.join(names)}: about {expected / 60:.0f} minutes")
    found: dict[str, object] = {}
    with running(OrdinaryKafka) as stack:
        for name, n in turns.items():
            scenario = SCENARIOS[name]
            with ExitStack() as exits:
                pipeline = exits.enter_context(Pipeline(stack, bundle))
                stage = Stage(pipeline, scenario.workers, exits, scenario.settings)
                values = [_once(stage, scenario.act) for _ in range(n)]
                events = stage.finish()
            found[name] = {
                "words": scenario.words,
                "settings": dict(scenario.settings),
                "repeats": n,
                "events": events,
                **{figure: spread([value[figure] for value in values]) for figure in values[0]},
            }
            report.say(f"{name}: {summary(found[name])}")  # type: ignore[arg-type]
        return {"load_per_s": PER_S, "partitions": PARTITIONS, "scenarios": found, **stack.services}


def _once(stage: Stage, act: Act) -> Mapping[str, float]:
    """At a moment that has nothing to do with commits, heartbeats or the broker's timers."""
    stage.arrivals()
    time.sleep(random.uniform(1.0, 3.0))
    return act(stage)


def spread(values: Sequence[float]) -> dict[str, object]:
    """Percentiles, and the values."""
    return {
        "p50": round(percentile(values, 0.5), 2),
        "p99": round(percentile(values, 0.99), 2),
        "max": round(max(values), 2),
        "values": [round(value, 2) for value in values],
    }


def summary(scenario: Mapping[str, Mapping[str, float]]) -> str:
    """One line."""
    figures = (name for name in scenario if name.endswith("_s"))
    return "; ".join(f"{n} p50 {scenario[n]['p50']} p99 {scenario[n]['p99']}" for n in figures)


def show(found: Mapping[str, object]) -> None:
    """The table."""
    scenarios: Mapping[str, Mapping[str, Mapping[str, float]]] = found["scenarios"]  # type: ignore[assignment]
    rows = [
        (f"{one['words']}: {name.removesuffix('_s')}", *(f"{one[name][p]:.2f}" for p in ("p50", "p99", "max")))
        for one in scenarios.values()
        for name in one
        if name.endswith("_s")
    ]
    report.table("Without committed tags, seconds", ("", "p50", "p99", "max"), rows)
