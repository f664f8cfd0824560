"""CPU time per event of a process that works off a backlog: between two positions that it has committed."""

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streamtag.devstack.process import ProcessRef, spawn
from streamtag.errors import StreamtagError

from . import cpu
from .plain import FROM_SHARE

_SLOW_S, _FAST_S = 0.1, 0.01
# The kernel counts in steps of 10 ms, and a commit is noticed up to that late.
_LEAST_S = 0.2


@dataclass(frozen=True)
class Mark:
    """The state of the machine at one moment. Seconds of CPU time, except ``at``."""

    position: int
    at: float
    peer_s: float
    broker_s: float
    machine_s: float
    harness_s: float


class Positions:
    """What a consumer group has committed, over all partitions of a topic. Never joins the group."""

    def __init__(self, bootstrap: str, group: str, topic: str, partitions: int) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "enable.auto.commit": False,
                # Else the answer waits while a transaction with positions is being committed.
                "isolation.level": "read_uncommitted",
            }
        )
        self._partitions = [TopicPartition(topic, p) for p in range(partitions)]

    def __call__(self) -> int:
        """Records committed; 0 while there is no commit."""
        try:
            found = self._consumer.committed(self._partitions, timeout=10)
        except KafkaException:
            return 0
        return sum(max(0, p.offset) for p in found)

    def close(self) -> None:
        """Lets go of the client."""
        self._consumer.close()


@dataclass(frozen=True)
class Watch:
    """Watches one process work off ``total`` records.

    Attributes:
        process: the peer.
        broker_pids: the broker, where it is ours.
        positions: records committed.
        total: records of the backlog.
        deadline_s: for all of it.
    """

    process: subprocess.Popen[bytes]
    broker_pids: Sequence[int]
    positions: Callable[[], int]
    total: int
    deadline_s: float

    def window(self) -> tuple[Mark, Mark]:
        """From the first commit at or after a quarter of the backlog to the one that completes it."""
        deadline = time.monotonic() + self.deadline_s
        first: Mark | None = None
        before = 0
        while True:
            position = self.positions()
            if first is None and position >= self.total * FROM_SHARE and position != before:
                first = self._mark(position)
            if position >= self.total:
                # One single commit of everything gives no window.
                return first or self._mark(position), self._mark(position)
            if self.process.poll() is not None:
                raise StreamtagError(f"the peer ended with {self.process.returncode} at {position} of {self.total}")
            if time.monotonic() > deadline:
                raise StreamtagError(f"{position} of {self.total} records committed after {self.deadline_s:g} s")
            before = position
            # A commit is noticed at once where a mark is due, and the peer is left alone elsewhere.
            share = position / self.total
            near_a_mark = (first is None and share > FROM_SHARE * 0.6) or share > 0.85
            time.sleep(_FAST_S if near_a_mark else _SLOW_S)

    def _mark(self, position: int) -> Mark:
        return Mark(
            position=position,
            at=time.monotonic(),
            peer_s=cpu.process_s(self.process.pid),
            broker_s=cpu.total_s(self.broker_pids),
            machine_s=cpu.machine_s(),
            harness_s=time.process_time(),
        )


def figures(first: Mark, last: Mark) -> dict[str, float]:
    """Per event and per second, of a window."""
    events, seconds = last.position - first.position, last.at - first.at
    if events <= 0 or last.peer_s - first.peer_s < _LEAST_S:
        raise StreamtagError(
            f"{events} events between the first commit and the last cost less than {_LEAST_S} s: too few to measure",
            hint="Measure more of them: --events.",
        )
    ours = (last.peer_s - first.peer_s) + (last.broker_s - first.broker_s) + (last.harness_s - first.harness_s)
    return {
        "us": (last.peer_s - first.peer_s) / events * 1e6,
        "events_per_s": events / seconds,
        "broker_us": (last.broker_s - first.broker_s) / events * 1e6,
        "others_cores": max(0.0, (last.machine_s - first.machine_s - ours) / seconds),
        "window_events": float(events),
    }


def run_peer(
    argv: Sequence[str],
    *,
    log: Path,
    environ: dict[str, str],
    broker_pids: Sequence[int],
    positions: Positions,
    total: int,
    deadline_s: float,
) -> dict[str, float]:
    """Starts a peer, measures it, stops it (SIGTERM); its figures.

    Raises:
        StreamtagError: it ended early or was too slow; the hint carries the end of its log.
    """
    process = spawn(argv, log=log, dies_with_parent=True, environ=environ)
    ref = ProcessRef.of(process.pid)
    try:
        first, last = Watch(process, broker_pids, positions, total, deadline_s).window()
        return {**figures(first, last), "rss_mib": cpu.peak_rss_mib(process.pid)}
    except StreamtagError as error:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
        raise StreamtagError(error.message, hint="The end of its log:\n" + "\n".join(tail)) from None
    finally:
        if ref is not None:
            ref.stop(20.0)
        process.wait(5)
        positions.close()
