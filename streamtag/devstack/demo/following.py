"""What decides now, on which worker, and how long the last change took to be live on every one of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from streamtag.control.fleet import Heartbeat, read_fleet
from streamtag.control.proposal import describe
from streamtag.control.release_documents import ReleaseId
from streamtag.control.store import ControlStore, Current
from streamtag.domain.thresholds import diff

__all__ = ["ChangeState", "ControlState", "Following", "WorkerState", "live_after_ms"]


@dataclass(frozen=True)
class WorkerState:
    """One worker of the demo; ``heartbeat`` is None before its first."""

    pid: int
    heartbeat: Heartbeat | None


@dataclass(frozen=True)
class ChangeState:
    """The last change of what decides; ``live_ms`` is None until it decides on every worker."""

    release: ReleaseId
    revision: int
    author: str
    reason: str
    what: tuple[str, ...]
    at: datetime
    live_ms: float | None = None


@dataclass(frozen=True)
class ControlState:
    """The champion's cut-offs, the workers in the order they were started, and the last change, if any."""

    release: ReleaseId
    revision: int
    workers: tuple[WorkerState, ...]
    change: ChangeState | None

    @property
    def live(self) -> int:
        """How many workers decide by the champion."""
        beats = [worker.heartbeat for worker in self.workers]
        return sum(beat is not None and _decides_by(beat, self.release) for beat in beats)


class Following:
    """Follows the champion and the fleet.

    Here the expected set is known without asking Kafka: these are the workers that the demo started. Every method
    raises `UnavailableError` when Redis does not answer in time.

    Args:
        store: the control plane; it has a champion.
        pids: process ids of the workers.
        since: the release that nobody needs to be told of.
    """

    def __init__(self, store: ControlStore, pids: Sequence[int], since: Current) -> None:
        self._store = store
        self._pids = tuple(pids)
        self._current = since
        self._change: ChangeState | None = None

    def look(self) -> ControlState:
        """The state now."""
        champion = self._store.champion()
        if champion is not None and champion != self._current.id:
            before, self._current = self._current, self._store.load(champion)
            self._change = _change(before, self._current)
        beats = {beat.pid: beat for beat in read_fleet(self._store).heartbeats}
        if self._change is not None and self._change.live_ms is None:
            found = live_after_ms(self._change, self._pids, beats.values())
            self._change = replace(self._change, live_ms=found)
        workers = tuple(WorkerState(pid, beats.get(pid)) for pid in self._pids)
        return ControlState(self._current.id, self._current.ref.revision, workers, self._change)

    def cutoff(self, label: str) -> float | None:
        """The base cut-off that decides; None where the champion's bundle does not have the label."""
        return self._current.thresholds.labels.get(label)


def live_after_ms(change: ChangeState, pids: Iterable[int], beats: Iterable[Heartbeat]) -> float | None:
    """Milliseconds from the commit until the last worker decided by it; None while one does not.

    Both times are this host's: the document is dated just before it is committed, and a worker notes when it takes
    a release up. How often anybody looks does not matter.
    """
    applied = {beat.pid: beat.applied_at_ms for beat in beats if _decides_by(beat, change.release)}
    latest_ms = 0
    for pid in pids:
        at_ms = applied.get(pid)
        if at_ms is None:
            return None
        latest_ms = max(latest_ms, at_ms)
    return max(0.0, latest_ms - change.at.timestamp() * 1000)


def _decides_by(beat: Heartbeat, release: ReleaseId) -> bool:
    return (beat.release, beat.release_sha256) == (release.number, release.sha256)


def _change(before: Current, now: Current) -> ChangeState:
    document = now.release.document
    what = [describe(change) for change in diff(before.thresholds, now.thresholds)]
    if before.ref.bundle != now.ref.bundle:
        what.insert(0, f"bundle {before.ref.bundle} -> {now.ref.bundle}")
    return ChangeState(now.id, now.ref.revision, document.author, document.reason, tuple(what), document.at)
