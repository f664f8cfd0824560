"""CPU time per event of any peer on one piece of work: the same events, the same bundle, outputs compared."""

import itertools
import subprocess
import sys
import uuid
from collections.abc import Sequence
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

from . import kstreams_peer, quix_env
from .corpus import MEAN_CHARS, Corpus
from .job import Job
from .measure import Positions, run_peer
from .outputs import Reference
from .stack import PARTITIONS, Stack, clean_environ

# By a bundle's own cut-offs, made-up harmless texts have next to no tags, and nobody would pay for tags.
_TAGS_PER_EVENT = 1.7
_SAMPLE = 4_000
_DEADLINE_S = 240.0

Figures = dict[str, float]


@dataclass(frozen=True)
class Work:
    """What is to be tagged, and by which model.

    Attributes:
        bundle: directory of the model.
        events: how many; some peers get fewer, the first of the same.
        chars: mean length of their texts.
    """

    bundle: Path
    events: int
    chars: int = MEAN_CHARS


class Throughput:
    """One piece of work on running services. Each call of a peer's name is one turn of it, and returns its figures.

    The plain loop has to go first: its answers are those that all others must give.
    """

    def __init__(self, work: Work, stack: Stack) -> None:
        self._work = work
        self._stack = stack
        self._run = uuid.uuid4().hex[:8]
        self._turns = itertools.count()
        self._corpus = Corpus(work.chars)
        self._scorer = load_scorer(work.bundle, batch=load_settings(environ={}).settings.model.batch)
        self._thresholds = cutoffs(self._scorer, self._corpus.texts[:_SAMPLE])
        self._namespace = f"bench-{self._run}"
        self._inputs: dict[int, str] = {}
        self._values = stack.directory / f"values-{self._run}.jsonl"
        self._reference: Reference | None = None
        self._seed()

    def facts(self) -> dict[str, object]:
        """What was tagged, for the report."""
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
            "events": self._work.events,
            "tags_per_event": round(tags / self._work.events, 3),
            "tag_event_bytes": round(self._values.stat().st_size / self._work.events) - 1,
        }

    def plain(self) -> Figures:
        """The plain loop, without Kafka."""
        found = self._child("plain", self._job(str(self._values)))
        lines = self._values.read_bytes().splitlines()
        if self._reference is None:
            ids = (msgspec.json.decode(event.value)["id"] for event in self._corpus.events(self._work.events))
            self._reference = Reference(lines, ids)
        self._reference.check("plain", lines, self._work.events)
        return found

    def floors(self) -> Figures:
        """Each part of the job alone; see `floors`."""
        topic = self._topic("floor")
        found = self._child("floors", self._job(str(self._values), source=self._input(self._work.events), group=topic))
        delete_topics(self._stack.bootstrap, [topic])
        return found

    def worker(self, delivery: str = "exactly_once", *, commit_interval_ms: int = 100) -> Figures:
        """``streamtag tagger``, with default settings but for those named here."""
        events = self._work.events
        limits = {"tags": 2 * MIB, "stats": 4 * MIB, "dead_letters": 5 * MIB}
        outputs = {role: self._topic(role, max_bytes=limit) for role, limit in limits.items()}
        group = outputs["tags"]
        settings = {
            "kafka.bootstrap_servers": self._stack.bootstrap,
            "redis.url": self._stack.redis_url,
            "redis.namespace": self._namespace,
            "topics.input": f"[{self._input(events)}]",
            **{f"topics.{role}": topic for role, topic in outputs.items()},
            "model.directories": f"[{self._work.bundle.parent.parent}]",
            "tagger.group": group,
            "tagger.delivery": delivery,
            "tagger.commit_interval_ms": str(commit_interval_ms),
            "state_dir": str(self._stack.directory / group),
        }
        argv = [sys.executable, "-m", "streamtag", *(f"--set={k}={v}" for k, v in settings.items()), "tagger"]
        return self._measured(argv, group, events)

    def faust(self, events: int) -> Figures:
        """Faust, event by event, at least once."""
        job = self._peer_job("faust", events)
        return self._measured(job.command("faust_peer", self._path(job)), job.group, events)

    def quix(self, events: int) -> Figures:
        """Quix Streams, event by event, exactly once."""
        job = self._peer_job("quix", events)
        argv = job.command("quix_peer", self._path(job), python=quix_env.interpreter())
        return self._measured(argv, job.group, events)

    def kstreams(self) -> Figures:
        """Kafka Streams with ONNX Runtime on the JVM, exactly once."""
        kstreams_peer.build()
        job = self._peer_job("kstreams", self._work.events)
        return self._measured(kstreams_peer.command(job, self._stack.directory), job.group, self._work.events)

    def _seed(self) -> None:
        store = ControlStore(RedisSettings(url=self._stack.redis_url, namespace=self._namespace))  # type: ignore[call-arg]
        seeded = ThresholdSet(self._thresholds)
        ReleaseChanges(store, max_step=1.0).seed(self._scorer.bundle.ref, self._scorer.labels, seeded)
        store.close()

    def _child(self, module: str, job: Job) -> Figures:
        """Figures of a child process that measures itself."""
        path = self._stack.directory / f"{module}.json"
        done = subprocess.run(
            job.command(module, path), capture_output=True, env=clean_environ(), timeout=_DEADLINE_S, check=False
        )
        if done.returncode != 0:
            tail = done.stderr.decode(errors="replace").splitlines()[-8:]
            raise StreamtagError(f"{module} failed", hint="\n".join(tail))
        return msgspec.json.decode(done.stdout, type=dict[str, float])

    def _measured(self, argv: Sequence[str], group: str, events: int) -> Figures:
        """Runs a peer on the backlog and checks what it wrote, to the topic named as its group."""
        found = run_peer(
            argv,
            log=self._stack.directory / f"{group}.log",
            environ=clean_environ(),
            broker_pids=self._stack.broker_pids,
            positions=Positions(self._stack.bootstrap, group, self._input(events), PARTITIONS),
            total=events,
            deadline_s=_DEADLINE_S,
        )
        assert self._reference is not None, "the plain loop goes first"
        written = read_all(self._stack.bootstrap, group, deadline_s=60)
        self._reference.check(group, (record.value() or b"" for record in written), events)
        delete_topics(self._stack.bootstrap, [group])
        return found

    def _peer_job(self, peer: str, events: int) -> Job:
        topic = self._topic(peer)
        return self._job(topic, source=self._input(events), group=topic)

    def _job(self, output: str, *, source: str = "", group: str = "") -> Job:
        return Job(
            bundle=str(self._work.bundle),
            thresholds=self._thresholds,
            events=self._work.events,
            chars=self._work.chars,
            output=output,
            bootstrap=self._stack.bootstrap,
            input=source,
            group=group,
        )

    def _path(self, job: Job) -> Path:
        return self._stack.directory / f"{job.group}.json"

    def _topic(self, role: str, *, max_bytes: int = 2 * MIB) -> str:
        name = f"{role}-{self._run}-{next(self._turns)}"
        create_topics(self._stack.bootstrap, [(name, PARTITIONS, {"max.message.bytes": str(max_bytes)})])
        return name

    def _input(self, events: int) -> str:
        """The topic with the first so many events, written when it is first asked for."""
        if events not in self._inputs:
            self._inputs[events] = name = self._topic("content")
            produce(self._stack.bootstrap, name, self._corpus.events(events))
        return self._inputs[events]


def cutoffs(scorer: Scorer, texts: list[str]) -> dict[str, float]:
    """Label to a cut-off, all labels as often reached, that gives ``texts`` about `_TAGS_PER_EVENT`; never 0."""
    share = min(0.5, _TAGS_PER_EVENT / len(scorer.labels))
    at = np.quantile(scorer.score(texts), 1 - share, axis=0)
    return {label: max(1e-6, round(float(score), 6)) for label, score in zip(scorer.labels, at, strict=True)}
