"""Faults of what workers depend on: brokers, Redis, and the network to both."""

import random
import shutil
import time
from collections.abc import Sequence
from typing import ClassVar

import redis
from services import wait_until

from .fault import Fault
from .proxy import Mode
from .reading import SILENT_S, now_ms
from .seats import SESSION_MS, TRANSACTION_MS, Seat
from .stage import Stage, namespace_keys

_BEYOND_TRANSACTION_S = TRANSACTION_MS / 1000 + 1.5
_TAKEN_OVER_S = SILENT_S + 10.0  # the reader, too, may have to begin anew


class BrokerFault(Fault):
    """Of any node."""

    hurts = "kafka"

    def __init__(self, stage: Stage, choose: random.Random) -> None:
        super().__init__(stage, choose)
        self.node = choose.choice(stage.services.cluster.brokers)

    def heal(self) -> None:
        self.node.start()
        self.stage.services.cluster.wait_replicated()


class BrokerKilled(BrokerFault):
    name = "broker killed"

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return 0.0, 3.0

    def inject(self) -> None:
        self.node.kill()


class BrokerRestarted(BrokerFault):
    name = "broker restarted"

    def inject(self) -> None:
        self.node.stop()


class BrokerFrozen(BrokerFault):
    name = "broker frozen beyond the transaction"

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return _BEYOND_TRANSACTION_S, _BEYOND_TRANSACTION_S + 2.0

    def inject(self) -> None:
        self.node.pause()

    def heal(self) -> None:
        self.node.resume()
        self.stage.services.cluster.wait_replicated()


class BrokerFailover(BrokerFault):
    """The other broker takes over all leaders and coordinators: work goes on without the one that is gone."""

    name, brokers = "broker failover", 2

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return 0.0, 3.0

    def inject(self) -> None:
        begun = time.monotonic()
        self.away()
        gone_ms = now_ms()
        what = f"all partitions commit without broker {self.node.node} ({self.name})"
        try:
            wait_until(lambda: self.stage.reader.committed_since(gone_ms), _TAKEN_OVER_S, what)
        except AssertionError as late:
            self.stage.findings.add("unrecovered", str(late))
        self.outage_s = time.monotonic() - begun

    def away(self) -> None:
        """The broker goes."""
        self.node.kill()


class CoordinatorMoved(BrokerFailover):
    """In order: a clean stop hands leaders and coordinators over, and they move back after the start."""

    name = "coordinators moved"

    def away(self) -> None:
        self.node.stop()


class RedisFault(Fault):
    hurts = "redis"

    def blurred(self) -> Sequence[Seat]:
        return self.stage.seats


class RedisKilled(RedisFault):
    name = "redis killed"

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return 0.2, 3.0

    def inject(self) -> None:
        self.stage.services.redis.kill()

    def heal(self) -> None:
        self.stage.services.redis.start()


class RedisFrozen(RedisFault):
    name = "redis frozen"

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return 1.5, 5.0

    def inject(self) -> None:
        self.stage.services.redis.pause()

    def heal(self) -> None:
        self.stage.services.redis.resume()


class RedisLoses(RedisFault):
    """Loses releases that workers decide by; a person restores them from a worker's snapshot."""

    _gated = False

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return 0.5, 2.0

    def inject(self) -> None:
        self.stage.operator.gate.acquire()
        self._gated = True
        self.stage.operator.sync()
        wait_until(self.stage.operator.champion_saved, 20, "the champion is in the snapshot")

    def heal(self) -> None:
        try:
            self.stage.operator.restore_snapshot()
        finally:
            if self._gated:
                self.stage.operator.gate.release()


class RedisEmptied(RedisLoses):
    name = "redis restarted empty"

    def inject(self) -> None:
        super().inject()
        server = self.stage.services.redis
        server.kill()
        shutil.rmtree(server.data_dir / "appendonlydir")
        server.start()


class RedisSetBack(RedisLoses):
    name = "redis set back"

    def inject(self) -> None:
        with redis.Redis.from_url(self.stage.services.redis.url) as client:
            before = namespace_keys(client, self.stage.namespace)
            self.stage.operator.move()
            super().inject()
            client.flushall()
            for key, value in before.items():
                client.restore(key, 0, value, replace=True)  # a heartbeat may have come in between


class NetworkFault(Fault):
    """One worker's road to Kafka or to Redis, or everybody's."""

    mode: ClassVar[Mode]

    def __init__(self, stage: Stage, choose: random.Random) -> None:
        super().__init__(stage, choose)
        everybody = choose.random() < 0.25
        self._seats = stage.seats if everybody else [self.seat]
        self._delay_ms = choose.uniform(30, 250)

    def blurred(self) -> Sequence[Seat]:
        return self._seats if self.hurts == "redis" else ()

    def _links(self) -> list[str]:
        if self.hurts == "redis":
            return [f"redis/{seat.index}" for seat in self._seats]
        return [link for seat in self._seats for link in self.stage.kafka_links(seat.index)]

    def inject(self) -> None:
        self.stage.services.proxies.set(self._links(), self.mode, self._delay_ms)

    def heal(self) -> None:
        self.stage.services.proxies.set(self._links(), "pass")


class KafkaCut(NetworkFault):
    name, hurts, mode = "network to kafka cut", "kafka", "cut"

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return 0.1, _BEYOND_TRANSACTION_S


class KafkaStalled(NetworkFault):
    name, hurts, mode = "network to kafka stalled", "kafka", "stall"

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return SESSION_MS / 1000, _BEYOND_TRANSACTION_S


class KafkaHalfOpen(NetworkFault):
    """Requests arrive and are carried out, answers never come."""

    name, hurts, mode = "network to kafka half open", "kafka", "half_open"

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return 0.5, _BEYOND_TRANSACTION_S


class KafkaDelayed(NetworkFault):
    name, hurts, mode = "network to kafka delayed", "kafka", "delay"

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return 2.0, 5.0


class RedisCut(NetworkFault):
    name, hurts, mode = "network to redis cut", "redis", "cut"

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return 0.5, 4.0


class RedisHalfOpen(NetworkFault):
    name, hurts, mode = "network to redis half open", "redis", "half_open"

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return 0.5, 4.0


class RedisDelayed(NetworkFault):
    name, hurts, mode = "network to redis delayed", "redis", "delay"

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return 1.0, 4.0


KINDS: tuple[type[Fault], ...] = (
    BrokerKilled,
    BrokerRestarted,
    BrokerFrozen,
    BrokerFailover,
    CoordinatorMoved,
    RedisKilled,
    RedisFrozen,
    RedisEmptied,
    RedisSetBack,
    KafkaCut,
    KafkaStalled,
    KafkaHalfOpen,
    KafkaDelayed,
    RedisCut,
    RedisHalfOpen,
    RedisDelayed,
)
