"""CPU time and progress of a running pipeline between two moments."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from . import cpu


@dataclass(frozen=True)
class Reading:
    """The state at one moment; seconds of CPU time, except ``at``."""

    at: float
    events: int
    workers_s: float
    broker_s: float
    harness_s: float
    machine_s: float


@dataclass(frozen=True)
class Meter:
    """Reads the processes of one run.

    Attributes:
        workers: their process ids.
        broker: of the broker, where it is ours.
        harness: of the load's processes; this one is counted by itself.
    """

    workers: Sequence[int]
    broker: Sequence[int]
    harness: Sequence[int]

    def read(self, events: int) -> Reading:
        """Now, at so many events."""
        return Reading(
            at=time.monotonic(),
            events=events,
            workers_s=cpu.total_s(self.workers),
            broker_s=cpu.total_s(self.broker),
            harness_s=cpu.total_s([os.getpid(), *self.harness]),
            machine_s=cpu.machine_s(),
        )


def between(first: Reading, last: Reading) -> dict[str, float]:
    """Figures of the time between two readings."""
    seconds, events = last.at - first.at, max(1, last.events - first.events)
    workers, broker, harness = (
        last.workers_s - first.workers_s,
        last.broker_s - first.broker_s,
        last.harness_s - first.harness_s,
    )
    others = last.machine_s - first.machine_s - workers - broker - harness
    return {
        "events_per_s": round((last.events - first.events) / seconds, 1),
        "worker_us": round(workers / events * 1e6, 2),
        "broker_us": round(broker / events * 1e6, 2),
        "worker_cores": round(workers / seconds, 3),
        "harness_cores": round(harness / seconds, 3),
        "others_cores": round(max(0.0, others / seconds), 2),
    }
