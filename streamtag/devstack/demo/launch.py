"""Bringing the demo's parts up: broker, Redis, workers, and cut-offs that give something to see."""

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from streamtag.control.approval import ApprovalPolicy
from streamtag.control.changes import ReleaseChanges, Who
from streamtag.control.first_start import seed
from streamtag.control.store import ControlStore, Current
from streamtag.devstack.demo.challengers import Challenger, choose_challengers
from streamtag.devstack.demo.cutoffs import DemoCutoffs, choose_cutoffs
from streamtag.devstack.demo.events import sample_texts
from streamtag.devstack.demo.processes import Processes, process_settings
from streamtag.devstack.demo.services import KafkaKind, Services, start_services
from streamtag.devstack.demo.story import AUTHOR
from streamtag.domain.thresholds import ThresholdSet
from streamtag.model.admission import read_admitted
from streamtag.model.bundle import Bundle
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer
from streamtag.settings import ModelSettings, Settings, load_settings

__all__ = ["LONGEST_S", "DemoOptions", "Launched", "launch", "start_statistics"]

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
    """All parts, running.

    Attributes:
        settings: of all processes.
        services: broker and Redis.
        processes: the workers and, once they are started, those of the statistics.
        worker_pids: of the workers.
        store: the control plane.
        changes: of the champion.
        labels: of the bundle.
        cutoffs: to start with, and to play with.
        challengers: to compare with the champion.
        base: the release that decides first.
    """

    settings: Settings
    services: Services
    processes: Processes
    worker_pids: tuple[int, ...]
    store: ControlStore
    changes: ReleaseChanges
    labels: tuple[str, ...]
    cutoffs: DemoCutoffs
    challengers: tuple[Challenger, ...]
    base: Current


def launch(options: DemoOptions, stack: ExitStack, report: Callable[[str], None]) -> Launched:
    """Starts everything but the events and the statistics; ``stack`` ends it in reverse. Workers may not be ready yet.

    Raises:
        StreamtagError: the bundle is not there, or a part does not start; says which and why.
    """
    bundle = read_admitted(find_bundle(options.model.bundle, options.model.directories), options.model)
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamtag-demo-")))
    services = start_services(options.kafka, load_settings(environ={}).settings.topics, stack, report)
    report(f"Starting {options.workers} worker{'s' if options.workers > 1 else ''} with bundle {bundle.ref} …")
    tree = process_settings(services, options.model, directory / "state")
    processes = Processes(tree, directory, os.environ)
    stack.callback(processes.stop)
    for number in range(1, options.workers + 1):
        processes.start(f"worker {number}", processes.command("tagger"))
    worker_pids = tuple(processes.pids.values())
    # while they start: where do such events score?
    scorer = Scorer(bundle, batch=options.model.batch)
    scores, spiked = (scorer.score(sample_texts(options.seed, _SAMPLE, spike=spike)) for spike in (False, True))
    settings = load_settings(config=processes.config, environ={}).settings
    defaults = {label: bundle.default_thresholds.labels[label] for label in bundle.labels}
    cutoffs = choose_cutoffs(defaults, scores, spiked, settings.thresholds.max_step)
    challengers = choose_challengers(cutoffs, scores)
    store = ControlStore(settings.redis)
    stack.callback(store.close)
    # Nobody but the demo is there to approve anything.
    policy = ApprovalPolicy("none")
    changes = ReleaseChanges(store, max_step=settings.thresholds.max_step, policy=policy)
    base = _publish(store, changes, settings, bundle, cutoffs)
    return Launched(
        settings, services, processes, worker_pids, store, changes, bundle.labels, cutoffs, challengers, base
    )


def start_statistics(launched: Launched) -> None:
    """Starts a windower, and what keeps windows and judges experiments.

    Later than the workers: all of it at once would delay the first tag, and the log waits.
    """
    processes = launched.processes
    processes.start("windower", processes.command("windows"))
    if launched.services.kind is KafkaKind.REAL and find_spec("faust"):
        processes.start("stats", processes.command("stats"))
    else:
        module = "streamtag.devstack.demo.stats_process"
        processes.start("stats without Faust", [sys.executable, "-m", module, str(processes.config)])


def _publish(
    store: ControlStore, changes: ReleaseChanges, settings: Settings, bundle: Bundle, cutoffs: DemoCutoffs
) -> Current:
    """The bundle's defaults first, as at every first start, then the demo's: the audit tells one from the other."""
    seed(store, lambda: bundle, settings.thresholds.max_step)
    who = Who(AUTHOR, "cut-offs within the range of harmless made-up events")
    return changes.apply(ThresholdSet(cutoffs.start), who, force=True).current
