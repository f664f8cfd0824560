"""Everything a fault can hurt, and everything that must go on meanwhile."""

import contextlib
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import redis
from confluent_kafka.admin import AdminClient, NewTopic
from numpy.typing import NDArray
from services import MIB, Topics, delete_topics
from tiny_bundle import build_tiny_bundle

from streamtag.devstack.redis import RedisServer
from streamtag.devstack.server import HOST
from streamtag.domain.scores import to_micro
from streamtag.model.bundle import Bundle, read_bundle
from streamtag.model.loading import load_scorer

from .broker import Cluster
from .checking import Checker
from .corpus import Corpus
from .findings import Findings
from .operator import Operator
from .ports import Ports
from .proxy import Proxies
from .reading import Reader
from .releases import Releases
from .seats import BATCH, FAST, Seat
from .tag_columns import Columns
from .upstream import Upstream

Delivery = Literal["exactly_once", "at_least_once"]

# Duplicates, and what follows from them, are what at_least_once allows.
_ALLOWED: dict[Delivery, frozenset[str]] = {
    "exactly_once": frozenset(),
    "at_least_once": frozenset({"doubled", "overlap"}),
}


@dataclass
class Services:
    """What outlives a pipeline: brokers, Redis, the proxy, bundles."""

    cluster: Cluster
    redis: RedisServer
    redis_ports: list[int]
    proxies: Proxies
    bundles_dir: Path
    bundles: list[Bundle]
    seats: int
    pool: ThreadPoolExecutor
    """Runs faults. Servers die with the *thread* that started them, so its threads outlive them."""


@contextmanager
def services(
    *, workers: int, brokers: int, weights: Sequence[int] = (1, 2), keep: Path | None = None
) -> Iterator[Services]:
    """Starts them; one seat more than workers is for those that come and go.

    There is a bundle of each of these weights; the same weights twice make two bundles that score alike. ``keep`` keeps
    the logs of the brokers.
    """
    seats = workers + 1
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamtag-faults-")))
        bundles = [
            read_bundle(build_tiny_bundle(directory, version=str(version), weights_seed=seed))
            for version, seed in enumerate(weights, 1)
        ]
        free = stack.enter_context(Ports())
        cluster = stack.enter_context(Cluster(free.take, brokers=brokers, seats=seats, keep=keep))
        server = stack.enter_context(RedisServer(port=free.take()))
        ports = [free.take() for _ in range(seats)]
        links = cluster.links() | {f"redis/{seat}": (port, server.port) for seat, port in enumerate(ports)}
        proxies = stack.enter_context(Proxies(links))
        yield Services(cluster, server, ports, proxies, directory, bundles, seats, pool)


class Disk:
    """The directory of the workers' snapshots, on a small disk of its own where we may mount one."""

    def __init__(self, directory: Path) -> None:
        self._ballast = directory / "ballast"
        directory.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(directory)]
        self.small = subprocess.run(command, capture_output=True, check=False).returncode == 0
        """False where it could not be had: the disk cannot be filled."""
        self._directory = directory

    def fill(self) -> None:
        """Until not a byte is left."""
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4_096)

    def free(self) -> None:
        """Gives the space back."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmounts."""
        if self.small:
            subprocess.run(["umount", "--lazy", str(self._directory)], check=True)


@dataclass
class Stage:
    """One pipeline under attack."""

    services: Services
    topics: Topics
    namespace: str
    seats: list[Seat]
    disk: Disk
    findings: Findings
    releases: Releases
    checker: Checker
    reader: Reader
    operator: Operator
    upstream: Upstream

    @property
    def working(self) -> list[Seat]:
        """The seats that are always taken."""
        return self.seats[:-1]

    @property
    def spare(self) -> Seat:
        """The seat of those that come and go."""
        return self.seats[-1]

    def kafka_links(self, seat: int) -> list[str]:
        """The seat's roads to the brokers."""
        return [f"kafka/{broker.node}/{seat}" for broker in self.services.cluster.brokers]


@contextmanager
def stage(
    base: Services,
    *,
    seed: int,
    partitions: int,
    delivery: Delivery,
    events: int,
    defect: str | None = None,
    writer: type[Upstream] = Upstream,
    settings: Mapping[str, str] | None = None,
    operator: type[Operator] = Operator,
    pane_s: int = 10,
    archive: Callable[[Columns], None] | None = None,
) -> Iterator[Stage]:
    """Sets a pipeline up on running services: topics, workers, writer, reader, operator.

    Args:
        base: the services.
        seed: of input and changes.
        partitions: of each topic.
        delivery: of the workers.
        events: end of the input.
        defect: switched on in all workers.
        writer: of the input.
        settings: of all workers, over those of the campaign.
        operator: who changes releases.
        pane_s: width of panes.
        archive: see `Checker`.
    """
    namespace = f"campaign-{uuid.uuid4().hex[:8]}"
    corpus = Corpus(seed)
    findings = Findings(_ALLOWED[delivery])
    releases = Releases(frozenset(bundle.ref.sha256 for bundle in base.bundles))
    with ExitStack() as stack:
        topics = _topics(base.cluster, namespace, partitions)
        stack.callback(delete_topics, topics.bootstrap, topics.names)
        directory = Path(tempfile.mkdtemp(prefix="streamtag-campaign-"))
        stack.callback(_remove_unless_failed, directory, findings)
        disk = Disk(directory / "state" / "releases")
        stack.callback(disk.close)
        own = {"tagger.delivery": delivery, "stats.pane_s": str(pane_s), **(settings or {})}
        seats = _seats(base, topics, namespace, directory, own, defect)
        stack.callback(_empty, seats)
        checker = Checker(
            partitions,
            corpus,
            _scores(base.bundles, corpus.texts),
            releases,
            findings,
            exactly_once=delivery == "exactly_once",
            batch=BATCH,
            pane_ms=1_000 * pane_s,
            archive=archive,
        )
        reader = stack.enter_context(Reader(topics, checker, findings))
        person = operator(base.redis.url, namespace, directory / "state", base.bundles, releases, seed, findings)
        upstream = writer(topics.bootstrap, topics.input, seed, events)
        stack.callback(upstream.stop)
        for seat in seats[:-1]:
            seat.start()
        stack.enter_context(person)
        yield Stage(base, topics, namespace, seats, disk, findings, releases, checker, reader, person, upstream)


def _topics(cluster: Cluster, namespace: str, partitions: int) -> Topics:
    topics = Topics(
        cluster.bootstrap,
        input=f"{namespace}-content",
        tags=f"{namespace}-tags",
        stats=f"{namespace}-stats",
        dead_letters=f"{namespace}-dead",
        panes=f"{namespace}-panes",
        partitions=partitions,
    )
    by_broker = {"message.timestamp.type": "LogAppendTime"}  # the one clock of this machine that nobody steps
    any_time = {"message.timestamp.after.max.ms": str(2**63 - 1), "retention.ms": "-1"}  # upstream clocks are wrong
    config: list[dict[str, str]] = [any_time, by_broker, by_broker, {"max.message.bytes": str(5 * MIB)}]
    config.append({"max.message.bytes": str(8 * MIB)})
    counts = [partitions] * (len(config) - 1) + [1]
    wanted = [NewTopic(n, k, config=extra) for n, k, extra in zip(topics.names, counts, config, strict=True)]
    client = AdminClient({"bootstrap.servers": cluster.bootstrap})
    for future in client.create_topics(wanted).values():
        future.result(20)
    cluster.wait_replicated()
    return topics


def _seats(
    base: Services,
    topics: Topics,
    namespace: str,
    directory: Path,
    settings: Mapping[str, str],
    defect: str | None,
) -> list[Seat]:
    shared = {
        **topics.overrides(),
        **FAST,
        "redis.namespace": namespace,
        "tagger.group": f"group-{namespace}",
        "model.bundle": "tiny@1",
        "model.directories": f"[{base.bundles_dir}]",
        "state_dir": str(directory / "state"),
        **settings,
    }
    return [
        Seat(
            seat,
            {
                **shared,
                "kafka.bootstrap_servers": base.cluster.bootstrap_of(seat),
                "redis.url": f"redis://{HOST}:{base.redis_ports[seat]}/0",
            },
            directory,
            defect,
        )
        for seat in range(base.seats)
    ]


def _scores(bundles: Sequence[Bundle], texts: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Of each bundle, all texts: what every worker must have found, in whatever batch."""
    return {bundle.ref.sha256: to_micro(load_scorer(bundle.path, batch=64).score(texts)) for bundle in bundles}


def _empty(seats: Sequence[Seat]) -> None:
    for seat in seats:
        seat.leave()


def _remove_unless_failed(directory: Path, findings: Findings) -> None:
    if findings.violations():
        kept = Path("reports") / "faults-logs" / directory.name
        shutil.copytree(directory, kept, ignore=shutil.ignore_patterns("state"), dirs_exist_ok=True)
    shutil.rmtree(directory, ignore_errors=True)


def namespace_keys(client: redis.Redis, namespace: str) -> dict[bytes, bytes]:
    """Every key of a pipeline, dumped."""
    dumped = {key: client.dump(key) for key in client.scan_iter(match=f"*{namespace}*", count=1_000)}
    return {key: value for key, value in dumped.items() if value is not None}
