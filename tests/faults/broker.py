"""One or two Kafka brokers that each worker reaches by a road of its own, so that roads can be cut one by one."""

import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from services import wait_until

from streamtag.devstack.kafka import KafkaServer
from streamtag.devstack.server import HOST


class Broker(KafkaServer):
    """A broker with one more listener per worker seat, advertised at the port of that seat's proxy.

    Args:
        node: node id; node 1 is the controller, too.
        take_port: gives a free port, another each time.
        controller_port: of node 1.
        brokers: in the cluster.
        seats: how many listeners.
    """

    def __init__(
        self, node: int, take_port: Callable[[], int], controller_port: int, *, brokers: int, seats: int
    ) -> None:
        super().__init__(port=take_port(), heap_mb=512)
        self.node = node
        self._controller_port = controller_port
        self._brokers = brokers
        self.inner = [take_port() for _ in range(seats)]
        """Port of each seat's listener."""
        self.outer = [take_port() for _ in range(seats)]
        """Port of each seat's proxy, which clients are told."""

    def _choose_ports(self) -> None:
        """All are given."""

    def _write_config(self, *, bind: str, logs: str) -> Path:
        path = super()._write_config(bind=bind, logs=logs)
        settings = dict(line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines() if "=" in line)
        seats = range(len(self.inner))
        listeners = [f"BROKER://{bind}:{self.port}", *(f"SEAT{i}://{bind}:{self.inner[i]}" for i in seats)]
        advertised = [f"BROKER://{HOST}:{self.port}", *(f"SEAT{i}://{HOST}:{self.outer[i]}" for i in seats)]
        security = ["BROKER:PLAINTEXT", "CONTROLLER:PLAINTEXT", *(f"SEAT{i}:PLAINTEXT" for i in seats)]
        settings |= {
            "node.id": str(self.node),
            "process.roles": "broker,controller" if self.node == 1 else "broker",
            "listeners": ",".join(listeners + ([f"CONTROLLER://{HOST}:{self._controller_port}"] * (self.node == 1))),
            "advertised.listeners": ",".join(advertised),
            "listener.security.protocol.map": ",".join(security),
            "offsets.topic.replication.factor": str(self._brokers),
            "transaction.state.log.replication.factor": str(self._brokers),
            "default.replication.factor": str(self._brokers),
            # what the campaign wrote is read within seconds
            "log.retention.hours": "1",
            "log.retention.check.interval.ms": "10000",
        }
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
        return path

    def _format(self, config: Path) -> None:
        """As the base class does, with one identity for all nodes."""
        identity = urlsafe_b64encode(b"streamtag-faults").decode()[:22]
        command = [*self._java(), "kafka.tools.StorageTool", "format", f"--cluster-id={identity}", f"--config={config}"]
        subprocess.run(command, stdout=subprocess.DEVNULL, timeout=60, check=True)


class Cluster:
    """Brokers of one campaign; a context manager. Arguments as those of `Broker`."""

    def __init__(self, take_port: Callable[[], int], *, brokers: int, seats: int) -> None:
        controller_port = take_port()
        self.brokers = [
            Broker(node, take_port, controller_port, brokers=brokers, seats=seats) for node in range(1, brokers + 1)
        ]
        self._stack = ExitStack()

    def __enter__(self) -> "Cluster":
        with ExitStack() as stack:
            for broker in self.brokers:
                stack.enter_context(broker)
            self._stack = stack.pop_all()
        self.wait_replicated()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def bootstrap(self) -> str:
        """The direct road, which is never hurt."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    def bootstrap_of(self, seat: int) -> str:
        """The road of one seat."""
        return ",".join(f"{HOST}:{broker.outer[seat]}" for broker in self.brokers)

    def links(self) -> dict[str, tuple[int, int]]:
        """Name of each road (``kafka/<node>/<seat>``) to its ports."""
        return {
            f"kafka/{broker.node}/{seat}": (broker.outer[seat], broker.inner[seat])
            for broker in self.brokers
            for seat in range(len(broker.inner))
        }

    def wait_replicated(self, deadline_s: float = 60) -> None:
        """Waits until every broker is there and every partition is led and in sync: then one of two may be lost."""

        def whole() -> bool:
            # A new client each time: one that was answered by a broker just woken may never find it again.
            client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
            try:
                found = client.list_topics(timeout=5)
            except KafkaException:
                return False
            partitions = [p for topic in found.topics.values() for p in topic.partitions.values()]
            return len(found.brokers) == len(self.brokers) and all(
                p.leader >= 0 and len(p.isrs) == len(p.replicas) for p in partitions
            )

        wait_until(whole, deadline_s, "all partitions in sync", every_s=0.2)
