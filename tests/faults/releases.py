"""What may decide: every release the campaign has made, when it was superseded, and what it says."""

import threading
from dataclasses import dataclass
from itertools import pairwise

from streamtag.control.release_documents import ReleaseId
from streamtag.control.store import ControlStore, Current
from streamtag.domain.thresholds import Segment, ThresholdSet


@dataclass(frozen=True)
class Known:
    """One release. ``from_ms`` is when its commit returned, Unix milliseconds; 0 where nobody saw it being made."""

    number: int
    bundle_sha256: str
    revision_sha256: str
    from_ms: int
    good: bool


class Releases:
    """Shared by the operator, who adds, and the checker, who asks."""

    def __init__(self, sound_bundles: frozenset[str]) -> None:
        self._sound = sound_bundles
        self._lock = threading.Lock()
        self._known: dict[str, Known] = {}
        self._sets: dict[str, ThresholdSet] = {}

    def add(self, current: Current, at_ms: int) -> None:
        """A release that is the champion since ``at_ms``; one already known keeps its first time."""
        ref = current.ref
        good = ref.bundle.sha256 in self._sound
        with self._lock:
            self._sets[ref.revision_sha256] = current.thresholds
            found = self._known.get(ref.sha256)
            if found is None or (found.from_ms == 0 and at_ms):
                self._known[ref.sha256] = Known(ref.number, ref.bundle.sha256, ref.revision_sha256, at_ms, good)

    def sync(self, store: ControlStore) -> None:
        """Adds what Redis holds: also what was committed although its answer was lost."""
        for stored in store.releases():
            ref = ReleaseId(stored.document.number, stored.sha256)
            self.add(store.load(ref), 0)

    def known(self, sha256: str) -> Known | None:
        """The release of this hash."""
        with self._lock:
            return self._known.get(sha256)

    def cutoffs(self, revision_sha256: str, segment: Segment) -> dict[str, float] | None:
        """What a revision says about a segment; None for an unknown revision."""
        with self._lock:
            found = self._sets.get(revision_sha256)
        return None if found is None else found.effective(segment)

    def superseded_ms(self) -> dict[str, tuple[int, bool]]:
        """Hash to (when the next sound release was committed, whether that one has another bundle).

        Releases that were never seen being made are left out; so is the last one.
        """
        with self._lock:
            sound = sorted((k.from_ms, k.number, sha) for sha, k in self._known.items() if k.good and k.from_ms)
            return {
                sha: (after_ms, self._known[sha].bundle_sha256 != self._known[other].bundle_sha256)
                for (_, _, sha), (after_ms, _, other) in pairwise(sound)
            }
