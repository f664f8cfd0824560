"""One or two Kafka brokers that each worker reaches by a road of its own, so that roads can be cut one by one.

Two have a controller beside them that no fault hurts, as the controllers of a cluster outlive one of its brokers. One
that dies with a broker and comes back lets that broker lead for seconds by what its own disk says, the end of a
transaction included that the other broker never had: a reader of committed records is shown what is undone then.
"""

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
from streamtag.devstack.server import HOST, listens

from .seats import SESSION_MS

_IDENTITY = urlsafe_b64encode(b"streamtag-faults").decode()[:22]
_CONTROLLER_ID = 100


class Node(KafkaServer):
    """Of a cluster with one identity, on ports that are given."""

    def _choose_ports(self) -> None:
        """All are given."""

    def _write_config(self, *, bind: str, logs: str) -> Path:
        path = super()._write_config(bind=bind, logs=logs)
        lines = path.read_text(encoding="utf-8").splitlines()
        settings = self._settings(dict(line.split("=", 1) for line in lines if "=" in line), bind)
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
        return path

    def _settings(self, settings: dict[str, str], bind: str) -> dict[str, str]:
        """Of `KafkaServer`, made those of this node."""
        raise NotImplementedError

    def _format(self, config: Path) -> None:
        command = [
            *self._java(),
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={_IDENTITY}",
            f"--config={config}",
        ]
        subprocess.run(command, stdout=subprocess.DEVNULL, timeout=60, check=True)


class Controller(Node):
    """Of two brokers; ``port`` is where they find it."""

    def __init__(self, port: int) -> None:
        super().__init__(port=port, heap_mb=256)

    def _settings(self, settings: dict[str, str], bind: str) -> dict[str, str]:
        del settings["advertised.listeners"], settings["inter.broker.listener.name"]
        return settings | {
            "process.roles": "controller",
            "node.id": str(_CONTROLLER_ID),
            "controller.quorum.voters": f"{_CONTROLLER_ID}@{HOST}:{self.port}",
            "listeners": f"CONTROLLER://{bind}:{self.port}",
            # a broker that is back leads again, so that the next one to be hurt has something to lose
            "leader.imbalance.check.interval.seconds": "1",
            "leader.imbalance.per.broker.percentage": "0",
            "default.replication.factor": "2",  # it, and no broker, says what a topic gets
        }

    def _answers(self) -> bool:
        return listens(self.port)


class Broker(Node):
    """A broker with one more listener per worker seat, advertised at the port of that seat's proxy.

    Args:
        node: node id.
        take_port: gives a free port, another each time.
        controller_port: where the controller is: this broker itself, where there is no other.
        brokers: in the cluster.
        seats: how many listeners.
        keep: directory that keeps its log; None: it goes with the broker.
    """

    def __init__(
        self,
        node: int,
        take_port: Callable[[], int],
        controller_port: int,
        *,
        brokers: int,
        seats: int,
        keep: Path | None = None,
    ) -> None:
        super().__init__(keep and keep / f"broker-{node}", port=take_port(), heap_mb=512)
        self.node = node
        self._controller_port = controller_port
        self._brokers = brokers
        self.inner = [take_port() for _ in range(seats)]
        """Port of each seat's listener."""
        self.outer = [take_port() for _ in range(seats)]
        """Port of each seat's proxy, which clients are told."""

    def _settings(self, settings: dict[str, str], bind: str) -> dict[str, str]:
        seats = range(len(self.inner))
        alone = self._brokers == 1
        listeners = [f"BROKER://{bind}:{self.port}", *(f"SEAT{i}://{bind}:{self.inner[i]}" for i in seats)]
        advertised = [f"BROKER://{HOST}:{self.port}", *(f"SEAT{i}://{HOST}:{self.outer[i]}" for i in seats)]
        security = ["BROKER:PLAINTEXT", "CONTROLLER:PLAINTEXT", *(f"SEAT{i}:PLAINTEXT" for i in seats)]
        return settings | {
            "node.id": str(self.node),
            "process.roles": "broker,controller" if alone else "broker",
            "controller.quorum.voters": f"{self.node if alone else _CONTROLLER_ID}@{HOST}:{self._controller_port}",
            "listeners": ",".join(listeners + [f"CONTROLLER://{HOST}:{self._controller_port}"] * alone),
            "advertised.listeners": ",".join(advertised),
            "listener.security.protocol.map": ",".join(security),
            "offsets.topic.replication.factor": str(self._brokers),
            "transaction.state.log.replication.factor": str(self._brokers),
            # with KIP-848 the broker says how long a session is
            "group.consumer.session.timeout.ms": str(SESSION_MS),
            # what the campaign wrote is read within seconds
            "log.retention.hours": "1",
            "log.retention.check.interval.ms": "10000",
        }


class Cluster:
    """Brokers of one campaign; a context manager. Arguments as those of `Broker`."""

    def __init__(self, take_port: Callable[[], int], *, brokers: int, seats: int, keep: Path | None = None) -> None:
        controller_port = take_port()
        self._controllers = [Controller(controller_port)] if brokers > 1 else []
        self.brokers = [
            Broker(node, take_port, controller_port, brokers=brokers, seats=seats, keep=keep)
            for node in range(1, brokers + 1)
        ]
        self._stack = ExitStack()

    def __enter__(self) -> "Cluster":
        with ExitStack() as stack:
            for node in (*self._controllers, *self.brokers):
                stack.enter_context(node)
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
        """Waits until every broker is there and leads what it should, and every partition is in sync on all of them.

        Then one of two may be lost, whichever, and has something to lose.
        """

        def whole() -> bool:
            # A new client each time: one that was answered by a broker just woken may never find it again.
            client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
            try:
                found = client.list_topics(timeout=5)
            except KafkaException:
                return False
            partitions = [p for topic in found.topics.values() for p in topic.partitions.values()]
            return len(found.brokers) == len(self.brokers) and all(
                p.leader == p.replicas[0] and len(p.isrs) == len(self.brokers) for p in partitions
            )

        wait_until(whole, deadline_s, "all partitions in sync", every_s=0.2)
