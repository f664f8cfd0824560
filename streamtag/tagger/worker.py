"""One tagger process: puts the parts together, reports health and heartbeats, ends cleanly on SIGTERM."""

import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime

from streamtag.control.breaker_watcher import BreakerWatcher
from streamtag.control.experiment_watcher import ExperimentWatcher
from streamtag.control.fleet import Heartbeat, HeartbeatSender
from streamtag.control.stops import StopStore
from streamtag.control.store import ControlStore
from streamtag.control.watcher import ReleaseWatcher
from streamtag.domain.release import BundleRef, ReleaseRef
from streamtag.model.admission import load_admitted, read_admitted, release_bundle
from streamtag.model.bundle import Bundle
from streamtag.model.scorer import Scorer
from streamtag.settings import Settings
from streamtag.stream.options import StreamOptions
from streamtag.stream.runner import Runner
from streamtag.stream.slots import take_slot
from streamtag.stream.worker import Check, StopSignals, kafka_check, settle_garbage, watch
from streamtag.tagger.candidate import Candidate
from streamtag.tagger.memory import keep_freed_memory
from streamtag.tagger.rerank import Limits
from streamtag.tagger.stop import Stop
from streamtag.tagger.tagger import Tagger
from streamtag.tagger.trials import Trials
from streamtag.telemetry.setup import Telemetry, start_telemetry

log = logging.getLogger(__name__)

# One batch of records far apart in time, at many labels; the stats topic is declared with room for it.
_LARGEST_SUMMARY = 8_000_000


def stream_options(settings: Settings, transactional_id: str) -> StreamOptions:
    """The runner's options from the settings tree."""
    tagger = settings.tagger
    return StreamOptions(
        bootstrap_servers=settings.kafka.bootstrap_servers,
        topics=tuple(settings.topics.input),
        transactional_id=transactional_id,
        delivery=tagger.delivery,
        transaction_timeout_ms=tagger.transaction_timeout_ms,
        max_message_bytes=max(settings.dead_letters.max_bytes, settings.events.max_bytes, _LARGEST_SUMMARY) + 65_536,
        client=settings.kafka.client,
        consumer=settings.kafka.consumer,
        producer=settings.kafka.producer,
        **tagger.for_runner(),
    )


def run_worker(settings: Settings, *, on_ready: Callable[[Telemetry], None] | None = None) -> None:
    """Runs one tagger until SIGTERM or SIGINT, then drains.

    Args:
        settings: validated settings.
        on_ready: called once the endpoint serves (not: once the worker is ready).

    Raises:
        StreamtagError: what a person must see; its exit code becomes the process's.
    """
    signals = StopSignals()
    keep_freed_memory()
    with ExitStack() as stack:
        slot = stack.enter_context(take_slot(settings.tagger.group, settings.state_dir, settings.tagger.slot))
        telemetry = start_telemetry(settings.telemetry, role="tagger", instance=slot.name, group=settings.tagger.group)
        stack.callback(telemetry.close)
        worker = _Worker(settings, slot.name, telemetry)
        signals.forward(worker.runner.stop)
        if on_ready is not None:
            on_ready(telemetry)
        worker.run(stack)


class _Worker:
    def __init__(self, settings: Settings, slot: str, telemetry: Telemetry) -> None:
        self._settings = settings
        self._slot = slot
        self._telemetry = telemetry
        self._started_at = datetime.now(UTC)
        metrics = telemetry.metrics
        self._store = ControlStore(settings.redis)
        self._stop = Stop(
            StopStore(settings),
            group=settings.tagger.group,
            worker=slot,
            metrics=metrics,
            poll_interval_s=settings.redis.poll_interval_s,
        )
        self._watcher = ReleaseWatcher(settings, load=self._load, metrics=metrics)
        model, limits = settings.model, Limits.of(settings.tagger)
        self._experiments = ExperimentWatcher(settings, find=self._find, metrics=metrics)
        self._trials = Trials(
            self._experiments.current,
            lambda bundle: Candidate(
                bundle.path,
                bundle.ref.sha256,
                len(bundle.labels),
                model.batch,
                None if bundle.stage2 is None else limits,
            ),
            budget_s=settings.experiments.budget_ms / 1000,
            commit_interval_s=settings.tagger.commit_interval_ms / 1000,
            metrics=metrics,
        )
        self._breakers = BreakerWatcher(settings, metrics=metrics)
        self._tagger = Tagger(
            settings,
            worker=slot,
            release=self._watcher.current,
            stop=self._stop,
            metrics=metrics,
            tracer=telemetry.tracer,
            trials=self._trials,
            breakers=self._breakers.current,
        )
        self.runner = Runner(stream_options(settings, slot), self._tagger, metrics, keeper=self._tagger)
        self._heartbeats = HeartbeatSender(self._store, settings, self._heartbeat, metrics=metrics)
        self._seen: ReleaseRef | None = None

    def run(self, stack: ExitStack) -> None:
        """Starts the helpers' threads, runs the loop, stops them in reverse."""
        stack.callback(self._store.close)
        self._stop.start()
        stack.callback(self._stop.close)
        self._watcher.start()
        stack.callback(self._watcher.close)
        self._experiments.start()
        stack.callback(self._trials.close)
        stack.callback(self._experiments.close)
        self._breakers.start()
        stack.callback(self._breakers.close)
        self._heartbeats.start()
        stack.callback(self._heartbeats.close)
        stuck_after_s = self._settings.tagger.stuck_after_s
        watch(self.runner, self._telemetry, stack, stuck_after_s=stuck_after_s, checks=self._look)
        log.info("tagger starts", extra={"worker": self._slot, "group": self._settings.tagger.group})
        self.runner.run()
        log.info("tagger has drained and stops")

    def _load(self, ref: BundleRef) -> Scorer:
        model = self._settings.model
        return load_admitted(release_bundle(ref, model), model, ref=ref)

    def _find(self, ref: BundleRef) -> Bundle:
        model = self._settings.model
        return read_admitted(release_bundle(ref, model), model, ref=ref)

    def _look(self) -> dict[str, Check]:
        """What readiness depends on; twice a second."""
        active, _, _ = self._tagger.applied()
        if active is not None and active.ref != self._seen:
            if self._seen is None or active.ref.bundle != self._seen.bundle:
                settle_garbage()
            self._seen = active.ref
            self._heartbeats.wake()
        release, stop = self._watcher.status(), self._stop.reason()
        return {
            "release": (release.ready, "; ".join(release.reasons)),
            "kafka": kafka_check(self.runner),
            "dead_letters": (stop is None, stop or ""),
        }

    def _heartbeat(self) -> Heartbeat:
        active, applied_at_ms, decided_from = self._tagger.applied()
        positions = self.runner.positions()
        ready, reasons = self._telemetry.health.ready()
        status = self._watcher.status()
        latency = self._tagger.latency()
        return Heartbeat(
            worker=self._slot,
            host=socket.gethostname(),
            pid=os.getpid(),
            group=self._settings.tagger.group,
            member_id=self.runner.member_id,
            slot=self._slot,
            started_at=self._started_at,
            beat_at=datetime.fromtimestamp(time.time(), UTC),
            release=active.ref.number if active else None,
            release_sha256=active.ref.sha256 if active else None,
            revision=active.ref.revision if active else None,
            applied_at_ms=applied_at_ms,
            # Of a partition that has not been decided by this release yet: from its next position on.
            effective_from={name: decided_from.get(name, position) for name, position in positions.items()},
            positions=positions,
            lag=sum(self.runner.lag().values()) if positions else None,
            latency_p50_ms=latency.p50_ms if latency else None,
            latency_p99_ms=latency.p99_ms if latency else None,
            last_error=status.last_error,
            ready=ready,
            reasons=tuple(reasons),
            experiments=self._trials.figures(),
        )
