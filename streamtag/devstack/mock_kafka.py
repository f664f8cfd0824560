"""librdkafka's mock broker in a process of its own, over loopback TCP: a Kafka for a demo without Java.

It ships inside the confluent-kafka wheel. What it cannot do (checked on librdkafka 2.16): transactional offsets are
dropped, read_committed is ignored, nobody is fenced, topics are not created by admin calls, only plaintext is spoken,
and each partition keeps 5 MiB and silently drops the oldest. Clients should set ``fetch.wait.max.ms=10``: an empty
fetch does not wake on new data.

Runs by hand, too: ``python -m streamtag.devstack.mock_kafka content=4 tags=4`` until the end of its input (Ctrl-D).
"""

import ctypes
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import cimpl

from streamtag.devstack.child import Child, serve_until_input_ends
from streamtag.errors import SettingsError, UnavailableError

_RD_KAFKA_PRODUCER = 0
_ERRSTR_BYTES = 512
_HEARTBEAT_MS = 200


class MockKafka:
    """The mock broker as a context manager; it ends with this process, however that ends.

    Args:
        topics: name to number of partitions. Others are made with 4 partitions when a producer first asks.
    """

    def __init__(self, topics: Mapping[str, int]) -> None:
        self._child = Child(__name__, [f"{name}={partitions}" for name, partitions in topics.items()])
        self.bootstrap = ""
        """``host:port`` for clients, once started."""

    def start(self) -> Self:
        """Starts it; returns when it listens."""
        self.bootstrap = self._child.start()
        return self

    def close(self) -> None:
        """Ends it; its records are gone."""
        self._child.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Cluster:
    """The mock cluster inside this process. Kept alive by this object: librdkafka's threads serve it."""

    def __init__(self, topics: Mapping[str, int]) -> None:
        # the extension is linked to librdkafka: its symbols are found through it, wherever the wheel put the library
        library = ctypes.CDLL(cimpl.__file__)
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        self._library = library
        for name, result, arguments in (
            ("conf_new", pointer, []),
            ("new", pointer, [ctypes.c_int, pointer, ctypes.c_char_p, ctypes.c_size_t]),
            ("mock_cluster_new", pointer, [pointer, ctypes.c_int]),
            ("mock_cluster_bootstraps", text, [pointer]),
            ("mock_topic_create", ctypes.c_int, [pointer, text, ctypes.c_int, ctypes.c_int]),
            ("mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
            ("mock_set_group_consumer_heartbeat_interval_ms", None, [pointer, ctypes.c_int]),
        ):
            function = getattr(library, f"rd_kafka_{name}")
            function.restype, function.argtypes = result, arguments
        errors = ctypes.create_string_buffer(_ERRSTR_BYTES)
        handle = library.rd_kafka_new(_RD_KAFKA_PRODUCER, library.rd_kafka_conf_new(), errors, _ERRSTR_BYTES)
        if not handle:
            raise UnavailableError(f"librdkafka's mock broker: {errors.value.decode()}")
        self._cluster = library.rd_kafka_mock_cluster_new(handle, 1)
        if not self._cluster:
            raise UnavailableError("librdkafka's mock broker did not start")
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)  # 3 s by default
        # likewise: KIP-848 members learn of a rebalance with their next heartbeat
        library.rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(self._cluster, _HEARTBEAT_MS)
        for name, partitions in topics.items():
            if error := library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1):
                raise UnavailableError(f"librdkafka's mock broker refuses topic {name} ({partitions}): error {error}")

    @property
    def bootstrap(self) -> str:
        return str(self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode())


def parse_topics(arguments: Sequence[str]) -> dict[str, int]:
    """``["content=4"]`` as ``{"content": 4}``."""
    topics = {}
    for argument in arguments:
        name, _, partitions = argument.partition("=")
        if not name or not partitions.isdecimal() or int(partitions) < 1:
            raise SettingsError(f"{argument!r} must have the form topic=partitions")
        topics[name] = int(partitions)
    return topics


if __name__ == "__main__":
    cluster = _Cluster(parse_topics(sys.argv[1:]))
    serve_until_input_ends(cluster.bootstrap)
