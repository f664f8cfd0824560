"""Following the champion in a worker: one thread that learns of a release, proves it, and only then exposes it.

The hot path reads one attribute. Whatever happens to Redis, to a document or to a bundle, the last good release keeps
deciding, and `ReleaseWatcher.status` says so.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from streamtag.control.first_start import FirstBundle, configured_bundle, seed
from streamtag.control.follower import Follower
from streamtag.control.metrics import MetricSink
from streamtag.control.release_documents import ReleaseId
from streamtag.control.snapshot import SnapshotFile
from streamtag.control.store import ControlStore, Current, Heads
from streamtag.control.watch_status import Outage, Refusal, WatchState, WatchStatus
from streamtag.domain.release import BundleRef, ReleaseRef
from streamtag.domain.thresholds import ThresholdSet, problems
from streamtag.errors import RefusedError, StreamtagError, UnavailableError
from streamtag.settings import Settings

if TYPE_CHECKING:
    from streamtag.model.scorer import Scorer

__all__ = ["ActiveRelease", "ReleaseWatcher", "WatchStatus"]

log = logging.getLogger(__name__)

_RESTORE = '`streamtag release restore-snapshot --reason "…"` on this host brings it back'
_LONGEST_RETRY_S = 60.0
_MOST_PASSED_OVER = 3


@dataclass(frozen=True)
class ActiveRelease:
    """A release that has been validated here and may decide."""

    ref: ReleaseRef
    thresholds: ThresholdSet
    scorer: "Scorer"
    source: Literal["redis", "snapshot"]


class ReleaseWatcher:
    """Follows the champion of one namespace.

    A new release is loaded in the watcher's thread while the old one serves; releases committed meanwhile are looked
    at afterwards, the newest only. A bundle that has been taken back by then does not decide.

    Args:
        settings: ``redis``, ``model``, ``thresholds`` and ``state_dir`` count.
        load: makes a scorer of a bundle; may raise anything, which refuses the release.
        metrics: counters and gauges.
        first_bundle: the bundle of the very first release; by default the one of ``model.bundle``.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        load: "Callable[[BundleRef], Scorer]",
        metrics: MetricSink,
        store: ControlStore | None = None,
        first_bundle: Callable[[], FirstBundle] | None = None,
    ) -> None:
        self._settings = settings
        self._load = load
        self._metrics = metrics
        self._store = store or ControlStore(settings.redis)
        self._first_bundle = first_bundle or (lambda: configured_bundle(settings))
        self._snapshot = SnapshotFile(settings.state_dir, settings.redis.namespace)
        self._first = threading.Event()
        self._state = WatchState()
        self._current: ActiveRelease | None = None
        # The last good release: what was applied, or before that what this host's snapshot holds. A champion is
        # compared with this, never with what was merely received: a refused release must be looked at again.
        self._last_good: Current | None = None
        self._unsaved: Current | None = None
        self._passed_over = 0
        self._snapshot_retry_at = 0.0
        self._follower = Follower(
            self._store,
            settings.redis,
            self._look,
            failed=self._unexpected,
            away=self._away,
            deaf=self._deaf,
            name="release-watcher",
        )

    def start(self) -> None:
        """Returns at once; never raises because Redis is away."""
        found = self._snapshot.read()
        self._last_good = found.current
        if found.reason:
            self._metrics.add("streamtag.snapshot.errors")
            self._note(found.reason, snapshot_problem=found.reason)
        self._follower.start()

    def current(self) -> ActiveRelease | None:
        """The newest validated release; a plain attribute read, called once per batch."""
        return self._current

    def status(self) -> WatchStatus:
        """Whether this worker decides by the champion, and what an operator should know."""
        looking_since = self._follower.turned_at
        return self._state.status(time.monotonic(), self._settings.redis.poll_interval_s, looking_since)

    def wait_first(self, timeout_s: float) -> bool:
        """Waits until there is a release; False when there is none after ``timeout_s``."""
        return self._first.wait(timeout_s)

    def close(self) -> None:
        """Ends the thread; one stuck in a frozen Redis or a slow disk ends with the process."""
        self._follower.close()

    def _look(self) -> None:
        """One look at the champion, with whatever follows from it; raises `UnavailableError` where Redis is away."""
        champion = None
        try:
            heads = self._store.heads()
            champion = heads.champion
            self._follow(heads)
            self._redis_up()
        except UnavailableError:
            raise
        except StreamtagError as error:
            self._redis_up()
            self._refused(champion, error)
        self._hold_out()

    def _away(self, error: UnavailableError) -> float:
        """Holds out without Redis; seconds until the next look, more each time, and spread over many workers."""
        self._redis_down(error)
        self._hold_out()
        attempts = self._state.outage.attempts if self._state.outage else 1
        backoff_s = min(self._settings.redis.poll_interval_s, 0.1 * 2.0 ** min(attempts, 10))
        return backoff_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret

    def _deaf(self, why: str) -> None:
        """Says that changes arrive by the poll alone: late, and no reason to be unready."""
        if why:
            self._metrics.add("streamtag.redis.errors", operation="subscribe")
        if why and not self._state.deaf:
            self._note(why, deaf=why)
        elif why != self._state.deaf:
            self._state = replace(self._state, deaf=why)

    def _unexpected(self, error: Exception) -> None:
        log.error("the release watcher met an unexpected error", exc_info=error)
        self._refused(None, RefusedError(f"unexpected error in the release watcher: {error!r}"))

    def _hold_out(self) -> None:
        """Decides by this host's snapshot where nothing else can, and writes it where something new decides."""
        if self._current is None and self._last_good is not None and self._state.troubled:
            self._serve_snapshot(self._last_good)
        self._save()

    def _follow(self, heads: Heads) -> None:
        champion, last_good = heads.champion, self._last_good
        if champion is None and last_good is None and heads.blank:
            max_step, trace = self._settings.thresholds.max_step, self._state.snapshot_problem
            seed(self._store, self._first_bundle, max_step, trace=trace)
            heads = self._store.heads()
            champion = heads.champion
        if champion is None:
            if last_good is None:
                raise RefusedError("Redis holds documents of this namespace, but no champion", hint=_RESTORE)
            self._hold(f"Redis is empty, but release {last_good.id.number} was good here: {_RESTORE}")
        elif last_good is not None and _rewound(champion, last_good.id):
            self._hold(
                f"Redis was restored from an older state: its champion is release {champion.number} "
                f"({champion.sha256[:12]}…), and release {last_good.id.number} ({last_good.id.sha256[:12]}…) was "
                f"good here: {_RESTORE}"
            )
        elif self._current is not None and last_good is not None and champion == last_good.id:
            self._settle()
        elif self._due(champion):
            self._activate(self._store.load(champion), "redis")

    def _activate(self, wanted: Current, source: Literal["redis", "snapshot"]) -> None:
        """Validates bundle and thresholds as a pair and exposes them; raises `StreamtagError` when they cannot.

        Nothing is exposed where the champion has moved on to another bundle while this one was loaded.
        """
        ref, thresholds = wanted.ref, wanted.thresholds
        before = self._current
        if before is not None and before.ref.bundle == ref.bundle:
            scorer = before.scorer
        else:
            scorer = self._loaded(ref.bundle)
            if source == "redis" and self._overtaken(wanted):
                return
        found = problems(thresholds, scorer.labels)
        if found:
            raise RefusedError(
                f"release {ref.number}: bundle {ref.bundle} and revision {ref.revision} do not match: "
                + "; ".join(found)
            )
        self._current = ActiveRelease(ref, thresholds, scorer, source)
        self._last_good = wanted
        self._passed_over = 0
        self._state = replace(self._state, deciding=_words(ref, source))
        self._first.set()
        self._metrics.set("streamtag.release.number", ref.number)
        self._metrics.add("streamtag.release.applied", outcome="applied")
        if source == "redis":
            self._unsaved = wanted
            self._settle()
            if before is not None:
                age = datetime.now(UTC) - wanted.release.document.at
                self._metrics.record("streamtag.release.propagation", max(0.0, age.total_seconds()))
        log.info("deciding by %s", self._state.deciding)

    def _overtaken(self, wanted: Current) -> bool:
        """Whether the champion moved on to another bundle while that of ``wanted`` was loaded: the next look decides.

        Most often somebody has gone back to what decides here all the while: that needs no loading, where a bundle
        that was taken back would decide until it is swapped out again. One that moved on with the *same* bundle does
        not count: the scorer just loaded is needed, and the next look has it at hand. Of bundles that come faster than
        they can be loaded every fourth decides for a while, or the worker would never move.
        """
        if self._passed_over >= _MOST_PASSED_OVER:
            return False
        try:
            champion = self._store.heads(damaged=True).champion
            # None or an older one: Redis has lost what was good, and nobody has taken it back.
            if champion is None or champion.number <= wanted.id.number:
                return False
            if self._store.release(champion).document.bundle == wanted.release.document.bundle:
                return False
        except StreamtagError:
            return False  # it cannot be said; the next look tells what is amiss
        self._passed_over += 1
        log.info("release %d was overtaken by release %d while it was loaded", wanted.id.number, champion.number)
        return True

    def _loaded(self, bundle: BundleRef) -> "Scorer":
        self._state = replace(self._state, loading=str(bundle))
        try:
            return self._load(bundle)
        except StreamtagError:
            raise
        except Exception as error:
            # A bundle may break its loader in any way; that refuses the release and leaves the old one serving.
            raise RefusedError(f"bundle {bundle} cannot be loaded: {error!r}") from error
        finally:
            self._state = replace(self._state, loading="")

    def _settle(self) -> None:
        """The champion decides here: nothing stands against it any more."""
        self._state = replace(self._state, held="", refusal=None)
        if self._current is not None and self._current.source == "snapshot":
            self._current = replace(self._current, source="redis")
            self._state = replace(self._state, deciding=_words(self._current.ref, "redis"))

    def _serve_snapshot(self, snapshot: Current) -> None:
        """Decides by this host's snapshot while the champion cannot be had, and tries again later where that fails."""
        if time.monotonic() < self._snapshot_retry_at:
            return
        try:
            self._activate(snapshot, "snapshot")
        except StreamtagError as error:
            self._snapshot_retry_at = time.monotonic() + _LONGEST_RETRY_S
            problem = f"the snapshot of release {snapshot.id.number} cannot decide: {error.message}"
            self._note(problem, snapshot_problem=problem)

    def _save(self) -> None:
        """Writes the snapshot once a release decides; a full disk is tried again at every look."""
        if self._unsaved is None:
            return
        try:
            self._snapshot.write(self._unsaved)
        except OSError as error:
            self._metrics.add("streamtag.snapshot.errors")
            problem = f"snapshot {self._snapshot.path} cannot be written: {error.strerror or error}"
            self._note(problem, snapshot_problem=problem)
            return
        self._unsaved = None
        self._state = replace(self._state, snapshot_problem="")

    def _hold(self, reason: str) -> None:
        if self._state.held != reason:
            self._note(reason, held=reason, refusal=None)

    def _due(self, champion: ReleaseId | None) -> bool:
        refusal = self._state.refusal
        return refusal is None or refusal.champion != champion or time.monotonic() >= refusal.retry_at

    def _refused(self, champion: ReleaseId | None, error: StreamtagError) -> None:
        before = self._state.refusal
        again = before is not None and before.champion == champion
        attempts = before.attempts + 1 if before is not None and again else 1
        delay_s = min(_LONGEST_RETRY_S, self._settings.redis.poll_interval_s * 2 ** min(attempts - 1, 10))
        text = "; ".join([error.message, *getattr(error, "problems", ())])
        refusal = Refusal(champion, text, attempts, time.monotonic() + delay_s)
        if not again:
            self._metrics.add("streamtag.release.applied", outcome="refused")
        if before is not None and again and before.error == text:
            self._state = replace(self._state, refusal=refusal, held="")
        else:
            self._note(f"the champion is refused: {text}", refusal=refusal, held="")

    def _redis_up(self) -> None:
        self._metrics.set("streamtag.redis.up", 1)
        if self._state.outage is not None:
            log.info("Redis is back")
            self._state = replace(self._state, outage=None)

    def _redis_down(self, error: UnavailableError) -> None:
        self._metrics.set("streamtag.redis.up", 0)
        self._metrics.add("streamtag.redis.errors", operation="watch")
        before = self._state.outage
        if before is None:
            self._note(error.message, outage=Outage(time.monotonic(), error.message))
        else:
            self._state = replace(self._state, outage=Outage(before.since, error.message, before.attempts + 1))

    def _note(self, error: str, **state: object) -> None:
        """Logs a problem once, and keeps it as the last error together with the ``state`` it leads to."""
        log.warning("%s", error)
        stamped = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {error}"
        self._state = replace(self._state, last_error=stamped, **state)  # type: ignore[arg-type]


def _rewound(champion: ReleaseId, last_good: ReleaseId) -> bool:
    """Whether Redis is behind what was good here: numbers only grow, and one number means one document."""
    return champion.number < last_good.number or (
        champion.number == last_good.number and champion.sha256 != last_good.sha256
    )


def _words(ref: ReleaseRef, source: str) -> str:
    where = " (from this host's snapshot)" if source == "snapshot" else ""
    return f"release {ref.number} (bundle {ref.bundle}, revision {ref.revision}){where}"
