"""From the commit of a threshold change to the moment at which every worker decides by it, under load.

A change counts from just before its commit is sent to Redis. It ends when the last worker has taken it up between
two batches: ``applied_at_ms`` in its heartbeat, by the same clock, since all run on one host. That the workers do
what they say is checked against the tag events: none that was processed later may carry an older release.
"""

import math
import random
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from confluent_kafka import Producer
from services import MIB, create_topics, read_all, wait_until

from streamtag.control.changes import ReleaseChanges, Who
from streamtag.control.fleet import Heartbeat, read_fleet
from streamtag.control.store import CommitResult, ControlStore
from streamtag.devstack.process import ProcessRef, spawn
from streamtag.errors import RefusedError, StreamtagError
from streamtag.model.bundle import read_bundle
from streamtag.settings import RedisSettings

from . import report
from .corpus import Corpus, Event
from .stack import Stack, clean_environ, running

WORKERS = 3
_PARTITIONS = 6
_GROUP = "bench"
_WHO = Who("benchmark", "propagation")
_CUTOFFS = (0.4, 0.41)
_GOAL_MS = 250.0
# Between two changes; uneven, so that nothing periodic in a worker falls in step with them.
_PAUSE_S = (0.2, 0.6)
_READY_S, _APPLIED_S = 60.0, 30.0


@dataclass(frozen=True)
class Change:
    """One change, Unix milliseconds.

    Attributes:
        release: its number.
        committed_ms: just before the commit was sent.
        applied_ms: worker to the end of the millisecond in which it took the change up.
    """

    release: int
    committed_ms: float
    applied_ms: Mapping[str, float]

    @property
    def everywhere_ms(self) -> float:
        """From the commit to the last worker."""
        return max(self.applied_ms.values()) - self.committed_ms


class _Decided(msgspec.Struct, frozen=True, gc=False):
    processed_at: datetime
    release: dict[str, Any]


class TimedStore(ControlStore):
    """Notes when a commit is sent; what is read before and after it is no part of the way to the workers."""

    sent_ms = 0.0

    def commit(self, **arguments: Any) -> CommitResult:
        """See `ControlStore.commit`."""
        self.sent_ms = time.time() * 1000
        return super().commit(**arguments)


class Load(threading.Thread):
    """Writes events at an even rate until told to stop."""

    def __init__(self, bootstrap: str, topic: str, events: Iterator[Event], per_s: int) -> None:
        super().__init__(name="load", daemon=True)
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 0})
        self._topic = topic
        self._events = events
        self._per_s = per_s
        self._stopping = threading.Event()
        self.written = 0

    def run(self) -> None:
        """In slices of 20 ms; what a late slice missed, the next one makes up for."""
        began = time.monotonic()
        while not self._stopping.wait(0.02):
            due = int((time.monotonic() - began) * self._per_s)
            while self.written < due:
                event = next(self._events)
                self._producer.produce(self._topic, event.value, event.key)
                self.written += 1
            self._producer.poll(0)

    def __enter__(self) -> Self:
        self.start()
        wait_until(lambda: self.written > self._per_s, 30, "load")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self.join(10)
        if self._producer.flush(30) and error is None:
            raise StreamtagError("the broker did not take the load in time")


class Propagation:
    """Workers under load on running services, and one operator who changes one threshold again and again."""

    def __init__(self, stack: Stack, bundle: Path) -> None:
        self._stack = stack
        self._bundle = bundle
        run = uuid.uuid4().hex[:8]
        self.topics = {role: f"{role}-{run}" for role in ("input", "tags", "stats", "dead_letters")}
        redis = RedisSettings(url=stack.redis_url, namespace=f"bench-{run}")  # type: ignore[call-arg]
        self._namespace = redis.namespace
        self._store = TimedStore(redis)
        self._changes = ReleaseChanges(self._store, max_step=1.0)
        self._label = read_bundle(bundle).labels[0]

    @contextmanager
    def workers(self) -> Iterator[None]:
        """Starts the workers with default settings and waits until all of them decide."""
        limits = {"input": MIB, "tags": 2 * MIB, "stats": 4 * MIB, "dead_letters": 5 * MIB}
        create_topics(
            self._stack.bootstrap,
            [(topic, _PARTITIONS, {"max.message.bytes": str(limits[role])}) for role, topic in self.topics.items()],
        )
        with ExitStack() as stack:
            for number in range(WORKERS):
                log = self._stack.directory / f"worker-{number}.log"
                process = spawn(self._command(), log=log, dies_with_parent=True, environ=clean_environ())
                stack.callback(process.wait, 10)
                ref = ProcessRef.of(process.pid)
                if ref is not None:
                    stack.callback(ref.stop, 20.0)
            wait_until(self._all_read, _READY_S, f"{WORKERS} workers that decide and have partitions")
            yield

    def change(self, number: int) -> Change:
        """Moves the label's cut-off by a little, and waits until every worker has said that it applied that."""
        outcome = self._changes.set_thresholds({self._label: _CUTOFFS[number % 2]}, _WHO)
        release = outcome.current.ref.number

        def applied() -> Mapping[str, float] | None:
            beats = self._beats()
            found = {b.worker: b.applied_at_ms + 1.0 for b in beats if b.release == release and b.applied_at_ms}
            return found if len(found) == WORKERS else None

        found = wait_until(applied, _APPLIED_S, f"release {release} applied by {WORKERS} workers")
        assert found is not None, "wait_until returns what is true"
        return Change(release, self._store.sent_ms, found)

    def lag(self) -> int:
        """Records behind, over all workers, as they say."""
        return sum(beat.lag or 0 for beat in self._beats())

    def check(self, changes: Sequence[Change]) -> int:
        """Compares what the workers said with the tag events they wrote; returns how many of these there are.

        Raises:
            RefusedError: an event was decided by an older release after all had said that they applied a newer one.
        """
        records = read_all(self._stack.bootstrap, self.topics["tags"], deadline_s=120)
        decode = msgspec.json.Decoder(_Decided).decode
        decided = [decode(record.value() or b"") for record in records]
        problems = contradictions(((d.processed_at.timestamp() * 1000, d.release["number"]) for d in decided), changes)
        if problems:
            raise RefusedError("workers decided by an older release than they said", problems=problems[:5])
        return len(decided)

    def close(self) -> None:
        """Lets go of Redis."""
        self._store.close()

    def _command(self) -> list[str]:
        settings = {
            "kafka.bootstrap_servers": self._stack.bootstrap,
            "redis.url": self._stack.redis_url,
            "redis.namespace": self._namespace,
            "topics.input": f"[{self.topics['input']}]",
            **{f"topics.{role}": self.topics[role] for role in ("tags", "stats", "dead_letters")},
            "model.bundle": str(self._bundle),
            "model.directories": f"[{self._bundle.parent.parent}]",
            "tagger.group": _GROUP + self._namespace,
            "state_dir": str(self._stack.directory / "state"),
        }
        return [sys.executable, "-m", "streamtag", *(f"--set={k}={v}" for k, v in settings.items()), "tagger"]

    def _beats(self) -> Sequence[Heartbeat]:
        return read_fleet(self._store, _GROUP + self._namespace).heartbeats

    def _all_read(self) -> bool:
        beats = [beat for beat in self._beats() if beat.release is not None]
        return len(beats) == WORKERS and all(len(b.positions) == _PARTITIONS // WORKERS for b in beats)


def contradictions(decided: Iterator[tuple[float, int]], changes: Sequence[Change]) -> list[str]:
    """Decisions (when, Unix ms; release) by an older release than every worker had applied by then."""
    # By time: from here on at least this release everywhere.
    steps = sorted((max(change.applied_ms.values()), change.release) for change in changes)
    found = []
    for at_ms, release in decided:
        newest = _last_before(steps, at_ms)
        if release < newest:
            found.append(f"decided at {at_ms:.0f} by release {release}; all had applied {newest}")
    return found


def _last_before(steps: Sequence[tuple[float, int]], at_ms: float) -> int:
    low, high = 0, len(steps)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if steps[middle][0] < at_ms else (low, middle)
    return steps[low - 1][1] if low else 0


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that ``share`` of all values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def run(bundle: Path, *, changes: int, per_s: int) -> dict[str, object]:
    """The whole measurement; the document for ``reports/propagation.json``."""
    random_ = random.Random(1)
    with running() as stack, closing(Propagation(stack, bundle)) as propagation:
        events = Corpus().events(1_000_000_000)
        load = Load(stack.bootstrap, propagation.topics["input"], events, per_s)
        done, lags = [], []
        with propagation.workers(), load:
            for number in range(changes):
                done.append(propagation.change(number))
                lags.append(propagation.lag())
                if (number + 1) % 20 == 0:
                    report.say(f"{number + 1} of {changes} changes")
                time.sleep(random_.uniform(*_PAUSE_S))
        decided = propagation.check(done)
        services = stack.services
    return {**document(done, load=per_s, decided=decided, lag=percentile(lags, 0.5)), **services}


def document(changes: Sequence[Change], *, load: int, decided: int, lag: float) -> dict[str, object]:
    """Figures first, then what they were taken from."""
    everywhere = [change.everywhere_ms for change in changes]
    return {
        "p50_ms": round(percentile(everywhere, 0.5), 1),
        "p99_ms": round(percentile(everywhere, 0.99), 1),
        "max_ms": round(max(everywhere), 1),
        "goal_p99_ms": _GOAL_MS,
        "changes": len(changes),
        "workers": WORKERS,
        "partitions": _PARTITIONS,
        "load_events_per_s": load,
        "median_lag_records": lag,
        "tag_events_checked": decided,
        **report.origin(),
        "everywhere_ms": [round(value, 1) for value in everywhere],
    }
