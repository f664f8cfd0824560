"""All that follows from the log of panes, kept up to date: windows, experiments, verdicts. Knows nothing of Faust.

Fed with records as they come. Positions of the log have no holes: one that is missing was skipped by whoever feeds,
and is read again from the topic; one that comes again is passed by. So it does not matter where feeding begins.
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.metrics import MetricSink
from streamtag.control.rollout import Rollout
from streamtag.control.store import ControlStore
from streamtag.errors import UnavailableError, without_frames
from streamtag.events.panes import Pane
from streamtag.settings import Settings
from streamtag.stats.breaker_watch import BreakerWatch
from streamtag.stats.judge import Judge, Judged
from streamtag.stats.pane_log import PaneLog, UnreadablePaneError, read_pane
from streamtag.stats.read_model import Checkpoint, ReadModel
from streamtag.stats.revisions import Memory, Revisions
from streamtag.stats.windows import WindowDocument, Windows

__all__ = ["StatsState"]

log = logging.getLogger(__name__)

T = TypeVar("T")
# While much is read again: whoever is killed meanwhile goes on from there, and others see windows grow.
_WRITE_EVERY = 1_000
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 5.0
_UNDER_WAY_S = 3.0  # from the end of a pane, once no source holds it open, to the window that it is in


class StatsState:
    """For one thread at a time.

    Args:
        settings: the whole tree.
        store: the control plane.
        panes: the log.
        metrics: where it reports.
        on_wait: told why, each time that Redis or Kafka is waited for.
        now_ms: Unix milliseconds.
        wait: seconds; while Redis or Kafka is away.
    """

    def __init__(
        self,
        settings: Settings,
        store: ControlStore,
        panes: PaneLog,
        metrics: MetricSink,
        *,
        on_wait: Callable[[str], None] = lambda _why: None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._panes = panes
        self._metrics = metrics
        self._on_wait = on_wait
        self._now_ms = now_ms
        self._wait = wait
        self._keep = 2 * settings.windows.max_open
        self.model = ReadModel(store, max_age_s=settings.stats.max_age_s)
        self._experiments = ExperimentLog(store)
        self._judge = self._new_judge()
        self._rollout = Rollout(self._experiments, settings, metrics)
        self._breakers = BreakerWatch(
            settings.breakers,
            store,
            metrics,
            settle_s=settings.stats.pane_s + settings.windows.idle_ms / 1000 + _UNDER_WAY_S,
            now=lambda: datetime.fromtimestamp(now_ms() / 1000, UTC),
        )
        self._windows = Windows(self.model.load)
        self._revisions = Revisions(self._keep)
        self._dirty = False
        self._end = 0  # of the log, at the last `keep_up`
        self._known = 0  # the same, or at the last `restore`
        self._newest_ms: int | None = None  # end of the newest pane taken, which a wrong clock cannot put ahead of now
        self.position = 0
        """Of the record that comes next."""
        self.latest: Mapping[str, WindowDocument] = {}
        """Size to the newest window that was written, for views and metrics; replaced, never changed."""

    def restore(self) -> None:
        """Goes on from the checkpoint; without one from the first record that the topic still holds.

        Nothing of before is kept: somebody else may have gone on meanwhile.
        """
        found = self._patiently(self.model.checkpoint)
        low, high = self._patiently(self._panes.bounds)
        self._windows, self._judge, self._dirty = Windows(self.model.load, high), self._new_judge(), False
        self.latest, self._end, self._known, self._newest_ms = {}, 0, high, None
        if found is not None and found.position > high:
            log.error("the panes topic ends before what was added up: it was made anew; windows begin again from it")
            found = None
        if found is None:
            self._revisions, self.position = Revisions(self._keep), low
        else:
            self.position = max(found.position, low)
            if found.position < low:
                self._missed(low - found.position)
            memory = found.memory
            first = self.position if memory.position is None else max(memory.position, low)
            self._revisions = self._patiently(lambda: self._remembered(memory, first))
        self._patiently(lambda: self._judge.look_up(self.position))
        self._metrics.set("streamtag.panes.position", self.position)
        log.info("windows go on", extra={"position": self.position, "end": high})

    def stand_by(self) -> None:
        """Somebody else goes on: nothing is shown any more, until `restore`. What stood still here would be a lie."""
        self.latest, self._judge = {}, self._new_judge()
        self._metrics.forget("streamtag.panes.position")
        self._breakers.hide()

    def feed(self, position: int, value: bytes | None) -> None:
        """The record at ``position``; whatever was skipped before it is read from the topic."""
        if position < self.position:
            return
        if position > self.position:
            self.catch_up(position)
        try:
            pane: Pane | UnreadablePaneError = read_pane(value)
        except UnreadablePaneError as error:
            pane = without_frames(error)
        self._take(position, pane)

    def catch_up(self, end: int) -> None:
        """Reads the log up to ``end`` from the topic; what was added up is written now and then.

        Raises:
            ConflictError: somebody else writes the windows.
        """
        self._patiently(lambda: self._read_to(end))

    def keep_up(self) -> None:
        """Reads what the log held at the last call already, and nobody has fed since. Call it every few seconds.

        A log that ends before the position is another one, made anew meanwhile: then it begins as after a restart.

        Raises:
            ConflictError: as `catch_up`.
        """
        if self.position < self._end:
            self.catch_up(self._end)
        self._end = self._known = self.end()
        if self._end < self.position:
            self.restore()

    def end(self) -> int:
        """Where the log ends now; waits for Kafka as long as it takes."""
        return self._patiently(self._panes.bounds)[1]

    def flush(self) -> None:
        """Writes what has changed since the last time."""
        if not self._dirty:
            return
        changed = self._windows.changed()
        checkpoint = Checkpoint(self.position, self._revisions.memory(), self._now_ms())
        self.model.write(changed, checkpoint)
        self._windows.written()
        self._dirty = False
        for document in changed:
            newest = self.latest.get(document.size)
            if newest is None or document.start_ms >= newest.start_ms:
                self.latest = {**self.latest, document.size: document}
        self._metrics.set("streamtag.panes.position", self.position)

    def look(self) -> list[Judged]:
        """Which labels are tagged too often, which experiments run, which verdicts are reached, what rollouts say.

        Call it about once a second.

        Raises:
            StreamtagError: Redis or Kafka does not answer; the next look does what this one could not.
        """
        self._breakers.look(self.latest)
        self._judge.look_up(self.position)
        judged = self._judge.conclude()
        self._rollout.step(self._judge.progress(self._until()))
        self._judge.publish()
        self._judge.save(self.position, self._revisions.memory(), self._now_ms())
        return judged

    def evidence(self) -> list[dict[str, object]]:
        """What is known of the experiments that run, for views."""
        return [
            {
                "experiment": str(fold.experiment.id),
                "state": str(fold.verdict.state),
                "reasons": list(fold.verdict.reasons),
                "units": fold.evidence.units,
                "worse": list(fold.verdict.worse),
                "equal": list(fold.verdict.equal),
                "open": list(fold.verdict.open),
                "position": self.position,
            }
            for fold in self._judge.folds()
        ]

    # -- inside ------------------------------------------------------------------------------------------------------

    def _until(self) -> datetime | None:
        """The end of the newest pane that was taken; None while the log holds more, or none was taken."""
        if self._newest_ms is None or self.position < self._known:
            return None
        return datetime.fromtimestamp(self._newest_ms / 1000, UTC)

    def kept(self) -> int:
        """The position up to which somebody has added up the log; waits for Redis as long as it takes."""
        return self._patiently(self.model.position)

    def _new_judge(self) -> Judge:
        return Judge(self._experiments, self.model, self._panes, self._metrics, keep=self._keep)

    def _remembered(self, memory: Memory, first: int) -> Revisions:
        """Those that were known before the position."""
        revisions = Revisions(self._keep, memory)
        for position, pane in self._panes.read(first, self.position):
            if not isinstance(pane, UnreadablePaneError):
                revisions.apply(position, pane)
        return revisions

    def _read_to(self, end: int) -> None:
        low, _ = self._panes.bounds()
        if low > self.position:
            self._missed(low - self.position)
            self.position = low
        if end > self.position:
            for position, pane in self._panes.read(self.position, end):
                self._metrics.add("streamtag.panes.reread")
                self._take(position, pane)
                if self.position % _WRITE_EVERY == 0:
                    self._patiently(self.flush)

    def _take(self, position: int, pane: Pane | UnreadablePaneError) -> None:
        self._dirty = True
        if isinstance(pane, UnreadablePaneError):
            log.error("pane passed by", extra={"position": position, "why": str(pane)})
            self._metrics.add("streamtag.panes.unreadable")
            self._judge.doubt()
        else:
            step = self._revisions.apply(position, pane)
            if step is None:
                self._metrics.add("streamtag.panes.read", outcome="repeated")
            else:
                self._patiently(lambda: self._windows.apply(position, step))
                self._patiently(lambda: self._judge.take(position, step))
                ended_ms = min(self._now_ms(), pane.start_ms + pane.pane_ms)
                self._newest_ms = max(self._newest_ms or 0, ended_ms)
                self._metrics.add("streamtag.panes.read", outcome="applied")
        self.position = position + 1

    def _missed(self, records: int) -> None:
        log.error("panes have expired before they were read: windows lack them", extra={"records": records})
        self._metrics.add("streamtag.panes.expired", records)
        self._judge.doubt()

    def _patiently(self, work: Callable[[], T]) -> T:
        """Does it again and again while Redis or Kafka is away: nothing else could be done, and nothing is lost."""
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return work()
            except UnavailableError as error:
                log.warning("waiting: %s", error.message)
                self._metrics.add("streamtag.panes.waits")
                self._on_wait(error.message)
                self._wait(wait_s)
                wait_s = min(_LONGEST_WAIT_S, 2 * wait_s)
