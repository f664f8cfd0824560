"""At least once: positions are committed only after every output is confirmed."""

import concurrent.futures
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from streamtag.stream import faultpoints
from streamtag.stream.client_log import ClientLog
from streamtag.stream.options import StreamOptions, refused_options
from streamtag.stream.processor import Commit, Output, Partition
from streamtag.stream.sink import CALL_S, Undone, enqueue, undelivered
from streamtag.telemetry.metrics import Metrics

log = logging.getLogger(__name__)
client_log = ClientLog(log)


class DeliverySink:
    """At least once: positions are committed only after every output is confirmed.

    Args:
        options: of the loop.
        metrics: errors are counted here.
        commit_positions: commits on the polling thread, which owns the consumer; the future raises KafkaException, or
            `Undone` when the partitions were lost meanwhile.
        stopping: true when the process gives up waiting.
    """

    def __init__(
        self,
        options: StreamOptions,
        metrics: Metrics,
        *,
        commit_positions: Callable[[list[TopicPartition]], "Future[None]"],
        stopping: Callable[[], bool],
    ) -> None:
        self._metrics = metrics
        self._commit_positions = commit_positions
        self._stopping = stopping
        self._options = options
        self._producer: Producer | None = None
        self._failed: tuple[str, str] | None = None
        self.complaint = ""

    def open(self) -> None:
        """Forgets failures of what was aborted."""
        if self._producer is None:
            with refused_options("kafka.client, kafka.producer"):
                self._producer = Producer(self._options.producer_config(), logger=client_log)
        self._failed = None

    def produce(self, outputs: Iterable[Output]) -> None:
        """Queues records."""
        assert self._producer is not None, "open() comes first"
        enqueue(self._producer, outputs, self._stopping, self._delivered)

    def commit(self, commits: Mapping[Partition, Commit]) -> None:
        """Waits for every delivery, then commits the positions."""
        assert self._producer is not None, "open() comes first"
        faultpoints.reached("offsets.before")
        while self._producer.flush(CALL_S):
            if self._stopping():
                raise Undone("stopping")
        if self._failed is not None:
            raise Undone(*self._failed)
        faultpoints.reached("commit.before")
        positions = [TopicPartition(t, p, c.position, c.metadata) for (t, p), c in commits.items()]
        if positions:  # a consumer refuses to commit none
            self._wait_committed(self._commit_positions(positions))
        faultpoints.reached("commit.after")
        self._metrics.add("streamtag.transactions", outcome="committed")

    def abort(self) -> None:
        """Drops what is still queued; what was delivered stays and will be delivered again."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(CALL_S)
            self._metrics.add("streamtag.transactions", outcome="aborted")
            # A purged idempotent producer cannot tell which sequence numbers reached the broker.
            self._producer = None

    def settle(self) -> None:
        """Nothing to settle: positions are committed at once or not at all."""

    def close(self) -> None:
        """Lets go of the producer."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None

    def _wait_committed(self, done: "Future[None]") -> None:
        while not concurrent.futures.wait([done], CALL_S).done:
            if self._stopping():
                raise Undone("stopping")
        try:
            done.result()
        except KafkaException as exception:
            error: KafkaError = exception.args[0]
            self._metrics.add("streamtag.kafka.errors", code=error.name())
            raise Undone(error.name(), error.str()) from None

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and self._failed is None:
            self._failed = undelivered(error, message)
            self._metrics.add("streamtag.kafka.errors", code=error.name())
