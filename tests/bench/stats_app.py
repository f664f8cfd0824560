"""The Faust app behind one windower at 50 labels, 2 arms, 100 source partitions and 10 commits a second.

A split experiment of all labels and events runs, whose units never repeat. At this load the app follows live for a
while; CPU time is that of its process and its supervisor's. Then it is ended and started anew with an empty state
directory: live again is one that has added up all panes and looked at the experiment, whose evidence it has to read
from its start.
"""

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from child_processes import child_of
from confluent_kafka import Consumer, TopicPartition
from services import wait_until

from streamtag.control.changes import ReleaseChanges
from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy, Tolerance
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import StreamtagError
from streamtag.settings import RedisSettings
from streamtag.stats.read_model import ReadModel

from . import cpu, report
from .readings import Meter, between
from .stack import Stack, running
from .summary_load import ARMS, Shape
from .taggers import Worker
from .windower import Windowers

_DEADLINE_S = 180.0
_WARM_UP_S = 15.0


class App:
    """Apps with default settings that come and go, one at a time, over the panes of one windower."""

    def __init__(self, stack: Stack, shape: Shape, exits: ExitStack) -> None:
        self._stack, self._exits = stack, exits
        namespace = f"bench-{time.time_ns()}"
        self._redis = RedisSettings.model_validate({"url": stack.redis_url, "namespace": namespace})
        self._store = exits.enter_context(closing(ControlStore(self._redis)))
        self._model = ReadModel(self._store)
        self._log = ExperimentLog(self._store)
        self.shape = self._begin(shape)
        self.windowers = exits.enter_context(Windowers(stack, self.shape))
        panes = self.windowers.topics["panes"]
        self._consumer = exits.enter_context(
            closing(Consumer({"bootstrap.servers": stack.bootstrap, "group.id": namespace}))
        )
        self._panes = TopicPartition(panes, 0)
        self._started = 0

    def _begin(self, shape: Shape) -> Shape:
        """Starts an experiment that comes to no verdict here; the same shape with its name."""
        bundle = BundleRef("bench", "1", "b" * 64)
        cutoffs = dict.fromkeys(shape.names, 0.5)
        ReleaseChanges(self._store, max_step=1.0).seed(bundle, tuple(shape.names), ThresholdSet(cutoffs))
        policy = LabelPolicy(Tolerance(size=0.001))  # too fine a question for the time there is
        plan = ExperimentPlan("split", dict.fromkeys(shape.names, policy), alpha=1e-12)
        other = NewCandidate(thresholds=ThresholdSet(dict.fromkeys(shape.names, 0.4)))
        started = ExperimentChanges(self._log).start(Request(plan, 0.5), other, Who("bench", "a measurement"))
        return Shape(shape.sources, shape.labels, shape.events, str(started.id))

    def start(self) -> Worker:
        """An app that has nothing on its disk."""
        self._started += 1
        state = self._stack.directory / f"{self.windowers.group}-app-{self._started}"
        mine = {
            "kafka.bootstrap_servers": self._stack.bootstrap,
            "redis.url": self._stack.redis_url,
            "redis.namespace": self._redis.namespace,
            "stats.group": f"stats-{self.windowers.group}",
            "stats.web_port": "null",
            "state_dir": str(state),
            **{f"topics.{role}": name for role, name in self.windowers.topics.items()},
        }
        argv = [sys.executable, "-m", "streamtag", *(f"--set={k}={v}" for k, v in mine.items()), "stats"]
        worker = Worker(argv, Path(f"{state}.log"))
        self._exits.callback(worker.stop)
        return worker

    def behind(self) -> int:
        """Panes that are not added up yet."""
        checkpoint = self._model.checkpoint()
        return self._consumer.get_watermark_offsets(self._panes, timeout=10)[1] - (
            checkpoint.position if checkpoint else 0
        )

    def units(self) -> int:
        """Of the experiment, by the newest evidence."""
        running = self._log.running()
        if not running:
            raise StreamtagError(f"the experiment has ended: {self._log.verdict(self._log.find(1))}")
        found = self._model.evidence(running[0].id)
        return 0 if found is None else found.units

    def wait_live(self, worker: Worker, units: int = 0) -> float:
        """Seconds from its start until it has added up every pane and counted more units than before."""

        def live() -> bool:
            worker.check_alive()
            return self.behind() == 0 and self.units() > units

        wait_until(live, _DEADLINE_S, "the app follows", every_s=0.05)
        return (time.monotonic_ns() - worker.started_ns) / 1e9


def run(shape: Shape, *, seconds: float) -> Mapping[str, object]:
    """The whole measurement; the section ``stats_app`` of ``reports/bench.json``."""
    with running() as stack, ExitStack() as exits:
        app = App(stack, shape, exits)
        windower, first = app.windowers.start(), app.start()
        app.windowers.load.begin()
        app.wait_live(first)
        time.sleep(_WARM_UP_S)
        pids = [first.pid, child_of(first.pid) or first.pid]
        meter = Meter(pids, [windower.pid, *stack.broker_pids], [])
        report.say(f"following {app.shape.per_s} summaries a second for {seconds:g} s …")
        before, most = meter.read(app.units()), 0
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            most = max(most, app.behind())
            time.sleep(0.5)
        used = between(before, meter.read(app.units()))
        rss = cpu.peak_rss_mib(pids[-1])
        report.say("restarting …")
        first.stop()
        units = app.units()
        restart_s = app.wait_live(app.start(), units)
        app.windowers.load.stop()
        return {
            "labels": shape.labels,
            "sources": shape.sources,
            "per_s": app.shape.per_s,
            "cpu_percent": round(used["worker_cores"] * 100, 1),
            "others_cores": used["others_cores"],
            "units_per_s": used["events_per_s"],
            "most_behind": most,
            "rss_mib": round(rss, 1),
            "restart_s": round(restart_s, 2),
            "units": units,
            **stack.services,
        }


def show(found: Mapping[str, object]) -> None:
    """A few lines."""
    report.say(
        f"{found['labels']} labels x {len(ARMS)} arms x {found['sources']} sources, {found['per_s']} summaries/s: "
        f"{found['cpu_percent']} % of a core, at most {found['most_behind']} panes behind, {found['rss_mib']} MiB"
    )
    report.say(f"restart to live, nothing on disk, {found['units']} units of evidence: {found['restart_s']} s")
