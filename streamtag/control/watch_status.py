"""How a worker's watcher is doing: what it can tell an operator, and whether it decides by the champion."""

from dataclasses import dataclass, field

from streamtag.control.release_documents import ReleaseId

__all__ = ["GRACE_POLLS", "Outage", "Refusal", "WatchState", "WatchStatus"]

# Redis may be away this many poll intervals before a worker, which decides by its last good release all the while,
# calls itself not ready: a failover or a restart of Redis is no reason to take workers out.
GRACE_POLLS = 5
# Longer than this, and than the polls above, a look takes only where something hangs: a disk, a store of bundles. The
# loading of a bundle is told from then on, and may take longer.
_LONGEST_LOOK_S, _LONGEST_LOAD_S = 30.0, 600.0


@dataclass(frozen=True)
class WatchStatus:
    """``ready``: this worker decides by the champion, and (but for a short outage) knows that it does."""

    ready: bool
    reasons: tuple[str, ...] = ()
    """Why it is not ready, or what an operator should know although it is."""
    last_error: str | None = None
    """With its time; stays after recovery."""


@dataclass(frozen=True)
class Outage:
    """Redis does not answer."""

    since: float
    """Monotonic time, seconds."""
    error: str
    attempts: int = 1


@dataclass(frozen=True)
class Refusal:
    """A champion that cannot decide here; tried again at ``retry_at`` (monotonic, seconds) or when it changes."""

    champion: ReleaseId | None
    error: str
    attempts: int
    retry_at: float


@dataclass(frozen=True)
class WatchState:
    """Everything the watcher knows about itself; replaced as a whole by its one thread, read by any."""

    deciding: str = ""
    """What decides now, in words; empty while nothing does."""
    outage: Outage | None = None
    refusal: Refusal | None = None
    held: str = ""
    """Why the champion in Redis is not followed although it can be read."""
    snapshot_problem: str = ""
    loading: str = ""
    """The bundle that is being loaded."""
    deaf: str = ""
    """Why changes cannot be listened for, and are found by looking only."""
    last_error: str | None = field(default=None)

    @property
    def troubled(self) -> bool:
        """Whether the champion cannot be followed. A champion that was overtaken while it was loaded is no trouble."""
        return bool(self.held or self.refusal or self.outage)

    def status(self, now: float, poll_interval_s: float, looking_since: float) -> WatchStatus:
        """The status at monotonic time ``now``, with a look under way or waited after since ``looking_since``."""
        reasons = []
        ready = bool(self.deciding)
        fallback = f"; still deciding by {self.deciding}" if self.deciding else ""
        if self.held:
            ready = False
            reasons.append(self.held + fallback)
        if self.refusal:
            ready = False
            reasons.append(f"the champion is refused: {self.refusal.error}{fallback}")
        if self.outage:
            away_s = now - self.outage.since
            ready = ready and away_s < GRACE_POLLS * poll_interval_s
            reasons.append(f"{self.outage.error}, for {away_s:.0f} s{fallback}")
        looking_s = now - looking_since
        if looking_s > max(_LONGEST_LOOK_S, GRACE_POLLS * poll_interval_s):
            ready = ready and bool(self.loading) and looking_s < _LONGEST_LOAD_S
            what = f"bundle {self.loading} has been loading" if self.loading else "releases have not been looked for"
            reasons.append(f"{what} for {looking_s:.0f} s: a disk or a store of bundles hangs?{fallback}")
        if self.deaf and not self.outage:
            reasons.append(f"{self.deaf}; changes are looked for every {poll_interval_s:g} s")
        if self.snapshot_problem:
            reasons.append(self.snapshot_problem)
        if not self.deciding and not reasons:
            reasons.append("no release yet: starting")
        return WatchStatus(ready, tuple(reasons), self.last_error)
