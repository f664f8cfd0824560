"""Bringing the demo's parts up: broker, Redis, workers, and cut-offs that give something to see."""

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from streamtag.control.changes import ReleaseChanges, Who
from streamtag.control.first_start import seed
from streamtag.control.store import ControlStore, Current
from streamtag.devstack.demo.cutoffs import DemoCutoffs, choose_cutoffs
from streamtag.devstack.demo.events import sample_texts
from streamtag.devstack.demo.services import KafkaKind, Services, start_services
from streamtag.devstack.demo.workers import WorkerProcesses, worker_settings
from streamtag.domain.thresholds import ThresholdSet
from streamtag.model.bundle import Bundle, read_bundle
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer
from streamtag.settings import ModelSettings, Settings, load_settings

__all__ = ["AUTHOR", "LONGEST_S", "DemoOptions", "Launched", "launch"]

AUTHOR = "streamtag demo"
LONGEST_S = 900
"""Seconds of events after which every demo ends: the mock broker slows down as its partitions fill."""
_SAMPLE = 1_000


@dataclass(frozen=True)
class DemoOptions:
    """What a person can choose.

    Attributes:
        seconds: of events until it ends by itself; None = until interrupted, or `LONGEST_S`.
        rate: events a second.
        kafka: which Kafka.
        workers: how many.
        seed: of the made-up events.
        model: the bundle, and where to look for it.
    """

    seconds: float | None
    rate: float
    kafka: KafkaKind
    workers: int
    seed: int
    model: ModelSettings


@dataclass(frozen=True)
class Launched:
    """All parts, running; ``base`` is the release that the demo starts with."""

    settings: Settings
    services: Services
    workers: WorkerProcesses
    store: ControlStore
    changes: ReleaseChanges
    labels: tuple[str, ...]
    cutoffs: DemoCutoffs
    base: Current


def launch(options: DemoOptions, stack: ExitStack, report: Callable[[str], None]) -> Launched:
    """Starts everything but the events; ``stack`` ends it in reverse. Workers may not be ready yet.

    Raises:
        StreamtagError: the bundle is not there, or a part does not start; says which and why.
    """
    bundle = read_bundle(find_bundle(options.model.bundle, options.model.directories))
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamtag-demo-")))
    services = start_services(options.kafka, load_settings(environ={}).settings.topics, stack, report)
    report(f"Starting {options.workers} worker{'s' if options.workers > 1 else ''} with bundle {bundle.ref} …")
    tree = worker_settings(services, options.model, directory / "state")
    workers = WorkerProcesses(options.workers, tree, directory, os.environ)
    stack.callback(workers.stop)
    workers.start()
    # while they start: where do such events score?
    scores = Scorer(bundle, batch=options.model.batch).score(sample_texts(options.seed, _SAMPLE))
    settings = load_settings(config=workers.config, environ={}).settings
    defaults = {label: bundle.default_thresholds.labels[label] for label in bundle.labels}
    cutoffs = choose_cutoffs(defaults, scores, settings.thresholds.max_step)
    store = ControlStore(settings.redis)
    stack.callback(store.close)
    changes = ReleaseChanges(store, max_step=settings.thresholds.max_step)
    base = _publish(store, changes, settings, bundle, cutoffs)
    return Launched(settings, services, workers, store, changes, bundle.labels, cutoffs, base)


def _publish(
    store: ControlStore, changes: ReleaseChanges, settings: Settings, bundle: Bundle, cutoffs: DemoCutoffs
) -> Current:
    """The bundle's defaults first, as at every first start, then the demo's: the audit tells one from the other."""
    seed(store, lambda: bundle, settings.thresholds.max_step)
    who = Who(AUTHOR, "cut-offs within the range of harmless made-up events")
    return changes.apply(ThresholdSet(cutoffs.start), who, force=True).current
