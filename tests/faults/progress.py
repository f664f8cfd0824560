"""How far the read side has come while it is hurt: what was published of each shard, and what Redis holds of it."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import redis
from confluent_kafka import Consumer, TopicPartition
from services import Topics

from streamtag.control.store import ControlStore
from streamtag.errors import StreamtagError
from streamtag.events import panes
from streamtag.settings import RedisSettings
from streamtag.stats.read_model import ReadModel

from .errands import Errand
from .findings import Findings
from .reading import SILENT_S


class Progress:
    """A thread; a context manager. Everything it says may be a moment old, never ahead.

    Args:
        topics: of the pipeline.
        redis_url: over a road that is never hurt.
        namespace: of the pipeline.
        findings: takes what ends it.
    """

    def __init__(self, topics: Topics, redis_url: str, namespace: str, findings: Findings) -> None:
        self._topics = topics
        self._model = ReadModel(ControlStore(RedisSettings(url=redis_url, namespace=namespace, timeout_s=1.0)))  # type: ignore[call-arg]
        self._stop = threading.Event()
        self._thread = Errand(self._run, "progress", findings)
        self.published: dict[int, int] = defaultdict(int)
        """Partition of the stats topic to the end of the summaries that are in panes."""
        self.end = 0
        """Of the panes topic."""
        self.added_up = 0
        """Panes before this position are in the windows in Redis."""

    def __enter__(self) -> "Progress":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.finish(30)
        self._model.store.close()

    def _run(self) -> None:
        consumer, heard = self._connect(), time.monotonic()
        try:
            while not self._stop.is_set():
                records = [record for record in consumer.consume(500, 0.1) if record.error() is None]
                for record in records:
                    pane = panes.decode(record.value() or b"")
                    self.published[pane.shard] = max(self.published[pane.shard], pane.n)
                    self.end = (record.offset() or 0) + 1
                now = time.monotonic()
                if records:
                    heard = now
                elif now - heard > SILENT_S:
                    consumer.close()
                    consumer, heard = self._connect(), now
                self._ask_redis()
        finally:
            consumer.close()

    def _connect(self) -> Consumer:
        consumer = Consumer(
            {
                "bootstrap.servers": self._topics.bootstrap,
                "group.id": "campaign-progress",  # never commits, never joins
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                "fetch.message.max.bytes": 8_388_608,
                "log_level": 0,
            }
        )
        consumer.assign([TopicPartition(self._topics.panes, 0, self.end)])
        return consumer

    def _ask_redis(self) -> None:
        try:
            found = self._model.checkpoint()
        except (StreamtagError, redis.RedisError):  # it is being hurt
            return
        self.added_up = 0 if found is None else found.position


@dataclass
class Recovery:
    """What must come true after a fault.

    Attributes:
        kind: of the fault.
        role: that was hurt.
        since: when it was over, monotonic seconds.
        patience: `Recoveries.patience_s` at that moment.
        reached: whether whoever was hurt works again.
    """

    kind: str
    role: str
    since: float
    patience: float
    reached: Callable[[], bool]


class Recoveries:
    """Faults that are over and whose victims have not recovered yet. Thread-safe.

    Patience is counted in looks, which should come several times a second: where the machine has no time even for
    these, nobody could have recovered meanwhile.

    Args:
        deadline_s: after so much patience it is a finding.
        findings: takes it.
        clock: monotonic seconds.
        longest_look_s: counted of the time since the look before.
    """

    def __init__(
        self,
        deadline_s: float,
        findings: Findings,
        clock: Callable[[], float] = time.monotonic,
        *,
        longest_look_s: float = 0.5,
    ) -> None:
        self._deadline_s = deadline_s
        self._findings = findings
        self._clock = clock
        self._longest_look_s = longest_look_s
        self._lock = threading.Lock()
        self._open: list[Recovery] = []
        self._began = self._looked_at = 0.0  # of the first look
        self.patience_s = 0.0
        """Since the beginning, without what the machine had no time for."""
        self.took_s: dict[str, list[float]] = defaultdict(list)
        """By kind of fault, of the wall clock."""

    @property
    def starved_s(self) -> float:
        """What the machine had no time for, until the last look."""
        return self._looked_at - self._began - self.patience_s

    def add(self, kind: str, role: str, reached: Callable[[], bool]) -> None:
        """A fault is over now."""
        with self._lock:
            self._open.append(Recovery(kind, role, self._clock(), self.patience_s, reached))

    def waits_s(self, role: str) -> float:
        """How long the one that waits longest has waited."""
        with self._lock:
            return max((self._clock() - one.since for one in self._open if one.role == role), default=0.0)

    def look(self) -> bool:
        """Looks at all of them; whether all have recovered."""
        now = self._clock()
        self._began = self._began or now
        self._looked_at = self._looked_at or now
        self.patience_s += min(now - self._looked_at, self._longest_look_s)
        self._looked_at = now
        with self._lock:
            waiting = list(self._open)
        over = []
        for one in waiting:
            if one.reached():
                self.took_s[one.kind].append(now - one.since)
            elif self.patience_s - one.patience < self._deadline_s:
                continue
            else:
                self._findings.add("unrecovered", f"{one.role} {now - one.since:.0f} s after {one.kind}")
            over.append(one)
        with self._lock:
            self._open = [one for one in self._open if one not in over]
            return not self._open
