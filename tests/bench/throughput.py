"""CPU time per event of plain loop, worker and Faust: one Kafka, one run, peers taking turns."""

import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from services import MIB, create_topics, delete_topics, produce, read_all

from streamtag.control.changes import ReleaseChanges
from streamtag.control.store import ControlStore
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import StreamtagError
from streamtag.model.loading import load_scorer
from streamtag.model.scorer import Scorer
from streamtag.settings import RedisSettings, load_settings

from . import report
from .corpus import Corpus
from .job import Job
from .measure import Positions, run_peer
from .outputs import Reference
from .stack import PARTITIONS, Stack, clean_environ, running

# Each label's cut-off: about this share of the corpus is tagged with it. Made-up harmless texts would get no tag by
# the bundle's own cut-offs, and then nobody would pay for tags.
_TAGGED_SHARE = 0.15
_SAMPLE = 4_000
_DEADLINE_S = 240.0

Figures = dict[str, float]


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        rounds: how often each peer has its turn.
        events: of the plain loop and the worker.
        faust_events: the first so many of the same; Faust takes some ten times as long.
        bundle: directory of the model.
    """

    rounds: int
    events: int
    faust_events: int
    bundle: Path


class Throughput:
    """One run on running services."""

    def __init__(self, plan: Plan, stack: Stack) -> None:
        self._plan = plan
        self._stack = stack
        self._run = uuid.uuid4().hex[:8]
        self._corpus = Corpus()
        self._scorer = load_scorer(plan.bundle, batch=load_settings(environ={}).settings.model.batch)
        self._thresholds = cutoffs(self._scorer, self._corpus.texts[:_SAMPLE])
        self._namespace = f"bench-{self._run}"
        self._reference: Reference | None = None

    def prepare(self) -> None:
        """Writes the backlogs and the first release."""
        for name, count in ((self._input("all"), self._plan.events), (self._input("few"), self._plan.faust_events)):
            create_topics(self._stack.bootstrap, [(name, PARTITIONS, {})])
            produce(self._stack.bootstrap, name, self._corpus.events(count))
        store = ControlStore(RedisSettings(url=self._stack.redis_url, namespace=self._namespace))  # type: ignore[call-arg]
        seeded = ThresholdSet(self._thresholds)
        ReleaseChanges(store, max_step=1.0).seed(self._scorer.bundle.ref, self._scorer.labels, seeded)
        store.close()

    def rounds(self) -> Iterator[dict[str, Figures]]:
        """The figures of each round, peer by peer."""
        for number in range(self._plan.rounds):
            yield {
                "plain": self._plain(number),
                "exactly_once": self._worker(number, "exactly_once"),
                "at_least_once": self._worker(number, "at_least_once"),
                "faust": self._faust(number),
            }

    def facts(self) -> dict[str, object]:
        """What was run, for the report."""
        bundle = self._scorer.bundle.ref
        tags = 0 if self._reference is None else self._reference.tags
        return {
            "corpus": self._corpus.facts(),
            "bundle": {
                "name": bundle.name,
                "version": bundle.version,
                "sha256": bundle.sha256,
                "labels": len(self._scorer.labels),
            },
            "events": self._plan.events,
            "faust_events": self._plan.faust_events,
            "tags_per_event": round(tags / self._plan.events, 3),
        }

    def _plain(self, number: int) -> Figures:
        values = self._stack.directory / f"plain-{number}.jsonl"
        command = self._job(str(values)).command("plain", self._stack.directory / "plain.json")
        done = subprocess.run(command, capture_output=True, env=clean_environ(), timeout=_DEADLINE_S, check=False)
        if done.returncode != 0:
            tail = done.stderr.decode(errors="replace").splitlines()[-8:]
            raise StreamtagError("the plain loop failed", hint="\n".join(tail))
        lines = values.read_bytes().splitlines()
        values.unlink()
        if self._reference is None:
            ids = (msgspec.json.decode(event.value)["id"] for event in self._corpus.events(self._plan.events))
            self._reference = Reference(lines, ids)
        self._reference.check("plain", lines, self._plan.events)
        return msgspec.json.decode(done.stdout, type=dict[str, float])

    def _worker(self, number: int, delivery: str) -> Figures:
        name = f"{delivery}-{number}-{self._run}"
        outputs = {role: f"{role}-{name}" for role in ("tags", "stats", "dead_letters")}
        limits = {"tags": 2 * MIB, "stats": 4 * MIB, "dead_letters": 5 * MIB}
        create_topics(
            self._stack.bootstrap,
            [(topic, PARTITIONS, {"max.message.bytes": str(limits[role])}) for role, topic in outputs.items()],
        )
        settings = {
            "kafka.bootstrap_servers": self._stack.bootstrap,
            "redis.url": self._stack.redis_url,
            "redis.namespace": self._namespace,
            "topics.input": f"[{self._input('all')}]",
            **{f"topics.{role}": topic for role, topic in outputs.items()},
            "model.directories": f"[{self._plan.bundle.parent.parent}]",
            "tagger.group": name,
            "tagger.delivery": delivery,
            "state_dir": str(self._stack.directory / name),
        }
        argv = [sys.executable, "-m", "streamtag", *(f"--set={k}={v}" for k, v in settings.items()), "tagger"]
        return self._measured(argv, name, outputs["tags"], self._input("all"), self._plan.events)

    def _faust(self, number: int) -> Figures:
        name = f"faust-{number}-{self._run}"
        create_topics(self._stack.bootstrap, [(name, PARTITIONS, {})])
        command = self._job(name, group=name).command("faust_peer", self._stack.directory / "faust.json")
        return self._measured(command, name, name, self._input("few"), self._plan.faust_events)

    def _measured(self, argv: list[str], group: str, tags: str, source: str, events: int) -> Figures:
        """Runs a peer on the backlog and checks what it wrote before its figures are believed."""
        found = run_peer(
            argv,
            log=self._stack.directory / f"{group}.log",
            environ=clean_environ(),
            broker_pids=self._stack.broker_pids,
            positions=Positions(self._stack.bootstrap, group, source, PARTITIONS),
            total=events,
            deadline_s=_DEADLINE_S,
        )
        assert self._reference is not None, "the plain loop runs first"
        written = read_all(self._stack.bootstrap, tags, deadline_s=60)
        self._reference.check(group, (record.value() or b"" for record in written), events)
        delete_topics(self._stack.bootstrap, [tags])
        return found

    def _job(self, output: str, *, group: str = "") -> Job:
        return Job(
            bundle=str(self._plan.bundle),
            thresholds=self._thresholds,
            events=self._plan.events,
            output=output,
            bootstrap=self._stack.bootstrap,
            input=self._input("few"),
            group=group,
        )

    def _input(self, which: str) -> str:
        return f"content-{which}-{self._run}"


def cutoffs(scorer: Scorer, texts: list[str]) -> dict[str, float]:
    """Label to the cut-off that tags about `_TAGGED_SHARE` of ``texts``; six decimals, never 0."""
    at = np.quantile(scorer.score(texts), 1 - _TAGGED_SHARE, axis=0)
    return {label: max(1e-6, round(float(score), 6)) for label, score in zip(scorer.labels, at, strict=True)}


def run(plan: Plan) -> Mapping[str, object]:
    """The whole benchmark; the document for ``reports/bench.json``.

    Raises:
        RefusedError: a peer's output differs from the others'.
    """
    with running() as stack:
        throughput = Throughput(plan, stack)
        report.say(f"corpus sha256 {throughput.facts()['corpus']['sha256']}")  # type: ignore[index]
        throughput.prepare()
        rounds = []
        for found in throughput.rounds():
            rounds.append(found)
            report.say(f"round {len(rounds)} of {plan.rounds}: {report.one_line(found)}")
        return report.document({**stack.services, **throughput.facts()}, rounds)
