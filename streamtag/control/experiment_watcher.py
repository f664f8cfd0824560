"""Following the experiments in a worker: on a thread of its own, so that nothing of theirs delays the champion.

The hot path reads one attribute. While Redis is away, what ran goes on; a worker that starts without Redis runs none.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.follower import Follower
from streamtag.control.metrics import MetricSink
from streamtag.control.release_documents import ReleaseId
from streamtag.control.store import ControlStore, Current
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import problems
from streamtag.errors import RefusedError, StreamtagError, UnavailableError
from streamtag.model.bundle import Bundle
from streamtag.settings import Settings
from streamtag.telemetry.repeats import Repeats

__all__ = ["ActiveExperiment", "ExperimentWatcher"]

log = logging.getLogger(__name__)

_RETRY_S = 5.0


@dataclass(frozen=True)
class ActiveExperiment:
    """An experiment that runs, with its candidate, proven.

    Attributes:
        experiment: document and phases.
        candidate: release and cut-offs.
        bundle: of the candidate, verified on this host; None where it is that of the control.
    """

    experiment: Experiment
    candidate: Current
    bundle: Bundle | None


class ExperimentWatcher:
    """Follows what runs in one namespace.

    Args:
        settings: ``redis`` counts.
        find: a bundle on this host; may raise anything, then the experiment is left out here, and tried again.
        metrics: counts what cannot be followed.
        store: instead of one of its own.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        find: Callable[[BundleRef], Bundle],
        metrics: MetricSink,
        store: ControlStore | None = None,
    ) -> None:
        self._find = find
        self._metrics = metrics
        self._store = store or ControlStore(settings.redis)
        self._log = ExperimentLog(self._store)
        self._alias: bytes | None = None
        self._newest = 0  # change of experiments that was seen here
        self._retry_at = float("inf")
        self._current: tuple[ActiveExperiment, ...] = ()
        self._repeats = Repeats()
        # Where Redis is away, the watcher of the champion says so; what ran goes on.
        self._follower = Follower(
            self._store, settings.redis, self.look, failed=self._failed, name="experiment-watcher"
        )

    def start(self) -> None:
        """Returns at once."""
        self._follower.start()

    def current(self) -> tuple[ActiveExperiment, ...]:
        """What runs; the same object until something changes. Asked between batches."""
        return self._current

    def close(self) -> None:
        """Ends the thread."""
        self._follower.close()

    def look(self) -> None:
        """One look at what runs.

        Raises:
            UnavailableError: Redis does not answer in time.
            RefusedError: where the chain ends cannot be read: what ran goes on.
        """
        heads = self._log.heads()
        alias, newest = heads.alias, heads.latest.number if heads.latest is not None else 0
        if newest < self._newest:
            self._fail(
                "experiments",
                f"Redis went back from change {self._newest} of them to {newest}: one that somebody has stopped since "
                "may run again (`streamtag experiment list`)",
            )
        self._newest = newest
        if alias == self._alias and time.monotonic() < self._retry_at:
            return
        try:
            running = self._log.running()
        except UnavailableError:
            raise
        except StreamtagError as error:
            self._fail("experiments", error.message)
            running = []
        before = {one.experiment.id: one for one in self._current}
        found, retry_at = [], float("inf")
        for experiment in running:
            known = before.get(experiment.id)
            try:
                found.append(
                    self._proven(experiment)
                    if known is None
                    else ActiveExperiment(experiment, known.candidate, known.bundle)
                )
            except UnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 - a bundle may break its reader in any way
                self._fail(f"experiment {experiment.id}", getattr(error, "message", repr(error)))
                retry_at = time.monotonic() + _RETRY_S
        # At the end: where Redis goes away in between, the next look does it all.
        self._current, self._alias, self._retry_at = tuple(found), alias, retry_at

    def _proven(self, experiment: Experiment) -> ActiveExperiment:
        document = experiment.document
        wanted = document.candidate
        candidate = self._store.load(ReleaseId(wanted.number, wanted.sha256))
        if candidate.ref != wanted:
            raise RefusedError(f"release {wanted.number} is not the candidate that was agreed")
        control = self._store.load(ReleaseId(document.control.number, document.control.sha256)).thresholds
        bundle = None if wanted.bundle == document.control.bundle else self._find(wanted.bundle)
        labels = list(control.labels) if bundle is None else bundle.labels
        if wrong := problems(candidate.thresholds, labels):
            raise RefusedError(
                f"bundle {wanted.bundle} and revision {wanted.revision} do not match: {'; '.join(wrong)}"
            )
        # Another version of streamtag may have started it. What cannot be compared here must not reach the hot path.
        if odd := [label for label in document.plan.labels if label not in control.labels or label not in labels]:
            raise RefusedError(f"the plan names labels that not both releases score: {', '.join(odd)}")
        return ActiveExperiment(experiment, candidate, bundle)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, StreamtagError):
            log.error("the experiment watcher met an unexpected error; it goes on", exc_info=error)
        self._fail("experiments", getattr(error, "message", repr(error)))

    def _fail(self, what: str, why: str) -> None:
        self._metrics.add("streamtag.experiment.errors")
        left_out = self._repeats.left_out(what)  # by experiment: the reason may be worded anew at every attempt
        if left_out is not None:
            extra = {"left_out": left_out} if left_out else None
            log.error("%s cannot be followed here: %s", what, why, extra=extra)
