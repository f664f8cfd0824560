"""The fleet: what every worker decides by, as it says itself, and whether a release is live everywhere."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from streamtag.control.connection import guarded, run_script
from streamtag.control.metrics import MetricSink
from streamtag.control.store import ControlStore
from streamtag.domain.release import ReleaseRef
from streamtag.errors import UnavailableError
from streamtag.settings import Settings

__all__ = [
    "ExperimentFigures",
    "Fleet",
    "Heartbeat",
    "HeartbeatSender",
    "Liveness",
    "live_everywhere",
    "read_fleet",
    "send",
    "stale_after",
]

log = logging.getLogger(__name__)

# A heartbeat this many intervals old says nothing about now.
STALE_INTERVALS = 5


class ExperimentFigures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the candidate of one experiment fares on one worker; counts grow from when the worker started.

    Every event that should have been scored by the candidate is in exactly one of the first five counts.
    """

    scored: int = 0
    """Events it scored well."""
    loading: int = 0
    """Events that came while it was loaded for the first time. They say nothing of it: no limit counts them."""
    shed: int = 0
    """Events it had no time left for."""
    failures: int = 0
    """Events lost to a candidate that raised, crashed, hung, or could not be loaded."""
    invalid: int = 0
    """Events it gave a score outside 0 … 1, or none that is a number."""
    dead: int = 0
    """Dead letters among the events that it was to decide (split)."""
    p99_ms: float | None = None
    """Time it took for a batch, in time or not, 99th percentile of the last minute; None where those that ended were
    fewer than 20 and took less than half of the minute."""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker says of itself. Positions are keyed ``topic/partition``; ``*_at`` are aware UTC times."""

    worker: str
    """Unique among the workers of a group, e.g. ``host/slot``."""
    host: str
    pid: int
    group: str
    """Kafka consumer group."""
    member_id: str
    """Within the group; empty before it has joined."""
    slot: str
    started_at: datetime
    beat_at: datetime
    """By the worker's clock; `read_fleet` puts the time by Redis' clock in its place."""
    release: int | None = None
    """Number of the release it decides by."""
    release_sha256: str | None = None
    revision: int | None = None
    """Threshold revision of that release."""
    applied_at_ms: int | None = None
    """When it began to decide by it, Unix milliseconds."""
    effective_from: dict[str, int] = {}
    """First position of each partition that this release decided."""
    positions: dict[str, int] = {}
    """Next position of each partition."""
    lag: int | None = None
    """Records behind, over all its partitions."""
    latency_p50_ms: int | None = None
    """From the timestamp of an event's record to the commit of its tags, median of the last 15 s; None where none was
    committed, and of a worker of a version that does not say it."""
    latency_p99_ms: int | None = None
    """99th percentile of the same."""
    last_error: str | None = None
    ready: bool = False
    reasons: tuple[str, ...] = ()
    experiments: dict[str, ExperimentFigures] = {}
    """Of the experiments it takes part in, by id (`streamtag.control.experiment_documents.ExperimentId`)."""


@dataclass(frozen=True)
class Fleet:
    """The heartbeats Redis holds and the time by its clock, which also dates them."""

    heartbeats: tuple[Heartbeat, ...]
    now: datetime


@dataclass(frozen=True)
class Liveness:
    """Whether a release decides everywhere: ``yes`` since a time, ``no``, or ``unknown``, with the reasons."""

    answer: Literal["yes", "no", "unknown"]
    since: datetime | None = None
    reasons: tuple[str, ...] = ()


def stale_after(heartbeat_s: float) -> timedelta:
    """Age from which a heartbeat counts as none."""
    return timedelta(seconds=STALE_INTERVALS * heartbeat_s)


def live_everywhere(
    members: Collection[str],
    heartbeats: Iterable[Heartbeat],
    ref: ReleaseRef,
    now: datetime,
    *,
    stale: timedelta = timedelta(seconds=STALE_INTERVALS),
) -> Liveness:
    """Whether every member of the group decides by ``ref``: a fact, or *unknown*, never a hope.

    Args:
        members: member ids of the Kafka group: the expected set.
        heartbeats: what workers said, at any time.
        ref: the release asked about; compared by number and hash.
        now: by the clock that dates the heartbeats.
        stale: age from which a heartbeat counts as none.
    """
    fresh = [beat for beat in heartbeats if now - beat.beat_at < stale]
    others = [beat for beat in fresh if (beat.release, beat.release_sha256) != (ref.number, ref.sha256)]
    if others:
        return Liveness("no", reasons=tuple(_other(beat, ref) for beat in others))
    if not members:
        return Liveness("unknown", reasons=("the consumer group has no members: nobody is running",))
    # Of members only: a worker that is about to join, or has left, decides nothing here.
    applied = {b.member_id: b.applied_at_ms for b in fresh if b.member_id in members and b.applied_at_ms is not None}
    silent = sorted(set(members) - applied.keys())
    if silent:
        return Liveness("unknown", reasons=tuple(f"no fresh heartbeat of group member {m}" for m in silent))
    return Liveness("yes", since=_from_ms(max(applied.values())))


def _other(beat: Heartbeat, ref: ReleaseRef) -> str:
    if beat.release is None:
        return f"worker {beat.worker} has no release yet"
    if beat.release == ref.number:
        return f"worker {beat.worker} decides by another release {beat.release} (same number, other content)"
    return f"worker {beat.worker} decides by release {beat.release}, not {ref.number}"


def read_fleet(store: ControlStore, group: str | None = None) -> Fleet:
    """The fresh heartbeats of a group (of all groups when None), dated by Redis' clock.

    Raises:
        UnavailableError: Redis does not answer in time.
    """
    with guarded(store.where, "read the fleet"):
        listed: Any = store.client.zrange(store.keys.fleet, 0, -1, withscores=True)
        dates = {name.decode(): int(score) for name, score in listed}
        wanted = [name for name in dates if group is None or name.startswith(f"{group}/")]
        raws: Any = store.client.mget([store.keys.heartbeat(name) for name in wanted]) if wanted else []
        seconds, microseconds = store.client.time()
    found = []
    for name, raw in zip(wanted, raws, strict=True):
        beat = None if raw is None else _decode(raw)
        if beat is not None:
            found.append(msgspec.structs.replace(beat, beat_at=_from_ms(dates[name])))
    return Fleet(tuple(sorted(found, key=lambda beat: beat.worker)), _from_ms(seconds * 1000 + microseconds // 1000))


def _decode(raw: bytes) -> Heartbeat | None:
    """None for a heartbeat of a version we cannot read: its worker then counts as silent, that is, unknown."""
    try:
        return msgspec.json.decode(raw, type=Heartbeat)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _from_ms(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


class HeartbeatSender:
    """A daemon thread that reports this worker to the fleet.

    It never blocks the worker, and nothing it meets ends it: without Redis it keeps trying at its usual pace.
    """

    def __init__(
        self,
        store: ControlStore,
        settings: Settings,
        collect: Callable[[], Heartbeat],
        *,
        metrics: MetricSink | None = None,
    ) -> None:
        self._store = store
        self._interval_s = settings.redis.heartbeat_s
        self._collect = collect
        self._metrics = metrics
        self._wake = threading.Event()
        self._stopping = False
        self._silent = False
        self._last: Heartbeat | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Sends the first heartbeat at once, from the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Sends one now, e.g. when a release has just been applied; does not wait for it."""
        self._wake.set()

    def close(self) -> None:
        """Stops, and takes this worker off the list: who has drained must not look silent."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self._store.settings.timeout_s * 2)
        if self._last is not None and not self._silent:
            self._say_goodbye(_name(self._last))

    def _run(self) -> None:
        while not self._stopping:
            self._beat()
            self._wake.wait(self._interval_s)
            self._wake.clear()

    def _beat(self) -> None:
        try:
            beat = self._collect()
            send(self._store, beat, self._interval_s)
        except UnavailableError as error:
            if self._metrics is not None:
                self._metrics.add("streamtag.redis.errors", operation="heartbeat")
            if not self._silent:
                log.warning("heartbeats do not arrive: %s", error.message)
            self._silent = True
            return
        except Exception:
            # Whatever the worker's state did to `collect`, or to what it found: it must show as silence in the fleet,
            # not end the thread.
            log.exception("heartbeat could not be made")
            return
        if self._silent:
            log.info("heartbeats arrive again")
        self._silent = False
        self._last = beat

    def _say_goodbye(self, name: str) -> None:
        store = self._store
        try:
            with guarded(store.where, "leave the fleet"):
                store.client.zrem(store.keys.fleet, name)
                store.client.delete(store.keys.heartbeat(name))
        except UnavailableError as error:
            log.info("left without saying so: %s", error.message)


def send(store: ControlStore, beat: Heartbeat, heartbeat_s: float) -> None:
    """Stores one heartbeat; Redis forgets it a little after it is stale.

    Raises:
        UnavailableError: Redis does not answer in time.
    """
    name = _name(beat)
    live_ms = int(stale_after(heartbeat_s).total_seconds() * 1000) + 1000
    with guarded(store.where, "heartbeat"):
        run_script(
            store.client,
            "beat",
            [store.keys.fleet, store.keys.heartbeat(name)],
            [name, msgspec.json.encode(beat), live_ms],
        )


def _name(beat: Heartbeat) -> str:
    """Group names have no slash, so the group is what stands before the first."""
    return f"{beat.group}/{beat.worker}"
