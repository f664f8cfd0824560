"""Topics, a first release and workers with default settings, on running services."""

import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from services import MIB, create_topics, wait_until

from streamtag.control.changes import ReleaseChanges
from streamtag.control.fleet import Heartbeat, read_fleet
from streamtag.control.store import ControlStore
from streamtag.devstack.process import ProcessRef, spawn
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import StreamtagError
from streamtag.model.loading import load_scorer
from streamtag.settings import RedisSettings, load_settings

from .corpus import Corpus
from .stack import PARTITIONS, Stack, clean_environ
from .throughput import cutoffs

_READY_S = 60.0
_SAMPLE = 4_000
_LARGEST = {"input": MIB, "tags": 2 * MIB, "stats": 4 * MIB, "dead_letters": 5 * MIB}


class Worker:
    """One ``streamtag tagger``."""

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        self.started_ns = time.monotonic_ns()
        self.log = log
        self.process: subprocess.Popen[bytes] = spawn(argv, log=log, dies_with_parent=True, environ=clean_environ())
        self._ref = ProcessRef.of(self.process.pid)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def check_alive(self) -> None:
        """Raises StreamtagError with the end of its log when it has ended by itself."""
        if self.process.poll() is not None:
            tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
            raise StreamtagError(f"a worker ended with {self.process.returncode}", hint="\n".join(tail))

    def stop(self) -> None:
        """SIGTERM; waits for the end."""
        if self._ref is not None:
            self._ref.stop(30.0)
        self.process.wait(5)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(5)


class Pipeline:
    """One pipeline of its own: topics, group, namespace in Redis, state directory.

    Args:
        stack: running services.
        bundle: directory of the model; each label's cut-off is set where the texts get tags.
        partitions: of the input and the outputs.
        config: of the topics of events and tags.
        settings: of all workers, where they differ from the defaults.
    """

    def __init__(
        self,
        stack: Stack,
        bundle: Path,
        *,
        partitions: int = PARTITIONS,
        config: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        run = uuid.uuid4().hex[:8]
        self.stack = stack
        self.partitions = partitions
        self.group = f"bench-{run}"
        self.topics = {role: f"{role}-{run}" for role in _LARGEST}
        self.redis = RedisSettings(url=stack.redis_url, namespace=f"bench-{run}")  # type: ignore[call-arg]
        self._store = ControlStore(self.redis)
        self._settings = {
            "kafka.bootstrap_servers": stack.bootstrap,
            "redis.url": stack.redis_url,
            "redis.namespace": self.redis.namespace,
            "topics.input": f"[{self.topics['input']}]",
            **{f"topics.{role}": self.topics[role] for role in ("tags", "stats", "dead_letters")},
            "model.directories": f"[{bundle.parent.parent}]",
            "tagger.group": self.group,
            "state_dir": str(stack.directory / run),
            **(settings or {}),
        }
        self._exit = ExitStack()
        self._exit.callback(self._store.close)
        self._started = 0
        streams = {role: dict(config or {}) for role in ("input", "tags")}
        create_topics(
            stack.bootstrap,
            [
                (topic, partitions, {"max.message.bytes": str(_LARGEST[role]), **streams.get(role, {})})
                for role, topic in self.topics.items()
            ],
        )
        self._seed(bundle)

    def start(self, **settings: str) -> Worker:
        """One more worker; ``settings`` names sections with ``__``."""
        mine = {**self._settings, **{name.replace("__", "."): value for name, value in settings.items()}}
        argv = [sys.executable, "-m", "streamtag", *(f"--set={k}={v}" for k, v in mine.items()), "tagger"]
        worker = Worker(argv, self.stack.directory / f"{self.group}-{self._started}.log")
        self._started += 1
        self._exit.callback(worker.stop)
        return worker

    def beats(self) -> Sequence[Heartbeat]:
        """Of the workers that are there."""
        return read_fleet(self._store, self.group).heartbeats

    def wait_shared(self, *workers: Worker) -> None:
        """Until these workers decide, and read all partitions between them, each its share."""
        pids = {worker.pid for worker in workers}
        share = self.partitions // len(workers)

        def shared() -> bool:
            for worker in workers:
                worker.check_alive()
            beats = [beat for beat in self.beats() if beat.pid in pids and beat.release is not None]
            return len(beats) == len(pids) and all(len(beat.positions) >= share for beat in beats)

        wait_until(shared, _READY_S, f"{len(workers)} workers that decide and share {self.partitions} partitions")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def _seed(self, bundle: Path) -> None:
        scorer = load_scorer(bundle, batch=load_settings(environ={}).settings.model.batch)
        seeded = ThresholdSet(cutoffs(scorer, Corpus().texts[:_SAMPLE]))
        ReleaseChanges(self._store, max_step=1.0).seed(scorer.bundle.ref, scorer.labels, seeded)
