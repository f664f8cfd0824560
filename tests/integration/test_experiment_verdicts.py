"""Verdicts of the real `streamtag windows` and `streamtag stats`, killed meanwhile, on a real Kafka and Redis."""

import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import summary_factory
from child_processes import child_of, kill
from services import Redis, Topics, produce, wait_until
from workers import Fleet

from streamtag.control.changes import ReleaseChanges
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.control.verdict_documents import VerdictDocument
from streamtag.devstack.server import free_port
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.domain.verdict import State
from streamtag.events.summary import ExperimentRows, LabelCounts, PaneCounts
from streamtag.events.unit_rows import UnitColumns, pack
from streamtag.settings import RedisSettings, load_settings
from streamtag.stats.experiment_fold import ExperimentFold
from streamtag.stats.look_store import LookStore
from streamtag.stats.pane_log import PaneLog
from streamtag.stats.recompute import recompute

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

SEED = 20_261_128
LABELS = ("spam", "insult", "fraud")
BUNDLE = BundleRef("tiny", "1", "b" * 64)
ANNA = Who("anna", "a test")
PANE_MS = 1_000
A_SUMMARY = 50
ALL_UNITS = 3_000


@dataclass
class Trial:
    """A control plane with three experiments, and summaries that hold rows of all of them.

    The candidate tags more spam, as much insult, and about 1.2 times the fraud, where tolerance ends; each label has an
    experiment of its own. The last one is never sure, so it counts every unit that there is.
    """

    topics: Topics
    store: ControlStore
    choose: random.Random = field(default_factory=lambda: random.Random(SEED))
    written: int = 0
    fraud: list[int] = field(default_factory=lambda: [0, 0, 0])
    """Units that only the candidate, only the control, and both have tagged."""

    def __post_init__(self) -> None:
        ReleaseChanges(self.store, max_step=1.0).seed(BUNDLE, LABELS, ThresholdSet(dict.fromkeys(LABELS, 0.5)))
        self.log = ExperimentLog(self.store)
        self.bad = self._start("spam")
        self.good = self._start("insult")
        self.unsure = self._start("fraud", alpha=1e-12, max_units=ALL_UNITS)

    def _start(self, label: str, **plan: float) -> Experiment:
        thresholds = ThresholdSet({name: 0.4 if name == label else 0.5 for name in LABELS})
        asked = ExperimentPlan("shadow", {label: LabelPolicy()}, **plan)  # type: ignore[arg-type]
        request = Request(asked, 1.0, others=LabelPolicy(muted=True))
        return ExperimentChanges(self.log).start(request, NewCandidate(thresholds=thresholds), ANNA)

    def write(self, summaries: int) -> None:
        """Adds to the log what a tagger would have counted just now; every third unit comes twice."""
        for _ in range(summaries):
            units = np.arange(self.written, self.written + A_SUMMARY, dtype=np.uint64)
            control = np.array([[self._now_and_then(0.3) for _ in LABELS] for _ in units])
            candidate = control.copy()
            candidate[:, 0] |= [self._now_and_then(0.3) for _ in units]
            candidate[:, 2] |= [self._now_and_then(0.086) for _ in units]
            mine, theirs = control[:, 2], candidate[:, 2]
            for i, tagged in enumerate((theirs & ~mine, mine & ~theirs, mine & theirs)):
                self.fraud[i] += int(tagged.sum())
            again = np.concatenate([units, units[::3]])
            rows = pack(UnitColumns(again, np.vstack([control, control[::3]]), np.vstack([candidate, candidate[::3]])))
            self._produce(rows_of=[ExperimentRows(str(e.id), 0, "shadow", list(LABELS), rows) for e in self.running])
            self.written += A_SUMMARY

    @property
    def running(self) -> list[Experiment]:
        return [self.bad, self.good, self.unsure]

    def _produce(self, rows_of: list[ExperimentRows]) -> None:
        now_ms, sha = time.time_ns() // 1_000_000, "0" * 64
        labels = {name: LabelCounts(0, 0, [0], [A_SUMMARY]) for name in LABELS}
        pane = PaneCounts(
            now_ms // PANE_MS * PANE_MS, 1, sha, "tiny@1", sha, 1, sha, "control", A_SUMMARY, 0, labels,
            experiments=rows_of,
        )  # fmt: skip
        source = self.written // A_SUMMARY % 4
        start = self.written // A_SUMMARY // 4 * A_SUMMARY
        one = summary_factory.make(
            start,
            start + A_SUMMARY,
            partition=source,
            topic=self.topics.input,
            pane_ms=PANE_MS,
            committed_at_ms=now_ms,
            panes=[pane],
        )
        produce(self.topics.bootstrap, self.topics.stats, [summary_factory.record(one)])

    def _now_and_then(self, chance: float) -> bool:
        return self.choose.random() < chance

    def verdict(self, experiment: Experiment) -> VerdictDocument | None:
        stored = self.log.verdict(self.log.find(experiment.id.number))
        return None if stored is None else stored.document


@pytest.fixture
def trial(topics: Topics, redis_server: Redis, namespace: str) -> Iterator[Trial]:
    store = ControlStore(RedisSettings.model_validate({"url": redis_server.url, "namespace": namespace}))
    yield Trial(topics, store)
    store.close()


@pytest.fixture
def roles(topics: Topics, redis_server: Redis, namespace: str, tmp_path: Path) -> Iterator[Fleet]:
    """Windowers and apps on fresh topics and a fresh namespace; none outlives the test."""
    overrides = {
        "stats.group": f"stats-{namespace}",
        "stats.web_port": str(free_port()),
        "windows.idle_ms": "500",
        "windows.commit_interval_ms": "100",
    }
    with Fleet(topics, redis_server.url, namespace, tmp_path / "state", tmp_path, overrides) as found:
        yield found


def command(roles: Fleet, *arguments: str) -> tuple[int, str]:
    """Exit code and output of `streamtag`."""
    settings = [f"--set={name}={value}" for name, value in roles.settings().items()]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("STREAMTAG_")}
    done = subprocess.run(
        [sys.executable, "-m", "streamtag", *settings, *arguments],
        capture_output=True, text=True, env=environ, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def folded_again(roles: Fleet, experiment: Experiment, verdict: VerdictDocument) -> ExperimentFold:
    """What the positions of the log that a verdict names come to."""
    settings = load_settings(environ={}, overrides=roles.settings()).settings
    with PaneLog(settings) as panes:
        keep = 2 * settings.windows.max_open
        return recompute(panes, experiment, verdict.panes_from, verdict.panes_to, keep=keep)


def evidence_on_the_web(roles: Fleet) -> list[object]:
    """What the app shows of the experiments that run; empty while it does not serve."""
    url = f"http://127.0.0.1:{roles.overrides['stats.web_port']}/experiments/"
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            found: list[object] = json.loads(answer.read())["experiments"]
            return found
    except OSError:
        return []


def test_kills_of_windower_and_app_change_no_verdict_and_no_integer(trial: Trial, roles: Fleet) -> None:
    windower, app = roles.start(role="windows"), roles.start(role="stats")
    trial.write(20)
    wait_until(lambda: len(evidence_on_the_web(roles)) > 0, 90, f"the app follows: {app}")

    child = child_of(app.process.pid)
    assert child is not None
    kill(child)
    trial.write(10)
    windower.kill()
    trial.write(10)
    roles.start(role="windows").wait_ready(60)
    trial.write(ALL_UNITS // A_SUMMARY - 40)
    wait_until(lambda: all(map(trial.verdict, trial.running)), 120, f"three verdicts: {app}", every_s=0.2)

    reached = [trial.verdict(experiment) for experiment in trial.running]
    assert [one and one.state for one in reached] == [State.FAIL, State.PASS, State.INCONCLUSIVE]
    assert len(LookStore(trial.store).read(trial.unsure.id).items) > 1
    counted = reached[2]
    assert counted is not None
    assert counted.units == trial.written == ALL_UNITS
    [phase] = counted.phases
    assert phase.labels["fraud"] == tuple(trial.fraud)
    for experiment, verdict in zip(trial.running, reached, strict=True):
        assert verdict is not None
        looks, again = LookStore(trial.store).read(experiment.id), folded_again(roles, experiment, verdict).looks
        assert looks == again, "kept through every kill, as if there had been none"
        assert looks.items[-1].units == verdict.units
        number = str(experiment.id.number)
        for source in ([], ["--from-source"]):
            code, said = command(roles, "experiment", "verify", number, *source)
            assert (code, said.split(":")[0]) == (0, "equal"), said
    code, said = command(roles, "experiment", "show", str(trial.bad.id.number))
    assert code == 0
    assert "spam: worse by more than its tolerance" in said
    assert app.stop() == 0, app
