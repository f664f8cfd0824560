"""From the commit of a threshold change to the moment at which every worker decides by it, under load.

A change counts from just before its commit is sent to Redis. It ends when the last worker has taken it up between
two batches: ``applied_at_ms`` in its heartbeat, by the same clock, since all run on one host. That the workers do
what they say is checked against the tag events: none that was processed later may carry an older release.
"""

import math
import random
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from services import read_all, wait_until

from streamtag.control.changes import ReleaseChanges, Who
from streamtag.control.store import CommitResult, ControlStore
from streamtag.errors import RefusedError
from streamtag.model.bundle import read_bundle

from . import report
from .stack import running
from .taggers import Pipeline
from .upstream import Counters, Paced, Upstream

WORKERS = 3
_PARTITIONS = 6
_WHO = Who("benchmark", "propagation")
_CUTOFFS = (0.4, 0.41)
# Between two changes; uneven, so that nothing periodic in a worker falls in step with them.
_PAUSE_S = (0.2, 0.6)
_APPLIED_S = 30.0
_LONGEST_S = 3_600.0


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


class Propagation:
    """Workers under load, and one operator who changes one threshold again and again."""

    def __init__(self, pipeline: Pipeline, bundle: Path) -> None:
        self._pipeline = pipeline
        self._store = TimedStore(pipeline.redis)
        self._changes = ReleaseChanges(self._store, max_step=1.0)
        self._label = read_bundle(bundle).labels[0]

    def change(self, number: int) -> Change:
        """Moves the label's cut-off by a little, and waits until every worker has said that it applied that."""
        outcome = self._changes.set_thresholds({self._label: _CUTOFFS[number % 2]}, _WHO)
        release = outcome.current.ref.number

        def applied() -> Mapping[str, float] | None:
            beats = self._pipeline.beats()
            found = {b.worker: b.applied_at_ms + 1.0 for b in beats if b.release == release and b.applied_at_ms}
            return found if len(found) == WORKERS else None

        found = wait_until(applied, _APPLIED_S, f"release {release} applied by {WORKERS} workers")
        assert found is not None, "wait_until returns what is true"
        return Change(release, self._store.sent_ms, found)

    def lag(self) -> int:
        """Records behind, over all workers, as they say."""
        return sum(beat.lag or 0 for beat in self._pipeline.beats())

    def check(self, changes: Sequence[Change]) -> int:
        """Compares what the workers said with the tag events they wrote; returns how many of these there are.

        Raises:
            RefusedError: an event was decided by an older release after all had said that they applied a newer one.
        """
        records = read_all(self._pipeline.stack.bootstrap, self._pipeline.topics["tags"], deadline_s=120)
        decode = msgspec.json.Decoder(_Decided).decode
        decided = [decode(record.value() or b"") for record in records]
        problems = contradictions(((d.processed_at.timestamp() * 1000, d.release["number"]) for d in decided), changes)
        if problems:
            raise RefusedError("workers decided by an older release than they said", problems=problems[:5])
        return len(decided)

    def close(self) -> None:
        """Lets go of Redis."""
        self._store.close()


def contradictions(decided: Iterator[tuple[float, int]], changes: Sequence[Change]) -> list[str]:
    """Decisions (when, Unix ms; release) by an older release than every worker had applied by then."""
    # By time: from here on at least this release everywhere.
    steps = sorted((max(change.applied_ms.values()), change.release) for change in changes)
    found = []
    for at_ms, release in decided:
        applied = bisect_left(steps, at_ms, key=lambda step: step[0])
        newest = steps[applied - 1][1] if applied else 0
        if release < newest:
            found.append(f"decided at {at_ms:.0f} by release {release}; all had applied {newest}")
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that ``share`` of all values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def run(bundle: Path, *, changes: int, per_s: int) -> dict[str, object]:
    """The whole measurement; the section ``propagation`` of ``reports/bench.json``."""
    random_ = random.Random(1)
    with ExitStack() as exits:
        stack = exits.enter_context(running())
        pipeline = exits.enter_context(Pipeline(stack, bundle, partitions=_PARTITIONS))
        propagation = exits.enter_context(closing(Propagation(pipeline, bundle)))
        pipeline.wait_shared(*[pipeline.start() for _ in range(WORKERS)])
        counters = Counters()
        upstream = exits.enter_context(closing(Upstream(stack.bootstrap, pipeline.topics["input"], counters)))
        upstream.begin(Paced(per_s, _LONGEST_S))
        wait_until(lambda: counters.written > per_s, 30, "load")
        done, lags = [], []
        for number in range(changes):
            done.append(propagation.change(number))
            lags.append(propagation.lag())
            if (number + 1) % 20 == 0:
                report.say(f"{number + 1} of {changes} changes")
            time.sleep(random_.uniform(*_PAUSE_S))
        upstream.stop()
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
        "changes": len(changes),
        "workers": WORKERS,
        "partitions": _PARTITIONS,
        "load_events_per_s": load,
        "median_lag_records": lag,
        "tag_events_checked": decided,
        "everywhere_ms": [round(value, 1) for value in everywhere],
    }
