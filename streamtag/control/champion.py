"""The champion as the base of a change: present, proven, and not behind the workers that decide by it."""

from collections.abc import Sequence

from streamtag.control.fleet import Heartbeat, read_fleet
from streamtag.control.store import RESTORE_HINT, ControlStore, Current, Heads
from streamtag.errors import NotFoundError, RefusedError

__all__ = ["by_worker", "champion_to_change"]


def champion_to_change(store: ControlStore) -> tuple[Current, Heads]:
    """What a change rests on.

    Raises:
        NotFoundError: there is no champion, or one of its documents is missing.
        RefusedError: a document is damaged, or workers decide by releases that Redis has lost.
        UnavailableError: Redis does not answer in time.
    """
    heads = store.heads()
    if heads.champion is None:
        raise NotFoundError(
            "Redis holds no release: nothing to change yet",
            hint=f"The first worker to start seeds it. After a loss: {RESTORE_HINT}",
        )
    base = store.load(heads.champion)
    _refuse_behind_fleet(store, base)
    return base, heads


def _refuse_behind_fleet(store: ControlStore, base: Current) -> None:
    """Workers ahead of Redis mean that it lost releases: a change from here would undo them without a word."""
    number, sha256 = base.id.number, base.id.sha256
    ahead = [
        beat
        for beat in read_fleet(store).heartbeats
        if beat.release is not None
        and (beat.release > number or (beat.release == number and beat.release_sha256 != sha256))
    ]
    # A worker may simply have been faster than we: then the champion has moved on, and the commit will conflict.
    if ahead and store.champion() == base.id:
        what = f"Redis was restored from an older state: its champion is release {number}"
        raise RefusedError(f"{what}, which workers are ahead of", problems=by_worker(ahead), hint=RESTORE_HINT)


def by_worker(beats: Sequence[Heartbeat]) -> list[str]:
    """What each worker decides by, in words."""
    return [f"worker {beat.worker} decides by release {beat.release}" for beat in beats]
