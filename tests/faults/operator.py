"""The operator of a campaign: moves thresholds, swaps bundles, now and then ships a bad one, whatever happens."""

import random
import threading
import time
from collections import Counter
from pathlib import Path

from streamtag.control.changes import Outcome, ReleaseChanges, Who
from streamtag.control.snapshot import SnapshotFile
from streamtag.control.store import ControlStore
from streamtag.domain.release import BundleRef
from streamtag.errors import StreamtagError, UnavailableError
from streamtag.model.bundle import Bundle
from streamtag.settings import RedisSettings

from .errands import Errand
from .findings import Findings
from .reading import now_ms
from .releases import Releases

WHO = Who("campaign", "fault campaign")
CHANGES = ("threshold change", "bundle swap", "bad bundle")
"""Kinds of change, as `Operator.made` counts them."""


class Operator:
    """A thread; a context manager. `gate` is held by faults during which nobody may change anything."""

    def __init__(
        self,
        redis_url: str,
        namespace: str,
        state_dir: Path,
        bundles: list[Bundle],
        releases: Releases,
        seed: int,
        findings: Findings,
    ) -> None:
        self._store = ControlStore(RedisSettings(url=redis_url, namespace=namespace, timeout_s=1.0))  # type: ignore[call-arg]
        self._changes = ReleaseChanges(self._store, max_step=1.0)
        self._snapshot = SnapshotFile(state_dir, namespace)
        self._bundles = bundles
        self._releases = releases
        self._choose = random.Random(seed)
        self._stop = threading.Event()
        self._thread = Errand(self._run, "operator", findings)
        self.gate = threading.RLock()
        self.made: Counter[str] = Counter()
        """Changes by kind, those only that were committed."""
        self.refused = 0
        """Changes that Redis did not take, because it was being hurt."""

    def __enter__(self) -> "Operator":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.finish(30)
        self._store.close()

    def move(self) -> None:
        """One threshold, of everybody or of one language."""
        label = self._choose.choice(["spam", "greeting"])
        when = self._choose.choice([{}, {"lang": "de"}])
        cutoff = round(self._choose.uniform(0.1, 0.9), 6)
        self._note("threshold change", self._changes.set_thresholds({label: cutoff}, WHO, when=when))

    def sync(self) -> None:
        """Learns what Redis holds; waits for it, but not for what a Redis that lost it will never hold again."""
        while not self._stop.is_set():
            try:
                return self._releases.sync(self._store)
            except UnavailableError:
                self._stop.wait(0.1)
            except StreamtagError:
                return None  # history ends where a snapshot was restored: the rest was learnt before the loss
        return None

    def champion_saved(self) -> bool:
        """True when the snapshot of the workers' host holds the champion."""
        saved = self._snapshot.read().current
        return saved is not None and saved.id == self._store.champion()

    def restore_snapshot(self) -> None:
        """What a person does whose Redis has lost releases; again while Redis is not ready for it."""
        deadline = time.monotonic() + 20
        while True:
            saved = self._snapshot.read().current
            assert saved is not None, "the host of the workers has no snapshot"
            try:
                return self._note("snapshot restored", self._changes.restore_snapshot(saved, WHO))
            except StreamtagError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _run(self) -> None:
        while not self._stop.wait(self._choose.uniform(0.5, 2.5)):
            with self.gate:
                try:
                    self._change()
                except StreamtagError:  # Redis is being hurt; whether it took the change shows later
                    self.refused += 1

    def _change(self) -> None:
        if self._store.champion() is None:
            return  # no worker has come so far as to make the first release
        draw = self._choose.random()
        if draw < 0.8:
            self.move()
        elif draw < 0.93:
            self._promote("bundle swap", self._choose.choice(self._bundles))
        else:
            self.made["bad bundle"] += 1
            labels = self._bundles[0].labels
            self._changes.promote(BundleRef("tiny", "9", "0" * 64), labels, WHO)
            self._stop.wait(self._choose.uniform(0.3, 1.5))
            self._promote("bundle swap", self._choose.choice(self._bundles))

    def _promote(self, what: str, bundle: Bundle) -> None:
        self._note(what, self._changes.promote(bundle.ref, bundle.labels, WHO))

    def _note(self, what: str, outcome: Outcome) -> None:
        at_ms = now_ms()
        if outcome.before is not None:
            self._releases.add(outcome.before, 0)
        self._releases.add(outcome.current, at_ms)
        self.made[what] += outcome.committed
