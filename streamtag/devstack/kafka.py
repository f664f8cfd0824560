"""A real Apache Kafka, one broker and controller in one process (KRaft), for tests and local use."""

import os
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streamtag.devstack import docker, kafka_jars
from streamtag.devstack.docker import Container
from streamtag.devstack.server import HOST, Server, free_port, listens
from streamtag.errors import UnavailableError

IMAGE = "apache/kafka"

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
listeners=BROKER://{bind}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=BROKER://{host}:{port}
log.dirs={logs}
auto.create.topics.enable=false
num.partitions=4
default.replication.factor=1
min.insync.replicas=1
# dead letters are larger than what they carry; a topic's own max.message.bytes is the limit that counts
message.max.bytes=1048588
replica.fetch.max.bytes=8388608
socket.request.max.bytes=104857600
log.retention.hours=24
log.segment.bytes=67108864
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
# a few megabytes instead of 128 for every partition of the internal topics
offsets.topic.segment.bytes=8388608
transaction.state.log.segment.bytes=8388608
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# a transaction left open by a killed worker ends soon after its timeout
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# KIP-848 members cannot choose these: the broker does
group.consumer.session.timeout.ms=6000
group.consumer.min.session.timeout.ms=1000
group.consumer.heartbeat.interval.ms=500
group.consumer.min.heartbeat.interval.ms=100
# after a kill the controller admits the broker again when its old session has ended: 9 s by default
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
"""

_LOG4J = """\
Configuration:
  Appenders:
    Console:
      name: OUT
      PatternLayout:
        pattern: "[%d] %p %m (%c)%n"
  Loggers:
    Root:
      level: INFO
      AppenderRef:
        - ref: OUT
"""


class KafkaServer(Server):
    """Apache Kafka on loopback; a context manager.

    Args:
        data_dir: where it keeps its data and log; default a temporary directory, removed by `close`.
        port: TCP port of clients; 0 = a free one, kept over restarts.
        jars: directory with Kafka's jars; default the cache, filled at first use.
        heap_mb: Java heap.
        backend: ``jars`` or ``docker``.
        dies_with_parent: see `Server`.
    """

    name: ClassVar[str] = "kafka"
    ready_within_s: ClassVar[float] = 60.0
    # a broker killed in the middle of a shutdown has to recover its log at the next start
    grace_s: ClassVar[float] = 20.0

    def __init__(
        self,
        data_dir: Path | None = None,
        port: int = 0,
        jars: Path | None = None,
        *,
        heap_mb: int = 768,
        backend: Literal["jars", "docker"] = "jars",
        dies_with_parent: bool = True,
    ) -> None:
        image = f"{IMAGE}:{kafka_jars.kafka_version()}" if backend == "docker" else None
        super().__init__(data_dir=data_dir, port=port, dies_with_parent=dies_with_parent, image=image)
        self._jars = jars
        self._heap_mb = heap_mb
        self._controller_port = 0

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients."""
        return f"{HOST}:{self.port}"

    def _choose_ports(self) -> None:
        super()._choose_ports()
        # only this process speaks to its controller: a new port at each start is fine
        self._controller_port = free_port()

    def _prepare(self) -> Sequence[str]:
        if self.container is not None:
            return self._prepare_container(self.container)
        config = self._write_config(bind=HOST, logs=str(self.data_dir / "logs"))
        if not (self.data_dir / "logs" / "meta.properties").exists():
            self._format(config)
        return [*self._java(), f"-Xmx{self._heap_mb}m", "kafka.Kafka", str(config)]

    def _prepare_container(self, container: Container) -> Sequence[str]:
        # the image formats its storage by itself, from the properties it finds here
        config = self._write_config(bind="0.0.0.0", logs="/var/lib/kafka/data")  # noqa: S104 - inside the container
        return container.run_command(
            port=self.port,
            data="/var/lib/kafka/data",
            mounts={str(config.parent): "/mnt/shared/config"},
            environ={"KAFKA_HEAP_OPTS": f"-Xmx{self._heap_mb}m"},
        )

    def _write_config(self, *, bind: str, logs: str) -> Path:
        directory = self.data_dir / "config"
        directory.mkdir(exist_ok=True)
        properties = directory / "server.properties"
        properties.write_text(
            _PROPERTIES.format(host=HOST, bind=bind, port=self.port, controller_port=self._controller_port, logs=logs),
            encoding="utf-8",
        )
        return properties

    def _java(self) -> list[str]:
        program = kafka_jars.java()
        if program is None:
            raise UnavailableError(f"no Java of at least version {kafka_jars.MIN_JAVA}", hint="Install a JRE.")
        logging = self.data_dir / "log4j2.yaml"
        logging.write_text(_LOG4J, encoding="utf-8")
        return [
            program,
            # the server lives for minutes: the time to compile well never comes back
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Xshare:auto",
            f"-Dlog4j2.configurationFile={logging}",
            "-cp",
            f"{self._jars or kafka_jars.jars()}/*",
        ]

    def _format(self, config: Path) -> None:
        # one that was interrupted half-way leaves a directory that the tool refuses
        shutil.rmtree(self.data_dir / "logs", ignore_errors=True)
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # with the sign: an id can begin with a dash
        command = [*self._java(), "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", f"--config={config}"]
        with self.log.open("ab") as sink:
            done = subprocess.run(command, stdout=sink, stderr=subprocess.STDOUT, timeout=60, check=False)
        if done.returncode != 0:
            raise UnavailableError(f"kafka.tools.StorageTool could not format {self.data_dir}", hint=f"See {self.log}.")

    def _answers(self) -> bool:
        if not listens(self.port):
            return False
        found = cluster_id(self.bootstrap, timeout_s=2.0)
        return found is not None and (self.container is not None or found == self._formatted_as())

    def _formatted_as(self) -> str:
        properties = (self.data_dir / "logs" / "meta.properties").read_text(encoding="ascii").splitlines()
        return next(line.removeprefix("cluster.id=") for line in properties if line.startswith("cluster.id="))


def cluster_id(bootstrap: str, timeout_s: float) -> str | None:
    """Identity of the cluster, once one of its brokers serves clients; None when none answers within ``timeout_s``."""
    # 0: the refused connections of a broker that is not up yet are expected, and not for anybody's terminal
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        metadata = client.list_topics(timeout=timeout_s)
    except KafkaException:
        return None
    return metadata.cluster_id if metadata.brokers else None


def broker_answers(bootstrap: str, timeout_s: float) -> bool:
    """True when a broker of the cluster answers within ``timeout_s``."""
    return cluster_id(bootstrap, timeout_s) is not None


@dataclass(frozen=True)
class KafkaSource:
    """Where a Kafka comes from.

    Attributes:
        kind: ``external`` (somebody else runs it), ``jars`` or ``docker``.
        bootstrap: its address, if external.
    """

    kind: Literal["external", "jars", "docker"]
    bootstrap: str | None = None

    def server(
        self, *, data_dir: Path | None = None, port: int = 0, heap_mb: int = 768, dies_with_parent: bool = True
    ) -> KafkaServer:
        """A server of this kind, not started; an external one cannot be made."""
        if self.kind == "external":
            raise ValueError("an external Kafka is not ours to start")
        return KafkaServer(data_dir, port, heap_mb=heap_mb, backend=self.kind, dies_with_parent=dies_with_parent)


def find_kafka(environ: Mapping[str, str] | None = None) -> KafkaSource:
    """The first that is there: ``STREAMTAG_KAFKA``, Java and Maven (or jars already here), Docker.

    Raises:
        UnavailableError: none of them; says what to install.
    """
    bootstrap = (os.environ if environ is None else environ).get("STREAMTAG_KAFKA")
    if bootstrap:
        return KafkaSource("external", bootstrap)
    has_java = kafka_jars.java() is not None
    if has_java and (kafka_jars.cache_dir().exists() or shutil.which("mvn")):
        return KafkaSource("jars")
    if docker.daemon_answers():
        return KafkaSource("docker")
    missing = "Maven (mvn)" if has_java else f"Java >= {kafka_jars.MIN_JAVA}"
    raise UnavailableError(
        f"no Kafka: STREAMTAG_KAFKA is not set, {missing} is missing, and no Docker daemon answers",
        hint="Install a JRE 17 and Maven (Debian: apt-get install openjdk-17-jre-headless maven), or start Docker, "
        "or set STREAMTAG_KAFKA=host:port to a Kafka >= 4.1 of your own.",
    )
