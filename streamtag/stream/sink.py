"""Where outputs and positions go together: a Kafka transaction, or deliveries confirmed before the commit.

Both kinds keep one contract: `open`, `produce` …, then `commit` (all of it is durable) or `abort` (none of it is
visible to a reader of committed records; at-least-once cannot take back what was delivered). Called by the
processing thread only.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from streamtag.errors import StreamtagError
from streamtag.stream import faultpoints
from streamtag.stream.options import StreamOptions
from streamtag.stream.overdue import OverdueError, call_within
from streamtag.stream.processor import Commit, Output, Partition
from streamtag.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

# One blocking call to the client; between two of them the sink looks whether it should give up.
_CALL_S = 1.0
# librdkafka's send_offsets_to_transaction ignores its timeout when the group coordinator goes away under it, and can
# hang for ever after the broker is back (librdkafka #5456). Past this it is given up, together with its producer.
_OVERDUE_S = 3.0


class Undone(Exception):  # noqa: N818 - an outcome the runner handles, not a failure
    """The transaction is gone: undo, rewind, redo. ``cause`` goes to metrics."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class TwinError(StreamtagError):
    """Another live process uses this worker's transactional.id."""

    exit_code = 7


class Sink(Protocol):
    """See the module."""

    def open(self) -> None:
        """Makes ready to produce; blocks while the broker is away, until ``stopping``."""
        ...

    def produce(self, output: Output) -> None:
        """Queues one record; blocks while the client's queue is full. May raise `Undone`."""
        ...

    def commit(self, commits: Mapping[Partition, Commit]) -> None:
        """Makes outputs durable and positions committed. Raises `Undone` when neither is certain."""
        ...

    def abort(self) -> None:
        """Discards what was produced since `open`; afterwards the sink can be opened again."""
        ...

    def settle(self) -> None:
        """Returns when no transaction is in doubt: what the broker says is committed is final. May raise `Undone`."""
        ...

    def close(self) -> None:
        """Lets go of the client, within seconds."""
        ...


class TransactionSink:
    """Exactly once: outputs and positions in one Kafka transaction (KIP-447).

    Args:
        options: of the loop.
        metrics: outcomes are counted here.
        group_metadata: the consumer's current membership, captured by the polling thread; commits of a member that
            has been superseded are refused by the broker.
        stopping: true when the process gives up waiting.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        options: StreamOptions,
        metrics: Metrics,
        *,
        group_metadata: Callable[[], object],
        stopping: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._metrics = metrics
        self._group_metadata = group_metadata
        self._stopping = stopping
        self._clock = clock
        self._producer: Producer | None = None
        self._begun = False
        self._fenced_at: float | None = None

    def open(self) -> None:
        """Begins a transaction, after making the producer where there is none yet."""
        self.settle()
        assert self._producer is not None, "settle() makes one"
        faultpoints.reached("begin.before")
        self._attempt(self._producer.begin_transaction)
        self._begun = True
        faultpoints.reached("begin.after")

    def produce(self, output: Output) -> None:
        """Queues one record."""
        assert self._producer is not None, "open() comes first"
        enqueue(self._producer, output, None, self._stopping)

    def commit(self, commits: Mapping[Partition, Commit]) -> None:
        """Sends positions into the transaction and commits it."""
        assert self._producer is not None, "open() comes first"
        offsets = [TopicPartition(t, p, c.position, c.metadata) for (t, p), c in commits.items()]
        producer, metadata = self._producer, self._group_metadata()
        faultpoints.reached("offsets.before")
        self._attempt(
            lambda: call_within(
                _OVERDUE_S,
                lambda: producer.send_offsets_to_transaction(offsets, metadata, _CALL_S),
                self._stopping,
            )
        )
        faultpoints.reached("offsets.after")
        faultpoints.reached("commit.before")
        self._attempt(lambda: producer.commit_transaction(_CALL_S))
        faultpoints.reached("commit.after")
        self._begun = False
        self._fenced_at = None
        self._metrics.add("streamtag.transactions", outcome="committed")

    def abort(self) -> None:
        """Aborts the open transaction; a producer that cannot even do that is replaced at the next `open`."""
        if self._producer is None or not self._begun:
            return
        producer = self._producer
        faultpoints.reached("abort.before")
        try:
            self._attempt(lambda: producer.abort_transaction(_CALL_S))
            self._metrics.add("streamtag.transactions", outcome="aborted")
        except Undone as undone:
            log.warning("abort failed, making a new producer", extra={"cause": undone.cause})
            self._discard()
        self._begun = False
        faultpoints.reached("abort.after")

    def settle(self) -> None:
        """Makes a producer where there is none: its start ends whatever its predecessor left open."""
        if self._producer is None:
            self._producer = self._connect()
            faultpoints.reached("connect.after")

    def close(self) -> None:
        """Aborts what is open and lets go of the producer."""
        self.abort()
        self._discard()

    def _attempt(self, call: Callable[[], object]) -> None:
        """Repeats a retriable call until it succeeds; anything else ends the transaction."""
        while True:
            try:
                call()
            except OverdueError:
                log.warning("the client hangs, making a new producer")
                self._metrics.add("streamtag.kafka.errors", code="overdue")
                self._discard()
                self._begun = False
                raise Undone("overdue") from None
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                self._metrics.add("streamtag.kafka.errors", code=error.name())
                if error.fatal():
                    self._fenced(error)
                elif not error.retriable():
                    raise Undone(error.name()) from None
                elif self._stopping():
                    raise Undone("stopping") from None
            else:
                return

    def _fenced(self, error: KafkaError) -> None:
        """Fatal: this producer is finished. A new one takes over, unless that has just been tried.

        A broker that is frozen or dead for longer than the transaction timeout fences us as a twin would; but only a
        twin does so again sooner than any timeout could.
        """
        now = self._clock()
        again = self._fenced_at is not None and now - self._fenced_at < self._options.transaction_timeout_ms / 1000
        self._fenced_at = now
        self._metrics.add("streamtag.transactions", outcome="fenced")
        self._discard()
        self._begun = False
        if again and error.code() == KafkaError._FENCED:
            raise TwinError(
                f"fenced twice at once: another process uses transactional.id {self._options.transactional_id!r}",
                hint="Give each worker its own tagger.slot, or none: then it takes one by file lock in state_dir.",
            )
        log.warning("producer fenced, making a new one", extra={"error": error.name()})
        raise Undone("fenced")

    def _connect(self) -> Producer:
        """A producer that has ended its predecessor's transaction; waits for the broker as long as it takes."""
        producer = Producer(self._options.producer_config(), logger=log)
        attempt = 0
        while True:
            try:
                producer.init_transactions(_CALL_S * 5)
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                self._metrics.add("streamtag.kafka.errors", code=error.name())
                if self._stopping():
                    raise Undone("stopping") from None
                if not error.retriable():  # e.g. fenced while we were getting ready, or not authorised
                    log.error("cannot start transactions, retrying", extra={"error": error.str()})
                    producer = Producer(self._options.producer_config(), logger=log)
                    wait(min(0.2 * 2**attempt, 10.0), self._stopping)
                elif attempt % 6 == 0:
                    log.warning("waiting for Kafka to start transactions", extra={"error": error.str()})
                attempt += 1
            else:
                return producer

    def _discard(self) -> None:
        if self._producer is not None:
            self._producer.purge()
            self._producer = None


class DeliverySink:
    """At least once: positions are committed only after every output is confirmed.

    Args:
        options: of the loop.
        metrics: errors are counted here.
        commit_positions: commits on the polling thread, which owns the consumer; raises KafkaException.
        stopping: true when the process gives up waiting.
    """

    def __init__(
        self,
        options: StreamOptions,
        metrics: Metrics,
        *,
        commit_positions: Callable[[list[TopicPartition]], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._metrics = metrics
        self._commit_positions = commit_positions
        self._stopping = stopping
        self._options = options
        self._producer: Producer | None = None
        self._failed: str | None = None

    def open(self) -> None:
        """Forgets failures of what was aborted."""
        if self._producer is None:
            self._producer = Producer(self._options.producer_config(), logger=log)
        self._failed = None

    def produce(self, output: Output) -> None:
        """Queues one record."""
        assert self._producer is not None, "open() comes first"
        enqueue(self._producer, output, self._delivered, self._stopping)

    def commit(self, commits: Mapping[Partition, Commit]) -> None:
        """Waits for every delivery, then commits the positions."""
        assert self._producer is not None, "open() comes first"
        faultpoints.reached("offsets.before")
        while self._producer.flush(_CALL_S):
            if self._stopping():
                raise Undone("stopping")
        if self._failed is not None:
            raise Undone(self._failed)
        faultpoints.reached("commit.before")
        positions = [TopicPartition(t, p, c.position, c.metadata) for (t, p), c in commits.items()]
        try:
            if positions:  # a consumer refuses to commit none
                self._commit_positions(positions)
        except KafkaException as exception:
            error: KafkaError = exception.args[0]
            self._metrics.add("streamtag.kafka.errors", code=error.name())
            raise Undone(error.name()) from None
        faultpoints.reached("commit.after")
        self._metrics.add("streamtag.transactions", outcome="committed")

    def abort(self) -> None:
        """Drops what is still queued; what was delivered stays and will be delivered again."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(_CALL_S)
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

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None and self._failed is None:
            self._failed = error.name()
            self._metrics.add("streamtag.kafka.errors", code=error.name())


def enqueue(
    producer: Producer,
    output: Output,
    on_delivery: Callable[[KafkaError | None, object], None] | None,
    stopping: Callable[[], bool],
) -> None:
    """`Producer.produce` that waits where the queue is full."""
    topic, key, value, headers = output
    while True:
        try:
            # Each argument left out is time saved, even an empty list of headers.
            if headers:
                producer.produce(topic, value, key, on_delivery=on_delivery, headers=list(headers))
            elif on_delivery:
                producer.produce(topic, value, key, on_delivery=on_delivery)
            else:
                producer.produce(topic, value, key)
        except BufferError:
            if stopping():
                raise Undone("stopping") from None
            producer.poll(0.1)
        except KafkaException as exception:
            raise Undone(exception.args[0].name()) from None
        else:
            return


def wait(seconds: float, stopping: Callable[[], bool]) -> None:
    """Sleeps, but not past ``stopping``."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stopping():
        time.sleep(min(left, 0.1))
